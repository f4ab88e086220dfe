"""A supervisor's process: ``python -m infrasim.runtime.daemon NODE WORKSPACE LOG_DIR MODE``.

MODE ``foreground`` runs and says how the start went on standard output; behind it is how often, and
how, the command may be called again if somebody took an address meanwhile. ``background`` first reads a
line from standard input, so that a command can start it early and plan while it imports; then it
detaches with python-daemon and writes how the start went to the descriptor after MODE. It is a
program of its own so that a command's imports do not stay in memory for the node's life.

``opening`` executes it in a process that is detached already. ``go-on`` takes over a node that this very
process has started: the descriptors are the supervisor's lock, the control socket, the
system interface's and the BMC's sockets.
``anew`` begins from nothing and reports as ``background`` does.
"""

from __future__ import annotations

import gc
import sys


def run(arguments: list[str]) -> int:
    """Import the supervisor, be it, and return its exit code.

    Somebody waits for the imports, and nothing that they make is garbage: to look for some takes a sixth of
    their time, and would be done for ever after over all that they made.
    """
    gc.disable()
    from infrasim.runtime.supervising import main

    gc.freeze()
    gc.enable()
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
