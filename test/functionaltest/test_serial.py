"""Serial over LAN, the serial log and the local console."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import psutil
from lab import NODE, Lab, execute, wait_for
from outpour import counting_disk, numbered, pour, session, shown

WAIT_S = 240


def activate(home: Lab) -> pexpect.spawn[str]:
    """A serial-over-LAN session."""
    login = ["-I", "lanplus", "-H", home.address, "-U", "admin", "-P", "admin"]
    terminal = pexpect.spawn("ipmitool", [*login, "sol", "activate"], timeout=WAIT_S, encoding="latin-1")
    terminal.expect_exact("SOL Session operational")
    terminal.expect_exact("\n")
    return terminal


def deactivate(terminal: pexpect.spawn[str]) -> None:
    """Leave by the escape sequence."""
    terminal.send("\r~.")
    terminal.expect(pexpect.EOF)
    terminal.close()


def power_off(home: Lab) -> None:
    """Cut the host's power and see all on the line that it had said: socat forks for each connection."""
    home.power_off()
    socat = home.pid("socat")
    assert socat is not None
    wait_for(lambda: not psutil.Process(socat).children(), what="the end of the line")


def firmware_text(text: str) -> str:
    """What was printed, whatever the terminal between made of line ends."""
    return text.replace("\r", "").replace("\n", "")


def test_sol_shows_the_firmware_from_its_first_byte(running: Lab) -> None:
    power_off(running)
    terminal = activate(running)
    running.ipmi("power", "on")
    terminal.expect_exact("No bootable device")
    seen = firmware_text(str(terminal.before))
    deactivate(terminal)
    logged = firmware_text(running.serial()).partition("No bootable device")[0]
    assert seen == logged
    assert logged.index("SeaBIOS") < 40


def test_no_byte_of_much_output_is_lost(running: Lab) -> None:
    """Two megabytes, as fast as serial-over-LAN carries them: a host that prints faster waits."""
    power_off(running)
    said = running.root / "said"
    expected = numbered(240_000)
    with session(running, said):
        host = pour(running, 240_000)
        wait_for(lambda: b"%08x" % 239_999 in said.read_bytes()[-64:], timeout_s=WAIT_S, what="the last line")
        host.join()
    assert expected in shown(said)
    assert expected in (running.logs / NODE / "serial.log").read_bytes()


def test_ipmitools_loop_test(running: Lab) -> None:
    """``sol looptest`` activates and deactivates again and again."""
    assert running.ipmitool("sol", "looptest", "3", "200").code == 0
    assert running.raw(6, 0x4A, 1)[1] == 0, "nobody has the serial port in the end"
    ran = running.ipmitool("sol", "deactivate")
    assert "already de-activated" in ran.out + ran.err


def test_a_host_that_prints_as_fast_as_it_can(scratch: Lab) -> None:
    drive = counting_disk(scratch.root / "counting.img", 15_000)
    storage = [{"type": "ahci", "drives": [drive]}]
    scratch.start(compute={"memory": {"size": 256}, "storage_backend": storage}, bmc={"startnow": False})
    said = scratch.root / "said"
    with session(scratch, said):
        scratch.ipmi("power", "on")
        wait_for(lambda: b"%08x" % 14_999 in said.read_bytes()[-64:], timeout_s=WAIT_S, what="the last line")
    assert numbered(15_000) in shown(said)
    assert numbered(15_000) in (scratch.logs / NODE / "serial.log").read_bytes()


def test_keys_typed_over_sol_reach_the_host(running: Lab) -> None:
    power_off(running)
    terminal = activate(running)
    running.ipmi("chassis", "bootdev", "bios")
    running.ipmi("power", "on")
    terminal.expect_exact("Select boot device:")
    terminal.expect_exact("2. ")
    # One key, once: the first of a session must not be lost.
    terminal.send("2")
    terminal.expect_exact("Booting from Hard Disk")
    deactivate(terminal)


