"""Which steps are taken to get what is missing, with every step faked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import Mock

import pytest

from infrasim.errors import HostError, InvalidNodeFile
from infrasim.packages import deb, install
from infrasim.packages.deb import Archive, OldListsError
from infrasim.packages.fetch import FileGoneError, Network, RemoteFile
from infrasim.packages.install import download_folder, ensure_programs
from infrasim.packages.progress import ProgressReporter
from infrasim.paths import Home


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def archive(name: str, uri: str = "http://h/") -> Archive:
    return Archive(f"{uri}{name}", name, len(name), digest(name))


@dataclass
class Machine:
    """What is done, in order, and what goes wrong; a file's content is its name."""

    home: Home
    missing: list[tuple[str, ...]] = field(default_factory=lambda: [("socat", "ipmi_sim")])
    archives: tuple[Archive, ...] = (archive("socat_1.deb"), archive("openipmi_2.deb"))
    done: list[str] = field(default_factory=list)
    faults: dict[str, list[Exception]] = field(default_factory=dict)

    def do(self, step: str, detail: str = "") -> None:
        self.done.append(f"{step} {detail}".strip())
        if self.faults.get(step):
            raise self.faults[step].pop(0)

    def missing_programs(self, programs: Sequence[str]) -> tuple[str, ...]:
        return self.missing.pop(0) if len(self.missing) > 1 else self.missing[0]

    def resolve(
        self, packages: Sequence[str], *, complete: bool, report: ProgressReporter
    ) -> tuple[Archive, ...]:
        self.do("resolve", " ".join(packages) + (" complete" if complete else ""))
        return self.archives

    def fetch(self, remote: RemoteFile, folder: Path, *, report: ProgressReporter, network: Network) -> Path:
        assert network.proxies == {"http": "http://p"}
        self.do("fetch", remote.name)
        (folder / remote.name).write_text(remote.name)
        return folder / remote.name

    def download_by_apt(self, archives: Sequence[Archive], folder: Path, report: ProgressReporter) -> None:
        for one in archives:
            self.do("apt download", one.name)
            (folder / one.name).write_text(one.name)

    def install(
        self, packages: Sequence[str], debs: Sequence[Path], *, report: ProgressReporter
    ) -> tuple[str, ...]:
        self.do("install", f"{' '.join(packages)} from {' '.join(path.name for path in debs)}")
        self.missing = [()]
        return tuple(packages)

    def ensure(self, **changes: object) -> tuple[str, ...]:
        asked: dict[str, object] = {"install": True, "source_dir": None, "download_only": False} | changes
        return ensure_programs(self.home, report=Mock(spec=ProgressReporter), **asked)  # type: ignore[arg-type]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that lacks socat and ipmi_sim."""
    made = Machine(Home(tmp_path / "home", tmp_path / "log"))
    monkeypatch.setattr(install, "missing_programs", made.missing_programs)
    monkeypatch.setattr(install, "fetch", made.fetch)
    monkeypatch.setattr(deb, "require_apt", lambda: None)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(deb, "http_proxies", lambda: {"http": "http://p"})
    monkeypatch.setattr(deb, "resolve", made.resolve)
    monkeypatch.setattr(deb, "update_lists", lambda report: made.do("update"))
    monkeypatch.setattr(deb, "download_by_apt", made.download_by_apt)
    monkeypatch.setattr(deb, "install", made.install)
    return made


FETCHED = ["fetch socat_1.deb", "fetch openipmi_2.deb"]
INSTALLED = "install socat openipmi from socat_1.deb openipmi_2.deb"


def test_from_the_distribution(machine: Machine) -> None:
    assert machine.ensure() == ("socat", "openipmi")
    assert machine.done == ["resolve socat openipmi", *FETCHED, INSTALLED]


def test_nothing_is_missing(machine: Machine) -> None:
    machine.missing = [()]
    assert machine.ensure() == ()
    assert machine.done == []
    assert not machine.home.root.exists()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (("socat", "ipmi_sim"), "socat, ipmi_sim are not installed"),
        (("socat",), "socat is not installed"),
    ],
)
def test_asked_not_to_install(machine: Machine, missing: tuple[str, ...], message: str) -> None:
    machine.missing = [missing]
    with pytest.raises(HostError) as caught:
        machine.ensure(install=False)
    assert (caught.value.message, caught.value.hint) == (message, "install with: infrasim init (as root)")
    assert machine.done == []
    assert not machine.home.root.exists()


def test_not_root(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HostError, match="installing socat, ipmi_sim needs root"):
        machine.ensure()
    assert machine.done == []


def test_another_infrasim_did_it_meanwhile(machine: Machine) -> None:
    machine.missing = [("socat",), ()]
    assert machine.ensure() == ()
    assert machine.done == []


