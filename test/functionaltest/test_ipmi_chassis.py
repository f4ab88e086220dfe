"""Chassis commands and what follows from them: status, policy, causes, hours, boot flags, watchdog.

The host has no operating system; what a guest sees is in test_ipmi_in_a_guest.py, plain power and boot
devices in test_power_and_boot.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from lab import NODE, Lab, lab, wait_for

VALID, PERSISTENT, EFI = 0x80, 0x40, 0x20
# How long boot flags that nobody uses are good for: IPMI 2.0 table 28-14, parameter 3.
FLAGS_EXPIRE_S = 60


@pytest.fixture(scope="module")
def forgotten(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A node that is off, with boot flags that nobody uses, since the begin of this module.

    Its supervisor is another one than took them.
    """
    before = request.session.testsfailed
    with lab(lambda: request.session.testsfailed > before) as home:
        home.start(bmc={"startnow": False})
        home.ipmi("chassis", "bootdev", "pxe")
        wait_for(lambda: home.kept()["boot"]["expires_s"], what="the state on disk")
        home.kill("supervisor")
        home.must("node", "start", NODE)
        yield home


@pytest.fixture(autouse=True)
def begin_the_wait(forgotten: Lab) -> None:
    """Let the flags get old while the other tests run."""


@pytest.fixture
def on(running: Lab) -> Lab:
    """The shared node, its host on and without boot flags."""
    running.ipmi("chassis", "bootdev", "none")
    running.ipmi("chassis", "bootparam", "set", "bootflag", "none")
    running.ipmi("power", "on")
    # Before that the log is the one of the host before.
    wait_for(running.host_runs, what="the host")
    wait_for(running.firmware_is_through, what="the firmware")
    return running


def flags(home: Lab) -> bytes:
    """The boot flags: five bytes."""
    answer = home.raw(0, 9, 5, 0, 0)
    assert answer[:2] == b"\x01\x05"
    return answer[2:]


def boots(home: Lab) -> int:
    """How often the firmware began since power-on."""
    return home.serial().count("SeaBIOS (")


def status(home: Lab, label: str) -> str:
    """One line of ``ipmitool chassis status``."""
    found = re.search(rf"^{label} *: (.*?) *$", home.ipmi("chassis", "status"), re.MULTILINE)
    assert found, label
    return found.group(1)


def booted_from_disk(printed: str) -> bool:
    """Whether a boot tried the disk before the network, which is the other way round in the plain order."""
    return "Booting from Hard Disk" in printed.partition("iPXE initialising")[0]


def boot_after(home: Lab, before: int) -> str:
    """What the firmware printed until it tries the network, in the boot that follows ``before`` others."""

    def printed() -> str:
        # What the host of before still printed is in front of the banner.
        return "".join(home.serial().split("SeaBIOS (")[before + 1 :])

    wait_for(lambda: "iPXE initialising" in printed(), what="a boot from the network")
    return printed()


def test_status_agrees_with_the_node(on: Lab) -> None:
    assert status(on, "System Power") == "on" == on.status()["host"]["power"]
    on.order("power", "off")
    wait_for(lambda: on.status()["host"]["power"] == "off", what="the power off")
    assert status(on, "System Power") == "off"
    assert "is off" in on.ipmi("chassis", "power", "status")
    assert status(on, "Main Power Fault") == status(on, "Power Overload") == "false"


def test_every_policy_can_be_set_and_is_listed(on: Lab) -> None:
    assert "always-off always-on previous" in on.ipmi("chassis", "policy", "list")
    for policy in ("always-off", "previous", "always-on"):
        on.ipmi("chassis", "policy", policy)
        assert status(on, "Power Restore Policy") == policy
    assert on.ipmitool("raw", "0", "6", "5").code != 0, "there is no such policy"