def test_sol_works_again_after_socat_was_killed(running: Lab) -> None:
    restarts = running.count("restart")
    running.kill("socat")
    wait_for(lambda: running.count("restart") > restarts, what="the restart")
    wait_for(lambda: running.status()["state"] == "running", what="the node to be whole")
    wait_for(lambda: running.ipmitool("mc", "info").code == 0, what="the BMC")
    # QEMU tries once a second to connect again; socat forks for it.
    another = running.pid("socat")
    assert another is not None
    wait_for(lambda: psutil.Process(another).children(), what="QEMU on the line")
    terminal = activate(running)
    running.ipmi("power", "reset")
    terminal.expect_exact("SeaBIOS")
    deactivate(terminal)


def test_serial_log_begins_anew_at_power_on_and_keeps_the_last_one(running: Lab) -> None:
    running.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in running.serial(), what="the firmware")
    power_off(running)
    before = running.serial()
    running.ipmi("power", "on")
    wait_for(lambda: "SeaBIOS" in running.serial(), what="the firmware")
    assert running.serial().count("SeaBIOS") == 1
    kept = Path(running.logs / NODE / "serial.log.1").read_bytes().decode(errors="replace")
    assert kept == before


def test_console_shows_and_types_and_detaches(running: Lab) -> None:
    power_off(running)
    argv = ["-m", "infrasim", "node", "console", NODE]
    terminal = pexpect.spawn(sys.executable, argv, env=running.env, timeout=WAIT_S, encoding="latin-1")
    terminal.expect_exact("Ctrl-] detaches")
    running.ipmi("chassis", "bootdev", "bios")
    running.ipmi("power", "on")
    terminal.expect_exact("Select boot device:")
    terminal.expect_exact("2. ")
    terminal.send("2")
    terminal.expect_exact("Booting from Hard Disk")
    terminal.send("\x1d")
    terminal.expect_exact("Detached")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert running.status()["host"]["power"] == "on"


def test_console_detaches_from_a_host_that_reads_nothing(running: Lab) -> None:
    power_off(running)
    argv = ["-m", "infrasim", "node", "console", NODE]
    terminal = pexpect.spawn(sys.executable, argv, env=running.env, timeout=WAIT_S, encoding="latin-1")
    terminal.expect_exact("Ctrl-] detaches")
    # More than the terminal between, 4096 bytes, and what socat takes ahead.
    for _ in range(40):
        terminal.send("y" * 500)
    terminal.send("\x1d")
    terminal.expect_exact("Detached")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    running.ipmi("power", "on")


def test_console_needs_its_two_ends(running: Lab) -> None:
    console = f"exec {sys.executable} -m infrasim node console {NODE}"
    for closed in ("<&-", ">&-"):
        ran = execute("sh", "-c", f"{console} {closed}", env=running.env)
        assert (ran.code, ran.err) == (2, "infrasim: a console needs standard input and standard output\n")


def test_a_node_without_sol_has_no_socat_and_still_a_serial_log(scratch: Lab) -> None:
    scratch.start(sol_enable=False)
    assert [entry["name"] for entry in scratch.status()["processes"]] == ["supervisor", "ipmi_sim", "qemu"]
    wait_for(lambda: "SeaBIOS" in scratch.serial(), what="the firmware")
    ran = scratch.infrasim("node", "console", NODE)
    assert ran.code == 2
    assert ran.err == ("infrasim: node n has no serial line\nhint: set sol_enable: true in its node file\n")


def test_what_the_host_printed_last_is_a_fru_device(scratch: Lab) -> None:
    """As in ipmi_sim; ``fru print`` only wonders at it, for it is text."""
    scratch.start(bmc={"historyfru": 99})
    last_words = "No bootable device.\r\n"
    wait_for(
        lambda: scratch.serial().endswith(last_words), timeout_s=WAIT_S, what="the firmware's last words"
    )
    saved = scratch.root / "history"

    def history() -> bytes:
        scratch.ipmi("fru", "read", "99", str(saved))
        return saved.read_bytes()

    # The log and the BMC each have the line at their own time.
    wait_for(lambda: history().endswith(last_words.encode()), what="the firmware's last words in the BMC")
    assert (scratch.logs / NODE / "serial.log").read_bytes().endswith(history())
    assert "FRU Device ID (99)" not in scratch.ipmi("fru", "print"), "no record names it"
