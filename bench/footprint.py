"""How much memory a node takes, process by process, as proportional set size."""

from __future__ import annotations

from pathlib import Path

import psutil
from bench_lab import node, show_ratio

LIMIT_MB = 30.0
OURS = ("supervisor", "ipmi_sim", "socat")


def main() -> None:
    """Measure and print."""
    with node() as scratch:
        scratch.must("node", "start", "n")
        scratch.ipmi("sdr", "list")
        total = 0.0
        for entry in scratch.status()["processes"]:
            pids = [entry["pid"], *(child.pid for child in psutil.Process(entry["pid"]).children())]
            if entry["name"] == "supervisor":
                pids = pids[:1]
            megabytes = sum(pss_mb(pid) for pid in pids)
            print(f"  {entry['name']:12} {megabytes:7.1f} MB")
            total += megabytes if entry["name"] in OURS else 0.0
        show_ratio("supervisor + ipmi_sim + socat / 30 MB (kB)", [total], [LIMIT_MB], 1.0)


def pss_mb(pid: int) -> float:
    """Proportional set size of one process in MB."""
    return memory_mb(pid, "Pss")


def memory_mb(pid: int, kind: str) -> float:
    """Memory of one process in MB, of a kind that /proc/PID/smaps_rollup knows."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    line = next(line for line in lines if line.startswith(f"{kind}:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
