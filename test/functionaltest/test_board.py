"""Options of the board, a TPM's life beside its host, and further doors of the reference's node files."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from lab import NODE, Lab, execute, wait_for

TPM = {"tpm": 2.0}
ENDS = 7


def began_by_its_opening(home: Lab) -> bool:
    """Whether the supervisor was started by the opening of the last start."""
    return "go-on" in Path(f"/proc/{home.pid('supervisor')}/cmdline").read_text().split("\0")


def wait_for_another_tpm(home: Lab, old: int | None) -> None:
    """Wait for the emulator that the next host is to find."""
    wait_for(lambda: home.pid("swtpm") not in (None, old), what="another TPM")


def ends_of_tpms(home: Lab) -> int:
    """How many emulators have ended."""
    return sum(each["event"] == "ended" and each["process"] == "swtpm" for each in home.events())


@pytest.mark.parametrize("board", ["q35", "pc"])
def test_a_board_with_every_option_boots_and_tells(scratch: Lab, board: str) -> None:
    machine = {"type": board, "usb": "on", "vmport": "on", "mem-merge": "off", "kernel-irqchip": "off"}
    scratch.start(
        compute={
            "memory": {"size": 256},
            "machine": {**machine, "igd-passthru": "off", "sata": False},
            "boot": {"menu": "off", "splash-time": 100},
            "guest-agent": True,
            "trace": {"seabios": "on", "guest": "on"},
            "ipmi": {"interface": "bt", "ioport": 0xE4, "irq": 10},
        }
    )
    logs = scratch.logs / NODE
    wait_for(lambda: "Booting from" in (logs / "seabios.log").read_text(errors="replace"), what="the trace")
    # With no menu there is nothing that this selector could lead to.
    assert "Invalid data field" in scratch.ipmitool("chassis", "bootdev", "bios").err
    scratch.ipmi("chassis", "bootdev", "disk")
    with socket.socket(socket.AF_UNIX) as agent:
        agent.connect(str(scratch.home / NODE / "run" / "guest.agt"))
    assert (logs / "guest.log").exists()


def test_a_tpm_lives_with_its_host(scratch: Lab) -> None:
    scratch.start(compute={"memory": {"size": 256}, **TPM})
    kept = scratch.home / NODE / "tpm" / "tpm2-00.permall"
    wait_for(kept.exists, what="the TPM's memory")
    # More often than a child may die in that time. A host that ends before it spoke to its TPM leaves it to
    # the next, so there may be more hosts than TPMs.
    for _ in range(2 * ENDS):
        if ends_of_tpms(scratch) < ENDS:
            scratch.ipmi("power", "off")
            scratch.ipmi("power", "on")
            wait_for(lambda: scratch.pid("qemu") and scratch.pid("swtpm"), what="a host with a TPM")
    assert ends_of_tpms(scratch) >= ENDS
    wait_for(lambda: scratch.pid("qemu"), what="the host")
    assert scratch.status()["state"] == "running"
    assert scratch.count("died") == scratch.count("gave-up") == 0

    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert began_by_its_opening(scratch)
    assert scratch.pid("swtpm")

    supervisor, swtpm = scratch.pid("supervisor"), scratch.pid("swtpm")
    assert supervisor
    os.kill(supervisor, signal.SIGKILL)
    wait_for(lambda: scratch.pid("supervisor") is None, what="the end of the supervisor")
    scratch.must("node", "start", NODE)
    assert scratch.pid("swtpm") == swtpm, "it was adopted"
    scratch.ipmi("power", "cycle")
    wait_for_another_tpm(scratch, swtpm)
    assert scratch.status()["state"] == "running"

    crashed = scratch.pid("swtpm")
    assert crashed
    os.kill(crashed, signal.SIGKILL)
    wait_for_another_tpm(scratch, crashed)
    assert scratch.count("died") == 1


def test_further_names_and_doors(scratch: Lab, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    terminal, serial = tmp_path / "pty", tmp_path / "serial"
    scratch.start(
        sol_device=str(terminal),
        serial_socket=str(serial),
        ipmi_console_port=port,
        compute={"memory": {"size": 256}, "force_shutdown": False},
    )
    assert terminal.is_char_device()
    assert serial.is_socket()
    said = execute("sh", "-c", f"(echo 'sel_clear 0x20'; sleep 1) | socat -t 2 - TCP:127.0.0.1:{port}").out
    assert "> " in said
    scratch.must("node", "stop", NODE)
    # No system listened, so the power was cut, but it was asked.
    assert scratch.count("power-soft") == 1
    scratch.must("node", "start", NODE)
    assert began_by_its_opening(scratch)
    assert terminal.is_char_device()
    scratch.must("node", "destroy", NODE)
    assert not terminal.is_symlink()
    assert not serial.is_symlink()