@pytest.mark.parametrize(
    ("step", "fault"), [("resolve", OldListsError("old")), ("fetch", FileGoneError("gone"))]
)
def test_old_lists_are_read_anew_once(machine: Machine, step: str, fault: HostError) -> None:
    machine.faults[step] = [fault]
    machine.ensure()
    assert machine.done.count("update") == 1
    assert machine.done[-4:] == ["resolve socat openipmi", *FETCHED, INSTALLED]
    machine.missing, machine.faults[step] = [("socat",)], [fault, fault]
    with pytest.raises(type(fault)):
        machine.ensure()


def test_what_cannot_be_downloaded_is_not_installed(machine: Machine) -> None:
    machine.faults["fetch"] = [HostError("wrong content")]
    with pytest.raises(HostError, match="wrong content"):
        machine.ensure()
    assert machine.done == ["resolve socat openipmi", "fetch socat_1.deb"]


def test_installed_in_vain(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "install", lambda packages, debs, *, report: ())
    with pytest.raises(HostError, match="installed socat, openipmi, yet socat, ipmi_sim cannot be found"):
        machine.ensure()


def test_from_a_folder(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "a_1.deb").write_text("a_1.deb")
    (tmp_path / "lab" / "SHA256SUMS").write_text(f"{digest('a_1.deb')}  a_1.deb\n")
    machine.ensure(source_dir=tmp_path / "lab")
    assert machine.done == ["install socat openipmi from a_1.deb"]


def test_from_a_folder_that_was_altered(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "a_1.deb").write_text("b")
    (tmp_path / "SHA256SUMS").write_text(f"{digest('a_1.deb')}  a_1.deb\n")
    with pytest.raises(HostError, match="wrong content"):
        machine.ensure(source_dir=tmp_path)
    assert machine.done == []


def test_download_only(machine: Machine) -> None:
    folder = download_folder(machine.home)
    folder.mkdir(parents=True)
    (folder / "socat_0.deb").write_text("an older one")
    names = machine.ensure(install=False, download_only=True)
    assert names == ("socat_1.deb", "openipmi_2.deb")
    everything = "resolve qemu-system-x86 qemu-utils openipmi socat ipmitool swtpm ovmf complete"
    assert machine.done == [everything, *FETCHED]
    assert (folder / "SHA256SUMS").read_text() == (
        f"{digest('openipmi_2.deb')}  openipmi_2.deb\n{digest('socat_1.deb')}  socat_1.deb\n"
    )
    assert not (folder / "socat_0.deb").exists()
    assert [path.name for path in deb.verified_folder(folder)] == ["openipmi_2.deb", "socat_1.deb"]


def test_download_only_when_nothing_is_missing_and_not_root(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    machine.missing = [()]
    assert machine.ensure(install=False, download_only=True)


def test_what_requests_cannot_reach_is_left_to_apt(machine: Machine) -> None:
    machine.archives = (archive("socat_1.deb", "mirror+file:/etc/apt/mirrors/"),)
    machine.ensure()
    assert machine.done[1:] == ["apt download socat_1.deb", "install socat openipmi from socat_1.deb"]
    machine.missing = [("socat",)]
    machine.done.clear()
    machine.ensure()
    assert machine.done == ["resolve socat", "install socat from socat_1.deb"], "it is in the cache"


def test_apt_may_be_wrong_as_well(machine: Machine) -> None:
    machine.archives = (Archive("cdrom:/x", "socat_1.deb", 1, "0" * 64),)
    with pytest.raises(HostError, match=r"cdrom:/x: wrong content: its SHA-256 is not 0{64}"):
        machine.ensure()
    assert not list(download_folder(machine.home).glob("*.deb"))


def catalogue(machine: Machine, files: str) -> None:
    programs = "qemu-system-x86_64: qq, qemu-img: qq, ipmi_sim: openipmi, socat: socat, ipmitool: ii"
    machine.home.root.mkdir()
    (machine.home.root / "packages.yml").write_text(f"programs: {{{programs}}}\nfiles: {files}\n")


def test_files_of_ones_own_come_first(machine: Machine) -> None:
    catalogue(machine, f"[{{url: 'http://mine/socat_9.deb', sha256: {digest('socat_9.deb')}}}]")
    machine.archives = (archive("openipmi_2.deb"), archive("socat_9.deb"))
    machine.ensure()
    mine = download_folder(machine.home) / "socat_9.deb"
    assert machine.done == [
        "fetch socat_9.deb",
        f"resolve socat openipmi {mine}",
        "fetch openipmi_2.deb",
        "fetch socat_9.deb",
        "install socat openipmi from socat_9.deb openipmi_2.deb",
    ]


def test_a_wrong_catalogue(machine: Machine) -> None:
    catalogue(machine, "7")
    with pytest.raises(InvalidNodeFile, match="files: must be a list"):
        machine.ensure()
    assert machine.done == []


def test_no_apt_here(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    absent: Callable[[str], None] = lambda name: None  # noqa: E731
    monkeypatch.undo()
    monkeypatch.setattr(install, "missing_programs", lambda programs: ("socat",))
    monkeypatch.setattr(deb, "find_program", absent)
    with pytest.raises(HostError, match="apt-get is not on this machine"):
        machine.ensure()
