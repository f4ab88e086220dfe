"""``infrasim type`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from infrasim.cli.progress import Counts, counts_shown
from infrasim.cli.type import type_group
from infrasim.clients import ipmitool
from infrasim.clients.ipmitool import Login
from infrasim.errors import DeadlineError, UsageError
from infrasim.personality.emu import parse_emu
from infrasim.runtime import capture as capturing


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFRASIM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def run(*words: str | Path) -> Result:
    result = CliRunner().invoke(type_group, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def rendered(tmp_path: Path) -> Path:
    """A capture: what a type is rendered to."""
    run("render", "quanta_d51", tmp_path / "r", "--memory", "262144", "--serial", "AB1234567")
    return tmp_path / "r"


def test_list() -> None:
    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["TYPE", "SERVER", "WHAT", "IT", "IS"]
    assert any(line.startswith("dell_r730xd  Dell Inc. PowerEdge R730xd") for line in lines)
    rows = json.loads(run("list", "--json").stdout)
    assert {"name", "manufacturer", "product_name", "summary", "folder"} == set(rows[0])


def test_show() -> None:
    text = run("show", "quanta_d51").stdout
    assert "2 sockets, 10 cores each" in text
    assert "0x20 AST2400" in text
    facts = json.loads(run("show", "vnode", "--json").stdout)
    assert facts["sensors"] == "22, 22 with a value"
    assert facts["fru_devices"] == ["0 System FRU", "1 PSU1 FRU", "2 PSU2 FRU"]


def test_an_unknown_type() -> None:
    with pytest.raises(UsageError, match="unknown server type 'quanta'"):
        run("show", "quanta")


def test_path_and_types_of_my_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "vnode"
    mine.mkdir(parents=True)
    (mine / "type.yml").write_text("manufacturer: Me\ncontrollers: [{address: 0x20, device_id: 1}]\n")
    assert run("--types", tmp_path / "mine", "path", "vnode").stdout == f"{mine}\n"
    assert "Me" in run("--types", tmp_path / "mine", "list").stdout
    assert run("path", "vnode").stdout.endswith("/data/personalities/vnode\n")


def test_check(tmp_path: Path) -> None:
    assert run("check", "vnode").stdout == "vnode: 0 errors, 0 notes\n"
    assert json.loads(run("check", "vnode", "--json").stdout) == []
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "type.yml").write_text("controllers: [{address: 0x22, device_id: 1}]\n")
    with pytest.raises(UsageError, match="has 2 errors"):
        run("check", f"{tmp_path}/t")


def test_render(rendered: Path) -> None:
    structures = sorted((rendered / "smbios").iterdir())
    assert structures[0].name == "000.bin"
    assert (rendered / "smbios.bin").read_bytes().startswith(b"_SM3_")
    assert (rendered / "quanta_d51.emu").read_text().startswith("# quanta_d51: ")
    with pytest.raises(UsageError, match="--uuid 'x': wanted 32 hexadecimal digits"):
        run("render", "vnode", rendered, "--uuid", "x")


def test_import_and_compare(rendered: Path, home: Path) -> None:
    capture = ("--emu", rendered / "quanta_d51.emu", "--smbios", rendered / "smbios.bin")
    said = run("import", "mine", *capture)
    assert "112 SDRs, 107 sensors, 2 FRUs, 75 SMBIOS structures" in said.stdout
    files = {path.name for path in (home / "types" / "mine").iterdir()}
    assert files == {"type.yml", "sensors.yml", "fru.yml", "smbios.yml"}
    assert "AB1234567" not in (home / "types" / "mine" / "fru.yml").read_text()
    assert run("compare", "mine", *capture, "--no-identity").stdout.splitlines()[-1] == "0 differences"
    assert run("compare", "mine", *capture[:2], "--no-identity").stdout == "0 differences\n"
    (line, count) = run("compare", "vnode", *capture[:2], "--no-identity").stdout.splitlines()[-2:]
    assert line.startswith("FRU ")
    assert int(count.split()[0]) > 100
    assert json.loads(run("compare", "mine", *capture, "--no-identity", "--json").stdout) == []
    with pytest.raises(UsageError, match="exists already"):
        run("import", "mine", *capture)
    (home / "types" / "mine" / "old.yml").write_text("x: 1\n")
    run("import", "mine", *capture, "--force", "--extends", "quanta_d51", "--keep-serials", "--repair")
    assert not (home / "types" / "mine" / "old.yml").exists()
    assert (home / "types" / "mine" / "type.yml").read_text().startswith("extends: quanta_d51\n")
    assert "AB1234567" in (home / "types" / "mine" / "fru.yml").read_text()


def test_import_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing\.emu cannot be read: No such file"):
        run("import", "mine", "--emu", tmp_path / "nothing.emu")
    with pytest.raises(UsageError, match=r"node name '\.\./x' cannot be used"):
        run("import", "../x", "--emu", tmp_path / "nothing.emu")


class Bmc:
    """What ``type capture`` logs in to."""

    logins: tuple[Login, ...] = ()

    def __init__(self, login: Login) -> None:
        type(self).logins = (*self.logins, login)

    def __enter__(self) -> Bmc:
        return self

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture
def bmc(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> type[Bmc]:
    """A BMC that shows what a type is rendered to, but for one FRU."""
    emulation = parse_emu((rendered / "quanta_d51.emu").read_text())

    def found(_: object, *, progress: capturing.Progress) -> capturing.Captured:
        progress.advance("SDRs", 1, 2)
        return capturing.Captured(emulation, ("FRU 7: Requested sensor not present",))

    class Mine(Bmc):
        pass

    monkeypatch.setattr(ipmitool, "Ipmitool", Mine)
    monkeypatch.setattr(capturing, "capture", found)
    monkeypatch.delenv("IPMI_PASSWORD", raising=False)
    return Mine


LOGIN = ("-H", "192.0.2.1", "-U", "root")


def test_capture(bmc: type[Bmc], home: Path, rendered: Path) -> None:
    result = run("capture", "mine", *LOGIN, "-P", "secret", "--smbios", rendered / "smbios.bin")
    assert bmc.logins == (Login("192.0.2.1", "root", "secret"),)
    assert result.stderr.startswith("not captured: FRU 7: Requested sensor not present\n")
    assert result.stdout.startswith(f"{home}/types/mine: ")
    assert "AB1234567" in (home / "types" / "mine" / "fru.yml").read_text()
    assert "0 differences" in run(
        "compare", "mine", "--emu", rendered / "quanta_d51.emu", "--smbios", rendered / "smbios.bin"
    ).stdout  # fmt: skip


def test_capture_never_overwrites_unasked_and_asks_the_bmc_nothing_then(bmc: type[Bmc], home: Path) -> None:
    run("capture", "mine", *LOGIN, "-P", "x")
    before = (home / "types" / "mine" / "fru.yml").read_text()
    with pytest.raises(UsageError, match="types/mine exists already"):
        run("capture", "mine", *LOGIN, "-P", "x")
    assert len(bmc.logins) == 1
    run("capture", "mine", *LOGIN, "-P", "x", "--force", "--scrub", "--repair", "--extends", "quanta_d51")
    assert (home / "types" / "mine" / "type.yml").read_text().startswith("extends: quanta_d51\n")
    assert "AB1234567" in before
    written = "".join(file.read_text() for file in (home / "types" / "mine").iterdir())
    assert "AB1234567" not in written


def test_capture_passes_options_on(bmc: type[Bmc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPMI_PASSWORD", "from-environment")
    result = run("capture", "mine", *LOGIN, "-p", "6230", "-C", "17", "-L", "user", "--to", tmp_path / "here")
    assert bmc.logins == (Login("192.0.2.1", "root", "from-environment", 6230, "17", "USER"),)
    assert result.stdout.startswith(f"{tmp_path}/here/mine: ")


def test_capture_asks_for_a_password_on_the_terminal(bmc: type[Bmc]) -> None:
    result = CliRunner().invoke(type_group, ["capture", "mine", *LOGIN], input="typed\n")
    assert result.exit_code == 0
    assert bmc.logins[0].password == "typed"
    assert "typed" not in result.output
    assert CliRunner().invoke(type_group, ["capture", "mine", *LOGIN], input="").exit_code == 1


@pytest.mark.parametrize("words", [("-p", "0"), ("-p", "x"), ("-L", "ROOT"), ("--host",)])
def test_capture_with_wrong_options(bmc: type[Bmc], words: tuple[str, ...]) -> None:
    assert run("capture", "mine", *LOGIN, "-P", "x", *words).exit_code == 2
    assert bmc.logins == ()


def test_a_capture_that_fails_leaves_nothing(
    bmc: type[Bmc], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object, *, progress: capturing.Progress) -> capturing.Captured:
        raise DeadlineError("192.0.2.1, port 623: no BMC answers there")

    monkeypatch.setattr(capturing, "capture", fails)
    with pytest.raises(DeadlineError):
        run("capture", "mine", *LOGIN, "-P", "x")
    assert not (home / "types" / "mine").exists()
    with pytest.raises(UsageError, match=r"no\.bin cannot be read"):
        run("capture", "mine", *LOGIN, "-P", "x", "--smbios", home / "no.bin")


def test_counts_are_a_bar_on_a_terminal_and_nothing_elsewhere() -> None:
    from io import StringIO

    from rich.console import Console
    from rich.progress import Progress

    with counts_shown() as shown:
        shown.advance("SDRs", 1, 2)
    screen = Progress(console=Console(file=StringIO()))
    counts = Counts(screen)
    counts.advance("SDRs", 1, 5)
    counts.advance("SDRs", 5, 5)
    counts.advance("sensors", 1, None)
    assert [(task.description, task.completed, task.total) for task in screen.tasks] == [("sensors", 1, None)]
