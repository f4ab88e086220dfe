"""``python -m infrasim`` is the ``infrasim`` command.

A start that finds everything as it was ends here, before anything of an application was imported.
"""

import os
import sys


def main() -> None:
    """Run the command and leave the process with its exit code."""
    words = sys.argv[1:]
    # Compiling infrasim anew takes a command longer than all else it does. Where Python was told to keep
    # nothing (container images often say so), infrasim still keeps its own modules, if it may write there.
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if words[:2] == ["node", "start"]:
        _start(words)
    from infrasim.cli.main import main as whole_command

    whole_command(words)


def _start(words: list[str]) -> None:
    """Start a node by its opening and leave the process; returns if it has none that fits."""
    from infrasim.runtime import opening

    try:
        done = opening.start(words)
        if done is None:
            return
        if done[0] == opening.STARTED:
            sys.stdout.write(done[1])
            sys.stdout.flush()
            # Nothing is left to be tidied up, and that takes its time.
            opening.leave(0)
        said = done[0]
    except (KeyboardInterrupt, OSError) as exc:
        fault: BaseException = exc
    else:
        from infrasim.runtime.book import failure

        error = failure(words, said)
        if error is None:
            return
        fault = error

    def fail() -> None:
        raise fault

    from infrasim.cli.main import run

    sys.exit(run(words, fail))


if __name__ == "__main__":
    main()