def test_the_policy_decides_at_each_start_of_the_node(scratch: Lab) -> None:
    """AC comes back with ``node start``; the node file's ``startnow`` is only where the policy begins."""
    scratch.start()
    assert status(scratch, "Power Restore Policy") == "always-on"
    assert "always-restore" in scratch.ipmi("chassis", "restart_cause")
    assert status(scratch, "Last Power Event") == "ac-failed"

    scratch.ipmi("chassis", "policy", "previous")
    scratch.must("node", "restart", NODE)
    assert scratch.status()["host"]["power"] == "on"
    assert "restore" in scratch.ipmi("chassis", "restart_cause")
    assert "previous" in scratch.ipmi("chassis", "restart_cause")

    # AC may go before the host has gone: it counts what was ordered.
    scratch.ipmi("power", "off")
    scratch.must("node", "restart", NODE)
    assert scratch.status()["host"]["power"] == "off"

    scratch.ipmi("chassis", "policy", "always-off")
    scratch.ipmi("power", "on")
    scratch.must("node", "stop", NODE)
    # The hours the host had power: the file is theirs while the node is down.
    path = scratch.home / NODE / "bmc" / "core.json"
    state = json.loads(path.read_text())
    state["chassis"]["power_on_s"] += 27.5 * 3600
    path.write_text(json.dumps(state))
    scratch.must("node", "start", NODE)
    assert scratch.status()["host"]["power"] == "off"
    assert "1 days, 3 hours" in scratch.ipmi("chassis", "poh")
    assert scratch.raw(0, 0x0F) == bytes([60, 27, 0, 0, 0])
    scratch.must("node", "destroy", NODE)
    scratch.must("node", "start", NODE)
    assert scratch.status()["host"]["power"] == "on", "destroy forgets the policy"
    assert scratch.raw(0, 0x0F) == bytes([60, 0, 0, 0, 0])


def test_the_restart_cause_tells_who_did_it(on: Lab) -> None:
    on.ipmi("power", "reset")
    assert "chassis power control" in on.ipmi("chassis", "restart_cause")
    on.order("power", "reset")
    assert "pushbutton" in on.ipmi("chassis", "restart_cause")
    # Whether or not the host is gone when it is ordered on again.
    on.ipmi("power", "off")
    on.order("power", "on")
    assert "power-up via pushbutton" in on.ipmi("chassis", "restart_cause")
    assert status(on, "Last Power Event") == ""
    on.ipmi("power", "cycle")
    # The power is "on" until the host has gone.
    wait_for(lambda: status(on, "Last Power Event") == "command", what="the power again")
    assert status(on, "System Power") == "on"
    assert "chassis power control" in on.ipmi("chassis", "restart_cause")


def test_orders_to_a_host_that_takes_its_time_to_go(on: Lab) -> None:
    """Ordered on again while it is still going: what comes then is another host, with its own cause."""
    on.order("power", "reset")
    set_watchdog(on, actions=0x01, tenths=0xFFFF)
    pid = on.pid("qemu")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    on.ipmi("power", "off")
    wait_for(lambda: on.kept()["chassis"]["was_on"] is False, what="the order on disk")
    on.ipmi("power", "on")
    # It may have been killed meanwhile, because it did not end.
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: on.pid("qemu") not in (None, pid) and on.host_runs(), what="the next host")
    assert "chassis power control" in on.ipmi("chassis", "restart_cause")
    assert "Stopped" in on.ipmi("mc", "watchdog", "get")
    wait_for(lambda: on.kept()["chassis"]["was_on"], what="the order on disk")


def test_a_power_cycle_takes_its_interval(on: Lab) -> None:
    """Set Power Cycle Interval; with an hour of it the host stays off until somebody switches it on."""
    on.raw(0, 0x0B, 255)
    try:
        on.ipmi("power", "cycle")
        wait_for(lambda: on.status()["host"]["power"] == "off", what="the off part of the cycle")
        on.ipmi("power", "on")
        assert status(on, "System Power") == "on"
    finally:
        on.raw(0, 0x0B, 0)


