"""Options of the board, a TPM's life beside its host, and further doors of the reference's node files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from lab import NODE, Lab, free_display, free_port, wait_for
from paused import Monitor

ENDS = 7


def began_by_its_opening(home: Lab) -> bool:
    """Whether the supervisor was started by the opening of the last start."""
    return "go-on" in Path(f"/proc/{home.pid('supervisor')}/cmdline").read_text().split("\0")


def wait_for_another_tpm(home: Lab, old: int | None) -> None:
    """Wait for the emulator that the next host is to find."""
    wait_for(lambda: home.pid("swtpm") not in (None, old), what="another TPM")


def wait_for_a_host(home: Lab) -> None:
    """Wait for one that was let go, and so has begun with its TPM."""

    def states() -> dict[str, str]:
        return {entry["name"]: entry["state"] for entry in home.status()["processes"]}

    wait_for(lambda: states()["qemu"] == "running", what="a host with a TPM")


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
    scratch.start(compute={"memory": {"size": 256}, "tpm": 2.0, "vnc_display": free_display()})
    kept = scratch.home / NODE / "tpm" / "tpm2-00.permall"
    wait_for(kept.exists, what="the TPM's memory")
    # More often than a child may die in that time.
    for number in range(ENDS):
        scratch.power_off()
        scratch.ipmi("power", "on")
        wait_for_a_host(scratch)
        assert ends_of_tpms(scratch) == number + 1
    assert scratch.status()["state"] == "running"
    assert scratch.count("died") == scratch.count("gave-up") == 0

    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert began_by_its_opening(scratch)
    assert scratch.pid("swtpm")

    swtpm = scratch.pid("swtpm")
    scratch.kill("supervisor")
    scratch.must("node", "start", NODE)
    assert scratch.pid("swtpm") == swtpm, "it was adopted"
    scratch.ipmi("power", "cycle")
    wait_for_another_tpm(scratch, swtpm)
    wait_for_a_host(scratch)
    assert scratch.status()["state"] == "running"

    crashed = scratch.kill("swtpm")
    wait_for_another_tpm(scratch, crashed)
    assert scratch.count("died") == 1


def other_client(home: Lab) -> Monitor:
    """A client of the node's second QMP socket."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(180)
    place = str(home.home / NODE / "run" / "monitor.sock")
    wait_for(lambda: connection.connect_ex(place) == 0, what="the second QMP socket")
    return Monitor(connection)


def test_qmp_has_a_door_for_others(scratch: Lab) -> None:
    scratch.start(monitor={})
    assert "UUID" in other_client(scratch).ask("query-uuid")
    # infrasim's own is not in its way.
    scratch.ipmi("power", "off")
    wait_for(lambda: scratch.pid("qemu") is None, what="the host off")
    scratch.ipmi("power", "on")
    client = other_client(scratch)
    ended = scratch.pid("qemu")
    client.ask("quit")
    wait_for(lambda: scratch.pid("qemu") not in (None, ended), what="another QEMU, as after a crash")
    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert began_by_its_opening(scratch)
    assert other_client(scratch).ask("query-name") == {"name": f"{NODE}-node"}


def test_further_names_and_doors(scratch: Lab, tmp_path: Path) -> None:
    port = free_port()
    terminal, serial = tmp_path / "pty", tmp_path / "serial"
    scratch.start(
        sol_device=str(terminal),
        serial_socket=str(serial),
        ipmi_console_port=port,
        compute={"memory": {"size": 256}, "force_shutdown": False, "vnc_display": free_display()},
    )
    assert terminal.is_char_device()
    assert serial.is_socket()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as console:
        console.sendall(b"sel_clear 0x20\n")
        said = b""
        while not said.endswith(b"> "):
            said += (more := console.recv(4096))
            assert more, said
    scratch.must("node", "stop", NODE)
    # No system listened, so the power was cut, but it was asked.
    assert scratch.count("power-soft") == 1
    scratch.must("node", "start", NODE)
    assert began_by_its_opening(scratch)
    assert terminal.is_char_device()
    scratch.must("node", "destroy", NODE)
    assert not terminal.is_symlink()
    assert not serial.is_symlink()
