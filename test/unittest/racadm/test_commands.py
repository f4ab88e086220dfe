"""What racadm does, what it refuses, and the two shells around it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from racadm_bench import bmc_of

from infrasim.racadm.commands import COMMANDS, FILES
from infrasim.racadm.ports import Session
from infrasim.racadm.shell import INNER_PROMPT, LINE_MOST, OUTER_PROMPT, Shell, run

MakeSession = Callable[..., Session]

SUCCESS = "Server power operation successful"


@pytest.mark.parametrize(
    ("action", "on", "text", "order"),
    [
        ("powerdown", True, SUCCESS, "000200"),
        ("powerup", False, SUCCESS, "000201"),
        ("powerup", True, "Server is already powered ON.", "000201"),
        ("powerdown", False, "Server is already powered OFF.", "000200"),
        ("powercycle", True, SUCCESS, "000202"),
        ("hardreset", True, SUCCESS, "000203"),
        ("nmi", True, SUCCESS, "000204"),
        ("graceshutdown", True, SUCCESS, "000205"),
        ("GraceShutdown -f", True, SUCCESS, "000205"),
    ],
)
def test_power(session: Session, action: str, on: bool, text: str, order: str) -> None:
    bmc_of(session).on = on
    answer = run(session, f"racadm serveraction {action}")
    assert (answer.text, answer.code) == (text, 0)
    assert [each.hex() for each in bmc_of(session).orders] == [order]


@pytest.mark.parametrize("action", ["powercycle", "hardreset", "graceshutdown", "nmi"])
def test_what_a_server_without_power_cannot_do_is_an_error(session: Session, action: str) -> None:
    bmc_of(session).on = False
    answer = run(session, f"racadm serveraction {action}")
    assert (answer.code, answer.text) == (
        1,
        "ERROR: Unable to perform the requested operation, because the server is powered OFF.",
    )


def test_the_lamp(session: Session) -> None:
    assert run(session, "racadm getled").text == "LED State: Not-Blinking"
    assert run(session, "racadm setled -l 1").code == 0
    assert run(session, "racadm getled").text == "LED State: Blinking"
    assert run(session, "racadm setled -l 0").code == 0
    assert run(session, "racadm getled").text == "LED State: Not-Blinking"
    assert [order.hex() for order in bmc_of(session).orders] == ["00040001", "000400"]


def test_the_log_is_cleared(session: Session) -> None:
    bmc_of(session).log = [bytes.fromhex("010002") + bytes(13)]
    assert run(session, "racadm getsel -i").text == "Total Records = 1"
    assert run(session, "racadm clrsel").text == "The SEL was cleared successfully."
    assert run(session, "racadm getsel -i").text == "Total Records = 0"
    assert run(session, "racadm getsel").text == ""


@pytest.mark.parametrize(
    ("commands", "flags", "keeps", "shown"),
    [
        (["set iDRAC.ServerBoot.FirstBootDevice PXE"], "8004000000", "08", "PXE Enabled"),
        (["set idrac.serverboot.1.firstbootdevice vcd-dvd"], "8014000000", "08", "CD-DVD Enabled"),
        (
            ["set iDRAC.ServerBoot.BootOnce Disabled", "set iDRAC.ServerBoot.FirstBootDevice HDD"],
            "c008000000",
            "08",
            "HDD Disabled",
        ),
        (
            [
                "config -g cfgServerInfo -o cfgServerFirstBootDevice BIOS",
                "config -g cfgServerInfo -o cfgServerBootOnce 0",
            ],
            "c018000000",
            "08",
            "BIOS Disabled",
        ),
        (
            ["set iDRAC.ServerBoot.FirstBootDevice PXE", "set iDRAC.ServerBoot.FirstBootDevice Normal"],
            "0000000000",
            "08",
            "Normal Enabled",
        ),
    ],
)
def test_boot_devices(session: Session, commands: list[str], flags: str, keeps: str, shown: str) -> None:
    for command in commands:
        answer = run(session, f"racadm {command}")
        assert answer.code == 0
        assert answer.text.endswith("Object value modified successfully")
    boot = bmc_of(session).boot
    assert (boot[5].hex(), boot[3].hex()) == (flags, keeps)
    device, once = shown.split()
    assert run(session, "racadm get iDRAC.ServerBoot.FirstBootDevice").text.endswith(
        f"\nFirstBootDevice={device}"
    )
    assert run(session, "racadm getconfig -g cfgServerInfo -o cfgServerFirstBootDevice").text == device
    assert run(session, "racadm getconfig -g cfgServerInfo -o cfgServerBootOnce").text == str(
        int(once == "Enabled")
    )


def test_a_uefi_host_is_given_uefi_flags(make_session: MakeSession) -> None:
    session = make_session("dell_r730", "compute: {firmware: uefi}")
    run(session, "racadm set iDRAC.ServerBoot.FirstBootDevice HDD")
    assert bmc_of(session).boot[5].hex() == "a008000000"


def test_a_reset_of_the_controller_ends_the_sessions(session: Session) -> None:
    answer = run(session, "racadm racreset hard -f")
    assert (answer.code, answer.ends_sessions) == (0, True)
    assert answer.text.startswith("RAC reset operation initiated successfully.")
    assert bmc_of(session).orders == [b"\6\2"]


@pytest.mark.parametrize(
    "command",
    [
        "serveraction powerdown",
        "setled -l 1",
        "clrsel",
        "racreset",
        "set iDRAC.ServerBoot.FirstBootDevice PXE",
    ],
)
def test_orders_need_rights(session: Session, command: str) -> None:
    bmc_of(session).may_order = False
    answer = run(session, f"racadm {command}")
    assert (answer.code, answer.ends_sessions) == (1, False)
    assert answer.text == "ERROR: The user has insufficient privileges for this operation."


@pytest.mark.parametrize(
    "command", ["getsysinfo", "getled", "getsel", "getsensorinfo", "serveraction powerup"]
)
def test_a_controller_that_does_not_answer_is_said_to(session: Session, command: str) -> None:
    bmc_of(session).away = True
    answer = run(session, f"racadm {command}")
    assert (answer.code, answer.text.startswith("ERROR: ")) == (1, True)
    assert "does not answer" in answer.text


@pytest.mark.parametrize(
    "command",
    [
        "bogus",
        "getsysinfo s",
        "getsysinfo -x",
        "getled 1",
        "setled",
        "setled -l",
        "setled -l 2",
        "setled -l 1 0",
        "serveraction",
        "serveraction powerup now",
        "serveraction explode",
        "get",
        "get BIOS.Nothing",
        "get BIOS.MemSettings.Nothing",
        "get iDRAC.Users.1",
        "get iDRAC.Users.9",
        "get iDRAC.Users.x",
        "get a b",
        "set",
        "set iDRAC.ServerBoot.FirstBootDevice",
        "set iDRAC.ServerBoot.FirstBootDevice Tape",
        "set iDRAC.ServerBoot.BootOnce maybe",
        "set BIOS.MemSettings.SysMemSize 1",
        "set Nothing.At.All 1",
        "config",
        "config -g cfgServerInfo -o cfgServerName x",
        "getconfig -g cfgNothing",
        "getconfig",
        "hwinventory all",
        "hwinventory nic.",
        "storage",
        "storage get",
        "storage get tapes",
        "storage get pdisks -x",
        "storage get pdisks -o -p",
        "storage put pdisks",
        "getversion -z",
        "getsel -s",
        "getsel -s x",
        "getsel -c 999999999999",
        "getractime -z",
        "racreset now",
        "getsvctag x",
        "getniccfg x",
        "getsensorinfo x",
        "clrsel x",
        "help bogus",
        'getled "',
    ],
)
def test_what_is_not_understood_is_an_error_and_does_nothing(session: Session, command: str) -> None:
    answer = run(session, f"racadm {command}")
    assert answer.code == 1
    assert answer.text.startswith("ERROR: ")
    assert bmc_of(session).orders == []


def test_every_command_is_in_the_help_and_explained(session: Session) -> None:
    overview = run(session, "racadm help").text
    for name in COMMANDS:
        assert f"\n {name} " in overview
        assert f"racadm {name}" in run(session, f"racadm help {name}").text


# --- the user's own answers


def test_own_answers_go_before_made_ones_for_exactly_their_words(make_session: MakeSession) -> None:
    files = {
        "getled": "LED State: Purple\r\n",
        "hwinventory": "[{{storage}}]",
        "get_bios_mem_setting": "Mem\n",
    }
    session = make_session(canned=files.get)
    assert run(session, "racadm getled").text == "LED State: Purple"
    assert run(session, "racadm hwinventory").text == f"[{run(session, 'racadm storage get pdisks -o').text}]"
    assert run(session, "racadm get BIOS.MemSettings").text == "Mem"
    assert run(session, "racadm get BIOS.MemSettings.SysMemSize").text.startswith("[Key=")


def test_own_answers_are_for_what_the_node_has_not_as_well(make_session: MakeSession) -> None:
    session = make_session(canned={"hwinventory_nic_integrated_1-4-1": "a fourth port"}.get)
    answer = run(session, "racadm hwinventory nic.Integrated.1-4-1")
    assert (answer.code, answer.text) == (0, "a fourth port")


def test_an_own_answer_to_an_order_does_not_replace_what_it_does(make_session: MakeSession) -> None:
    session = make_session(canned={"setled_l_0": "done"}.get)
    bmc_of(session).lit = True
    assert run(session, "racadm setled -l 0").text == "done"
    assert not bmc_of(session).lit
    bmc_of(session).may_order = False
    assert run(session, "racadm setled -l 0").code == 1


def test_files_of_the_reference_are_known() -> None:
    assert {"getled", "getsysinfo", "setled_l_0", "get_bios", "get_bios_mem_setting", "get_idrac"} <= {
        *FILES.values()
    }
    assert {"get_life_cycle_controller", "get_life_cycle_controller_lc_attributes"} <= {*FILES.values()}
    assert {f"hwinventory_nic_integrated_1-{number}-1" for number in range(1, 5)} <= {*FILES.values()}


# --- the shells


def dialogue(session: Session, *typed: str) -> list[tuple[str | None, str]]:
    """What is said to each line, with the prompt behind it."""
    shell = Shell(session)
    found = []
    for line in typed:
        answer = shell.say(line + "\n")
        found.append((shell.prompt, answer.text))
    return found


def test_the_shell_inside_the_shell(session: Session) -> None:
    assert dialogue(
        session, "", "racadm getsvctag", "racadm", "getsvctag", "racadm racadm getled", "exit", "quit"
    ) == [
        (OUTER_PROMPT, ""),
        (OUTER_PROMPT, "HG2H8D2"),
        (INNER_PROMPT, ""),
        (INNER_PROMPT, "racadm getsvctag\nHG2H8D2"),
        (INNER_PROMPT, "racadm getled\nLED State: Not-Blinking"),
        (OUTER_PROMPT, ""),
        (None, "CLP Session terminated"),
    ]


def test_a_reset_ends_the_shell(session: Session) -> None:
    assert [prompt for prompt, _ in dialogue(session, "racadm", "racreset")] == [INNER_PROMPT, None]


def test_the_outer_shell_knows_no_command_of_racadm(session: Session) -> None:
    ((prompt, text),) = dialogue(session, "getled")
    assert (prompt, text) == (OUTER_PROMPT, 'ERROR: Unknown command: getled. Run "help" for details.')


@pytest.mark.parametrize("line", ["exit", "quit", "help", "help getled", ""])
def test_command_lines_that_are_not_racadms(session: Session, line: str) -> None:
    assert run(session, line).code == 0


@pytest.mark.parametrize(
    "line", ["racadm", "ls -l /", "sh", "racadm getled; reboot", "racadm 'x", "define f"]
)
def test_command_lines_that_nobody_answers(session: Session, line: str) -> None:
    answer = run(session, line)
    assert (answer.code, answer.text[:6]) == (1, "ERROR:")


@pytest.mark.parametrize(
    "line", ["x" * (LINE_MOST + 1), "racadm getled\0", "racadm \x1b[2J", "racadm \u202egetled"]
)
def test_lines_that_nobody_types(session: Session, line: str) -> None:
    answer = run(session, line)
    assert answer.code == 1
    assert len(answer.text) < 100


@given(st.lists(st.text(max_size=40), max_size=6))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_words_break_it(session: Session, words: list[str]) -> None:
    answer = run(session, " ".join(["racadm", *words]))
    assert answer.code in (0, 1)
    shell = Shell(session)
    for word in words:
        shell.say(word)


@given(
    st.sampled_from(sorted(COMMANDS)),
    st.lists(
        st.sampled_from(["-o", "-p", "-s", "-c", "-l", "-g", "1", "0", "get", "nic", "pdisks", "BIOS", "a.b"])
    ),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_options_break_it(session: Session, name: str, words: list[str]) -> None:
    assert run(session, " ".join(["racadm", name, *words])).code in (0, 1)