def test_identify_shows_in_the_chassis_status(on: Lab) -> None:
    identify = {"off": 0, "timed": 1, "until told": 2}
    on.ipmi("chassis", "identify", "force")
    assert on.raw(0, 1)[2] >> 4 & 3 == identify["until told"]
    on.ipmi("chassis", "identify", "200")
    assert on.raw(0, 1)[2] >> 4 & 3 == identify["timed"]
    assert on.status()["host"]["identify"] is True
    on.ipmi("chassis", "identify", "0")
    assert on.raw(0, 1)[2] >> 4 & 3 == identify["off"]
    assert on.status()["host"]["identify"] is False


def test_front_panel_buttons_can_be_disabled(on: Lab) -> None:
    on.raw(0, 0x0A, 0x03)
    try:
        assert status(on, "Power Button Disabled") == "true"
        assert status(on, "Reset Button Disabled") == "true"
        assert status(on, "Sleep Button Disabled") == "false"
        before, pid = on.count("power-reset"), on.pid("qemu")
        for word, button in (("off", "power"), ("cycle", "power"), ("soft", "power"), ("reset", "reset")):
            with pytest.raises(AssertionError, match=f"the {button} button is disabled"):
                on.order("power", word)
        assert (on.count("power-reset"), on.pid("qemu")) == (before, pid)
        # Over IPMI, and for switching on, nothing is disabled.
        on.ipmi("power", "reset")
        on.ipmi("power", "off")
        on.order("power", "on")
        assert on.count("power-reset") == before + 1
    finally:
        on.raw(0, 0x0A, 0)


def test_capabilities_are_set_and_kept(on: Lab) -> None:
    before = on.raw(0, 0)
    on.raw(0, 5, 3, 0x20, 0x20, 0x20, 0x20)
    assert before[0] == 6
    assert on.raw(0, 0)[0] == 7, "a diagnostic interrupt is always there"
    wait_for(lambda: on.kept()["chassis"]["capabilities"].startswith("03"), what="the state on disk")
    on.raw(0, 5, *before[:5])


def test_selftest_passes(on: Lab) -> None:
    assert "passed" in on.ipmi("chassis", "selftest")
    assert "passed" in on.ipmi("mc", "selftest")


def test_a_diagnostic_interrupt_goes_to_a_host_that_is_on_only(on: Lab) -> None:
    before = on.count("nmi")
    on.ipmi("power", "diag")
    assert on.count("nmi") == before + 1
    on.power_off()
    assert on.ipmitool("power", "diag").code != 0
    assert on.count("nmi") == before + 1


@pytest.mark.parametrize("how", ["reset", "power-on"])
def test_persistent_and_efi_bits_are_kept_and_followed_at_every_boot(on: Lab, how: str) -> None:
    on.ipmi("chassis", "bootdev", "disk", "options=persistent,efiboot")
    assert flags(on) == bytes([VALID | PERSISTENT | EFI, 0x08, 0, 0, 0])
    told = on.ipmi("chassis", "bootparam", "get", "5")
    assert "all future boots" in told
    assert "BIOS EFI boot" in told
    for _ in range(2):
        if how == "reset":
            before = boots(on)
            on.ipmi("power", "reset")
        else:
            on.power_off()
            before = 0
            on.ipmi("power", "on")
        assert booted_from_disk(boot_after(on, before))
        assert flags(on)[0] == VALID | PERSISTENT | EFI
        assert on.status()["host"]["boot_override"] == "disk"
    on.ipmi("chassis", "bootdev", "none")
    assert on.status()["host"]["boot_override"] is None
    before = boots(on)
    on.ipmi("power", "reset")
    assert not booted_from_disk(boot_after(on, before))


