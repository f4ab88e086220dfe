"""What the BMC front costs: ipmitool and single requests, through it and straight to ipmi_sim."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from functools import partial

from bench_lab import Lab, interleaved, node, runs_wanted, show_ratio, timed

COMMANDS = (("mc", "info"), ("power", "status"), ("sdr", "list"))
REQUESTS = 400


def main() -> None:
    """Measure and print."""
    runs = runs_wanted()
    with node() as scratch:
        scratch.must("node", "start", "n")
        direct = json.loads((scratch.home / "n" / "plan.json").read_text())["bmc"]["private_address"]
        for words in COMMANDS:
            through, straight = interleaved(
                runs,
                partial(ipmitool, scratch, scratch.address, words),
                partial(ipmitool, scratch, direct, words),
            )
            show_ratio(f"ipmitool {' '.join(words)} through the front / direct (ms)", through, straight, 1.3)
        for words in COMMANDS[:2]:
            through, straight = interleaved(
                runs,
                partial(one_session, scratch.address, words),
                partial(one_session, direct, words),
            )
            show_ratio(f"one {' '.join(words)} of many in a session (ms)", through, straight, 1.3)
            print(f"{'':58} {1 / sorted(through)[len(through) // 2]:9.0f} / s through the front")


def ipmitool(scratch: Lab, address: str, words: tuple[str, ...]) -> float:
    """Seconds of one ipmitool command. Suite 3 is named, or direct would wait ten seconds for the list."""
    options = ("-I", "lanplus", "-C", "3")
    return timed(lambda: check(scratch.ipmitool(*words, options=options, host=address).code))


def one_session(address: str, words: tuple[str, ...]) -> float:
    """Seconds of one request, out of many over one session of ``ipmitool exec``."""
    login = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", address, "-U", "admin", "-P", "admin", "exec"]
    seconds = {}
    for count in (1, REQUESTS + 1):
        with tempfile.NamedTemporaryFile("w", prefix="isf-", suffix=".ipmi") as script:
            script.write(f"{' '.join(words)}\n" * count)
            script.flush()
            begin = time.monotonic()
            done = subprocess.run([*login, script.name], capture_output=True, check=False)
            seconds[count] = time.monotonic() - begin
        check(done.returncode)
    return (seconds[REQUESTS + 1] - seconds[1]) / REQUESTS


def check(code: int) -> None:
    """A benchmark of a failing command measures nothing."""
    if code != 0:
        raise SystemExit(f"ipmitool failed with exit code {code}")


if __name__ == "__main__":
    main()
