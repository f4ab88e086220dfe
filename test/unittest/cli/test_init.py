"""``infrasim init``: what it writes, what it refuses, what it never touches."""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infrasim.cli import init, main
from infrasim.errors import ExitCode, HostError, UsageError
from infrasim.packages import catalogue, install
from infrasim.packages.catalogue import EXTRAS, PROGRAMS
from infrasim.packages.progress import ProgressReporter
from infrasim.paths import Home


@dataclass
class Desk:
    """A home, and what the command asked of the others."""

    home: Home
    missing: tuple[str, ...] = ()
    asked: list[dict[str, object]] = field(default_factory=list)
    written: int = 0
    fault: Exception | None = None

    @property
    def node_file(self) -> Path:
        return self.home.map_file("default")

    def write(self, home: Home, *, server_type: str = "quanta_d51") -> None:
        assert home == self.home
        if server_type == "nonesuch":
            raise UsageError("no server type 'nonesuch'")
        self.written += 1
        home.node_map.mkdir(parents=True, exist_ok=True)
        self.node_file.write_text(f"type: {server_type}\nserial: {self.written}\n")

    def ensure(self, home: Home, *, report: ProgressReporter, **asked: object) -> Sequence[str]:
        self.asked.append(asked)
        report.step("a step")
        report.advance("socat_1.deb", 1, 2)
        report.advance("openipmi_1.deb", 1, None)
        if self.fault:
            raise self.fault
        return ("socat", "openipmi")


def _asked(*, install: bool, source_dir: Path | None = None) -> dict[str, object]:
    """What is asked for when something is to be installed."""
    return {
        "install": install,
        "source_dir": source_dir,
        "download_only": False,
        "programs": PROGRAMS,
    }


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An empty home on a machine that has everything."""
    monkeypatch.setenv("INFRASIM_HOME", str(tmp_path / "home"))
    made = Desk(Home.from_environment())
    node_map = types.ModuleType("infrasim.runtime.node_map")
    node_map.write_default_node_file = made.write  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "infrasim.runtime.node_map", node_map)
    monkeypatch.setattr(catalogue, "missing_programs", lambda programs=(): made.missing)
    monkeypatch.setattr(install, "ensure_programs", made.ensure)
    return made


def test_first_time_on_a_machine_that_has_everything(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init"]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.out == f"wrote node file {desk.node_file}\neverything infrasim drives is installed\n"
    assert shown.err == ""
    assert desk.asked == []


def test_what_is_missing_is_installed(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.missing = ("socat",)
    assert main.run(["init"]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert shown.out.splitlines()[1] == "installed 2 packages"
    assert shown.err == "infrasim: a step\n"
    assert desk.asked == [_asked(install=True)]


def test_from_a_folder(desk: Desk) -> None:
    desk.missing = ("socat",)
    assert main.run(["init", "--from", "lab"]) == ExitCode.DONE
    assert desk.asked == [_asked(install=True, source_dir=Path("lab"))]


def test_what_only_some_nodes_need_on_request(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.missing = ("swtpm",)
    assert main.run(["init", "--all", "--from", "lab"]) == ExitCode.DONE
    asked = _asked(install=True, source_dir=Path("lab"))
    assert desk.asked == [{**asked, "programs": (*PROGRAMS, *EXTRAS)}]
    assert main.run(["init", "--all", "--skip-installation"]) == ExitCode.USAGE
    assert "--skip-installation and --all exclude each other" in capsys.readouterr().err


def test_download_only_writes_no_node_file(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["init", "--download-only"]) == ExitCode.DONE
    assert desk.asked == [{"install": False, "source_dir": None, "download_only": True}]
    assert f"downloaded 2 packages to {desk.home.cache / 'packages'}" in capsys.readouterr().out
    assert not desk.node_file.exists()


@pytest.mark.parametrize("option", ["-s", "--skip-installation"])
def test_skip_installation(desk: Desk, option: str) -> None:
    desk.missing = ("socat",)
    assert main.run(["init", option]) == ExitCode.DONE
    assert desk.asked == []
    assert desk.node_file.exists()


def test_installation_for_others(desk: Desk) -> None:
    assert init.install_missing(desk.home, install=False) == ()
    assert desk.asked == []
    desk.missing = ("socat",)
    assert init.install_missing(desk.home, install=False) == ("socat", "openipmi")
    assert desk.asked == [_asked(install=False)]


def test_a_failed_installation_is_an_error(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.missing, desk.fault = ("socat",), HostError("no network", hint="plug it in")
    assert main.run(["init"]) == ExitCode.HOST
    assert capsys.readouterr().err == "infrasim: a step\ninfrasim: no network\nhint: plug it in\n"


def test_again_changes_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["init"])
    before = (desk.node_file.read_bytes(), desk.node_file.stat().st_mtime_ns)
    capsys.readouterr()
    assert main.run(["init"]) == ExitCode.DONE
    assert (desk.node_file.read_bytes(), desk.node_file.stat().st_mtime_ns) == before
    assert f"node file {desk.node_file} exists and stays as it is" in capsys.readouterr().out


def test_type(desk: Desk) -> None:
    assert main.run(["init", "--type", "dell_r730"]) == ExitCode.DONE
    assert desk.node_file.read_text().startswith("type: dell_r730\n")


def test_type_with_a_node_file_that_is_there(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["init"])
    before = desk.node_file.read_bytes()
    assert main.run(["init", "--type", "dell_r730"]) == ExitCode.USAGE
    assert "so --type dell_r730 would change nothing" in capsys.readouterr().err
    assert desk.node_file.read_bytes() == before


def test_an_unknown_type_touches_nothing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.missing = ("socat",)
    assert main.run(["init", "--type", "nonesuch"]) == ExitCode.USAGE
    assert "no server type 'nonesuch'" in capsys.readouterr().err
    assert desk.asked == []
    assert not desk.home.root.exists()


def test_force_keeps_the_old_file_beside_the_new(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["init"])
    before = desk.node_file.read_text()
    capsys.readouterr()
    assert main.run(["init", "--force", "--type", "dell_r730"]) == ExitCode.DONE
    (kept,) = [path for path in desk.home.node_map.iterdir() if path != desk.node_file]
    assert kept.read_text() == before
    assert desk.node_file.read_text() != before
    assert f"the old one is {kept}" in capsys.readouterr().out
    assert desk.home.registered() == ("default",), "the kept file is no node"


def test_force_that_fails_leaves_the_old_file_in_place(desk: Desk) -> None:
    main.run(["init"])
    before = desk.node_file.read_text()
    assert main.run(["init", "--force", "--type", "nonesuch"]) == ExitCode.USAGE
    assert desk.node_file.read_text() == before
    assert list(desk.home.node_map.iterdir()) == [desk.node_file]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "d", "--download-only"], "--from and --download-only exclude each other"),
        (["--from", "d", "-s"], "--from and --skip-installation exclude each other"),
        (["--download-only", "-t", "x"], "--download-only and --type exclude each other"),
        (["--download-only", "-f"], "--download-only and --force exclude each other"),
        (["--download-only", "-s"], "--download-only and --skip-installation exclude each other"),
    ],
)
def test_options_that_exclude_each_other(
    desk: Desk, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main.run(["init", *words]) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert not desk.home.root.exists()


def test_on_a_terminal_there_is_a_bar(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.missing = ("socat",)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert main.run(["init"]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert "infrasim: a step" in shown.err
    assert "openipmi" in shown.err
    assert "a step" not in shown.out