def test_every_option_of_bootdev_is_kept_and_described_or_refused(on: Lab) -> None:
    for option, first, second, told in (
        ("clear-cmos", 0x88, 0x00, "CMOS Clear"),
        ("upw_bypass", 0x08, 0x08, "User password bypass"),
        ("lockoutreset", 0x09, 0x00, "Lock out Reset buttons"),
        ("lockout_power", 0x08, 0x80, "via Power Button"),
        ("lockout_sleep", 0x08, 0x04, "Lock Out Sleep Button"),
        ("cons_redirect=enable", 0x08, 0x02, "Request console redirection be enabled"),
    ):
        on.ipmi("chassis", "bootdev", "disk", f"options={option}")
        assert flags(on) == bytes([VALID, first, second, 0, 0]), option
        described = on.ipmi("chassis", "bootparam", "get", "5", options=("-I", "lan"))
        assert re.search(told, described, re.IGNORECASE), option
    on.ipmi("chassis", "bootdev", "none")
    before = flags(on)
    # What QEMU's firmware cannot do.
    for option in (
        "lockkbd",
        "screenblank",
        "verbose=yes",
        "verbose=no",
        "force_pet",
        "cons_redirect=skip",
    ):
        ran = on.ipmitool("chassis", "bootdev", "disk", f"options={option}")
        assert "Invalid data field" in ran.err + ran.out, option
        assert flags(on) == before, option


def test_options_of_the_firmware_are_kept_until_the_boot(on: Lab) -> None:
    # Among them the lock of the reset button.
    on.raw(0, 8, 5, 0xA0, 0x89, 0x0A, 0x01, 0x01)
    assert flags(on) == bytes([0xA0, 0x89, 0x0A, 0x01, 0x01])
    on.ipmi("power", "reset")
    wait_for(lambda: not flags(on)[0] & VALID, what="the flags used")
    assert flags(on)[1] == 0, "used, not merely expired"
    assert status(on, "Reset Button Disabled") == "true"
    with pytest.raises(AssertionError, match="the reset button is disabled"):
        on.order("power", "reset")
    on.ipmi("power", "reset")
    wait_for(lambda: status(on, "Reset Button Disabled") == "false", what="a boot without that lock")
    on.order("power", "reset")


def test_settings_of_the_firmware_are_cleared_at_a_power_on(scratch: Lab) -> None:
    scratch.start(compute={"memory": {"size": 256}, "firmware": "uefi"}, bmc={"startnow": False})
    [variables] = (scratch.home / NODE / "nvram").iterdir()
    new = variables.read_bytes()

    def power_on_with_a_mark() -> None:
        """Behind the store of the firmware, which would write over it elsewhere."""
        scratch.power_off()
        with variables.open("r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x55")
        scratch.ipmi("power", "on")

    power_on_with_a_mark()
    scratch.power_off()
    assert variables.read_bytes()[-1] == 0x55, "a power-on alone keeps what was set"
    scratch.ipmi("chassis", "bootdev", "disk", "options=clear-cmos")
    scratch.must("node", "stop", NODE)
    scratch.must("node", "start", NODE)
    assert scratch.count("firmware-settings-cleared") == 0
    scratch.ipmi("power", "on")
    wait_for(lambda: scratch.pid("qemu"), what="the host")
    assert scratch.count("firmware-settings-cleared") == 1
    assert variables.read_bytes()[-1] == new[-1]
    power_on_with_a_mark()
    before = scratch.pid("qemu")
    scratch.ipmi("chassis", "bootdev", "none", "options=clear-cmos")
    scratch.ipmi("power", "reset")
    wait_for(lambda: scratch.pid("qemu") not in (None, before), what="a host that has got power anew")
    assert scratch.count("firmware-settings-cleared") == 2
    assert variables.read_bytes()[-1] == new[-1]


@pytest.mark.parametrize("device", ["floppy", "safe", "diag"])
def test_a_device_the_node_does_not_have_is_refused(on: Lab, device: str) -> None:
    on.ipmi("chassis", "bootdev", "pxe")
    ran = on.ipmitool("chassis", "bootdev", device)
    assert "Invalid data field" in ran.err + ran.out
    assert flags(on)[1] == 0x04, "what was set before stays"


def test_boot_flags_of_another_door(on: Lab) -> None:
    on.order("boot", "cdrom")
    assert "CD/DVD" in on.ipmi("chassis", "bootparam", "get", "5")
    on.ipmi("chassis", "bootdev", "bios")
    assert on.status()["host"]["boot_override"] == "bios"
    wait_for(lambda: on.kept()["boot"]["flags"] == "8018000000", what="the state on disk")


def test_boot_parameters_are_kept(on: Lab) -> None:
    # Service partition selector and scan, valid bit clearing, acknowledge, initiator info.
    for number, data in ((1, b"\x07"), (2, b"\x03"), (3, b"\x1f"), (6, bytes(range(1, 10)))):
        on.raw(0, 8, number, *data)
        assert on.raw(0, 9, number, 0, 0) == bytes([1, number]) + data
    on.raw(0, 8, 4, 0xFF, 0x04)
    assert on.raw(0, 9, 4, 0, 0)[3] == 0x04
    on.raw(0, 8, 4, 0x01, 0x01)
    assert on.raw(0, 9, 4, 0, 0)[3] == 0x05, "only bits of the mask change"
    on.raw(0, 8, 0x81)
    assert "invalid/locked" in on.ipmi("chassis", "bootparam", "get", "1")
    on.raw(0, 8, 0x01)
    on.raw(0, 8, 3, 0)
    assert on.ipmitool("raw", "0", "9", "99", "0", "0").code != 0


def test_setting_in_progress_is_for_one(on: Lab) -> None:
    on.raw(0, 8, 0, 1)
    try:
        ran = on.ipmitool("raw", "0", "8", "0", "1")
        assert "rsp=0x81" in ran.err + ran.out
        assert "set in progress" in on.ipmi("chassis", "bootparam", "get", "0")
    finally:
        on.raw(0, 8, 0, 0)
    assert "set complete" in on.ipmi("chassis", "bootparam", "get", "0")


def test_the_boot_mailbox_keeps_text_and_numbers(on: Lab) -> None:
    text = "to whom it may concern: boot well"
    on.ipmi("chassis", "bootmbox", "set", "text", "7244", text)
    told = on.ipmi("chassis", "bootmbox", "get", "text")
    assert "7244 [Quanta" in told
    assert "".join(re.findall(r"Block +\d Data : '(.*)'", told)) == text
    on.ipmi("chassis", "bootmbox", "set", "block", "1", "7244", "0xde", "0xad")
    assert "dead0000" in on.ipmi("chassis", "bootmbox", "get", "block", "1")


def set_watchdog(home: Lab, *, actions: int, tenths: int, use: int = 4, pre_s: int = 0) -> None:
    """Set the watchdog and let it run."""
    home.raw(6, 0x24, use, actions, pre_s, 0x3E, tenths & 0xFF, tenths >> 8)
    home.raw(6, 0x22)


def events(home: Lab) -> str:
    """The SEL."""
    ran = home.ipmitool("sel", "elist")
    return ran.out + ran.err


def test_the_watchdog_is_set_shown_reset_and_stopped(on: Lab) -> None:
    set_watchdog(on, actions=0x01, tenths=6000)
    told = on.ipmi("mc", "watchdog", "get")
    assert re.search(r"Use: +SMS/OS", told)
    assert "Started/Running" in told
    assert re.search(r"Action: +Hard Reset", told)
    assert re.search(r"Initial Countdown: +600\.0 sec", told)
    first = int.from_bytes(on.raw(6, 0x25)[6:8], "little")
    wait_for(lambda: int.from_bytes(on.raw(6, 0x25)[6:8], "little") < first, what="the countdown")
    on.ipmi("mc", "watchdog", "reset")
    wait_for(lambda: on.kept()["watchdog"]["countdown"] == 6000, what="the state on disk")
    on.ipmi("mc", "watchdog", "off")
    assert "Stopped" in on.ipmi("mc", "watchdog", "get")


@pytest.mark.parametrize(
    ("action", "said", "cause"),
    [
        (0, "Timer expired", None),
        (1, "Hard reset", "watchdog"),
        (2, "Power down", None),
        (3, "Power cycle", "watchdog"),
    ],
)
def test_the_watchdog_acts_and_logs(on: Lab, action: int, said: str, cause: str | None) -> None:
    on.ipmi("sel", "clear")
    on.ipmi("chassis", "bootdev", "pxe")
    before, pid, began = on.count("power-off"), on.pid("qemu"), boots(on)
    set_watchdog(on, actions=action, tenths=1)
    wait_for(lambda: said in events(on), what="the SEL record")
    assert on.raw(6, 0x25)[3] == 1 << 4, "the expiration flag of this use"
    match action:
        case 0:
            assert on.pid("qemu") == pid
            assert boots(on) == began
        case 1:
            wait_for(lambda: boots(on) > began, what="another boot")
            assert on.pid("qemu") == pid
        case 2:
            wait_for(lambda: on.status()["host"]["power"] == "off", what="the power off")
        case 3:
            wait_for(lambda: on.pid("qemu") not in (None, pid), what="a new host")
            assert on.count("power-off") == before + 1
    # The flags are not for a boot by the watchdog; a host that is off boots when somebody wants it to.
    assert bool(flags(on)[0] & VALID) is (cause is None)
    if cause:
        assert cause in on.ipmi("chassis", "restart_cause")


def test_the_watchdog_warns_by_nmi_and_logs_that(on: Lab) -> None:
    on.ipmi("sel", "clear")
    before = on.count("nmi")
    # Four minutes, and a warning four minutes before its end: at once. It is stopped long before it ends.
    set_watchdog(on, actions=0x20 | 0x02, tenths=2400, pre_s=240)
    wait_for(lambda: on.count("nmi") == before + 1, what="the NMI")
    on.ipmi("mc", "watchdog", "off")
    assert "Timer interrupt" in events(on)
    assert "Power down" not in events(on)
    assert status(on, "System Power") == "on"


def test_a_watchdog_that_is_not_to_log_does_not(on: Lab) -> None:
    on.ipmi("sel", "clear")
    set_watchdog(on, actions=0, tenths=1, use=0x84)
    wait_for(lambda: on.raw(6, 0x25)[3] == 1 << 4, what="the end of the countdown")
    assert "SEL has no entries" in events(on)


@pytest.mark.parametrize(
    "data", [(7, 0, 0, 0, 1, 0), (4, 4, 0, 0, 1, 0), (4, 0x10, 0, 0, 1, 0), (4, 0x20, 9, 0, 1, 0)]
)
def test_a_watchdog_that_cannot_be_is_refused(on: Lab, data: tuple[int, ...]) -> None:
    """An unknown use or action, an SMI, a warning before the begin."""
    before = on.raw(6, 0x25)
    assert on.ipmitool("raw", "6", "0x24", *map(str, data)).code != 0
    assert on.raw(6, 0x25) == before


def test_flags_that_nobody_uses_expire(forgotten: Lab) -> None:
    """Last in this module, so that little of the minute is left to wait for."""
    began = time.monotonic()
    wait_for(lambda: not flags(forgotten)[0] & VALID, timeout_s=FLAGS_EXPIRE_S + 30, what="the expiry")
    assert time.monotonic() - began < FLAGS_EXPIRE_S + 30
    assert flags(forgotten)[1] == 0x04, "only the valid bit is cleared"
    assert forgotten.status()["host"]["boot_override"] is None
