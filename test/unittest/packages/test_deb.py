"""Packages by an apt that answers from a table."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from infrasim.errors import DeadlineError, HostError
from infrasim.host.process import Finished
from infrasim.packages import deb
from infrasim.packages.deb import Archive, OldListsError

A = "1" * 64
B = "2" * 64
URIS = f"""'http://h/pool/q/qemu_1%3a7.2%2bdfsg_amd64.deb' qemu_1%3a7.2+dfsg_amd64.deb 900 SHA256:{A}
'http://h/pool/s/socat_1.7_amd64.deb' socat_1.7_amd64.deb 37 SHA256:{B}
"""
QEMU = Archive("http://h/pool/q/qemu_1%3a7.2%2bdfsg_amd64.deb", "qemu_1%3a7.2+dfsg_amd64.deb", 900, A)
SOCAT = Archive("http://h/pool/s/socat_1.7_amd64.deb", "socat_1.7_amd64.deb", 37, B)
LOCKED = (
    "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4711 (unattended-upgr)\n"
    "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?"
)


@dataclass
class Told:
    """A reporter that remembers steps."""

    steps: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def advance(self, name: str, done_bytes: int, total_bytes: int | None) -> None:
        raise AssertionError("apt reports no bytes")


Answer = tuple[int, str, str]


@dataclass
class Apt:
    """Answers a command by the first pattern that is in it; a list of answers is used up in order."""

    answers: dict[str, list[Answer] | Callable[[list[str]], Answer]] = field(default_factory=dict)
    called: list[list[str]] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        check: bool,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        assert timeout_s > 0
        assert not check
        self.called.append(list(argv))
        if argv[0] == "apt-get":
            assert env is not None
            assert (env["LC_ALL"], env["DEBIAN_FRONTEND"]) == ("C", "noninteractive")
        line = " ".join(argv)
        for pattern, answer in self.answers.items():
            if pattern in line:
                found = answer(list(argv)) if callable(answer) else answer.pop(0)
                return Finished(tuple(argv), *found)
        return Finished(tuple(argv), 0, "", "")

    def lines(self, pattern: str) -> list[str]:
        return [line for line in map(" ".join, self.called) if pattern in line]


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> Apt:
    """An apt in place of this machine's, used by root."""
    made = Apt()
    monkeypatch.setattr(deb, "run", made.run)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return made


def test_resolve(apt: Apt) -> None:
    apt.answers["--print-uris"] = [(0, URIS, "")]
    assert deb.resolve(["qemu", "socat"], complete=False, report=Told()) == (QEMU, SOCAT)
    (argv,) = apt.called
    assert argv[:2] == ["apt-get", "install"]
    assert argv[-2:] == ["qemu", "socat"]
    assert {"--no-install-recommends", "--no-remove", "Acquire::ForceHash=SHA256"} <= set(argv)
    assert "Dir::State::status=/dev/null" not in argv


def test_resolve_for_a_machine_with_nothing(apt: Apt) -> None:
    apt.answers["--print-uris"] = [(0, URIS, "")]
    deb.resolve(["qemu"], complete=True, report=Told())
    assert "Dir::State::status=/dev/null" in apt.called[0]


def test_resolve_leaves_out_the_files_it_was_given(apt: Apt) -> None:
    given = "'file:/d/my%2bq.deb' my+q.deb 9 SHA256:" + A + "\n'/d/my+q.deb' my+q.deb 9 \n"
    apt.answers["--print-uris"] = [(0, given + URIS, "")]
    assert deb.resolve(["qemu", "/d/my+q.deb"], complete=False, report=Told()) == (QEMU, SOCAT)


@pytest.mark.parametrize("printed", ["MD5Sum:0123", ""])
def test_a_digest_apt_does_not_print_is_looked_up(apt: Apt, printed: str) -> None:
    apt.answers["--print-uris"] = [(0, URIS.replace(f"SHA256:{A}", printed), "")]
    stanzas = f"Package: qemu\nSize: 1\nSHA256: {B}\n\nPackage: qemu\nSize: 900\nSHA256: {A}\n"
    apt.answers["apt-cache show qemu=1:7.2+dfsg"] = [(0, stanzas, "")]
    assert deb.resolve(["qemu"], complete=False, report=Told())[0] == QEMU


def test_no_digest_at_all(apt: Apt) -> None:
    apt.answers["--print-uris"] = [(0, URIS.replace(f"SHA256:{A}", "MD5Sum:0123"), "")]
    with pytest.raises(
        HostError, match=r"the package lists have no SHA-256 for qemu_1%3a7\.2\+dfsg_amd64\.deb"
    ):
        deb.resolve(["qemu"], complete=False, report=Told())


@pytest.mark.parametrize(
    "said",
    [
        "E: Unable to locate package openipmi",
        "E: Package 'openipmi' has no installation candidate",
    ],
)
def test_lists_that_do_not_know_a_package(apt: Apt, said: str) -> None:
    apt.answers["--print-uris"] = [(100, "", said)]
    with pytest.raises(OldListsError, match=f"do not offer all of openipmi:\n    {said}") as caught:
        deb.resolve(["openipmi"], complete=False, report=Told())
    assert "universe" in caught.value.hint


def test_a_package_that_cannot_be_installed(apt: Apt) -> None:
    apt.answers["--print-uris"] = [(100, "Reading package lists...\n q : Depends: y", "E: broken packages\n")]
    with pytest.raises(HostError) as caught:
        deb.resolve(["q"], complete=False, report=Told())
    assert caught.value.message == "apt cannot install q:\n     q : Depends: y\n    E: broken packages"
    assert not isinstance(caught.value, OldListsError)


def test_another_apt_is_waited_for(apt: Apt) -> None:
    apt.answers["--print-uris"] = [(100, "", LOCKED), (100, "", LOCKED), (0, URIS, "")]
    told = Told()
    assert len(deb.resolve(["q"], complete=False, report=told)) == 2
    assert told.steps == ["waiting for process 4711 (unattended-upgr) to release apt's lock"] * 2


def test_another_apt_that_never_ends(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    apt.answers["--print-uris"] = lambda argv: (100, "", LOCKED)
    now = iter(range(0, 10**6, 100))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with pytest.raises(
        DeadlineError, match=r"process 4711 \(unattended-upgr\) has been holding apt's lock for 300 s"
    ):
        deb.resolve(["q"], complete=False, report=Told())


def test_update(apt: Apt) -> None:
    told = Told()
    deb.update_lists(told)
    assert (apt.lines("apt-get update"), told.steps) == (["apt-get update -q"], ["reading the package lists"])


def test_update_fails(apt: Apt) -> None:
    apt.answers["update"] = [(100, "", "E: Temporary failure resolving 'h'")]
    with pytest.raises(HostError, match="apt-get update failed:\n    E: Temporary failure resolving 'h'"):
        deb.update_lists(Told())


def test_not_root(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HostError, match=r"reading the package lists \(apt-get update\) needs root") as caught:
        deb.update_lists(Told())
    assert caught.value.hint == "run as root: infrasim init"
    with pytest.raises(HostError, match="installing packages needs root"):
        deb.install(["q"], [], report=Told())
    assert apt.called == []


def test_no_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deb, "find_program", lambda name: None)
    with pytest.raises(HostError, match="apt-get is not on this machine") as caught:
        deb.require_apt()
    assert "ipmi_sim" in caught.value.hint


def test_proxies_of_apt(apt: Apt) -> None:
    dump = 'Acquire::http "";\nAcquire::http::Proxy "http://p:3128";\nAcquire::https::proxy "DIRECT";\n'
    apt.answers["apt-config dump"] = [(0, dump, "")]
    assert deb.http_proxies() == {"http": "http://p:3128"}


def test_what_only_apt_can_fetch(apt: Apt, tmp_path: Path) -> None:
    apt.answers["download"] = [(0, "", "")]

    def run(argv: Sequence[str], *, cwd: Path, **rest: object) -> Finished:
        (cwd / "qemu_x.deb").write_bytes(b"q")
        return Finished(tuple(argv), 0, "", "")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deb, "run", run)
        deb.download_by_apt([QEMU], tmp_path, Told())
    assert [path.name for path in tmp_path.iterdir()] == [QEMU.name]
    apt.answers["download"] = [(100, "", "E: no")]
    with pytest.raises(HostError, match="apt-get download qemu failed:\n    E: no"):
        deb.download_by_apt([QEMU], tmp_path, Told())


# folders


def deb_file(folder: Path, name: str, content: bytes = b"deb") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_folder_with_its_sums(tmp_path: Path) -> None:
    files = [deb_file(tmp_path, "b_1.deb", b"b"), deb_file(tmp_path, "a_1.deb", b"a")]
    (tmp_path / "SHA256SUMS").write_text(deb.sums_text(files))
    assert deb.sums_text(files).startswith(f"{hashlib.sha256(b'a').hexdigest()}  a_1.deb\n")
    assert [path.name for path in deb.verified_folder(tmp_path)] == ["a_1.deb", "b_1.deb"]


def altered(folder: Path) -> None:
    deb_file(folder, "a_1.deb", b"x")


def lost(folder: Path) -> None:
    (folder / "a_1.deb").unlink()


def added(folder: Path) -> None:
    deb_file(folder, "c_1.deb")


def bad_line(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("hello\n")


def outside(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text(f"{A}  ../a_1.deb\n")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (altered, r"a_1\.deb: wrong content: got SHA-256 2d71\w+, wanted ca97\w+"),
        (lost, r"a_1\.deb is missing, though SHA256SUMS names it"),
        (added, r"c_1\.deb is not in SHA256SUMS"),
        (bad_line, r"SHA256SUMS:1: 'hello' is no line of sha256sum's"),
        (outside, r"SHA256SUMS:1: .*\.\./a_1\.deb' is no line of sha256sum's"),
    ],
)
def test_a_folder_that_was_harmed(tmp_path: Path, harm: Callable[[Path], None], message: str) -> None:
    files = [deb_file(tmp_path, "a_1.deb", b"a"), deb_file(tmp_path, "b_1.deb", b"b")]
    (tmp_path / "SHA256SUMS").write_text(deb.sums_text(files))
    harm(tmp_path)
    with pytest.raises(HostError, match=message):
        deb.verified_folder(tmp_path)


def test_a_folder_without_sums_is_unpacked_to_see_that_it_is_whole(apt: Apt, tmp_path: Path) -> None:
    deb_file(tmp_path, "a_1.deb")
    deb_file(tmp_path, "b_1.deb")
    assert len(deb.verified_folder(tmp_path)) == 2
    assert len(apt.lines("dpkg-deb --contents")) == 2
    apt.answers["b_1.deb"] = [(2, "./usr/\n", "dpkg-deb: unexpected end of file\ntar: more\n")]
    with pytest.raises(HostError) as caught:
        deb.verified_folder(tmp_path)
    wanted = f"{tmp_path}/b_1.deb is not a whole Debian package: dpkg-deb: unexpected end of file"
    assert caught.value.message == wanted


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"holds no \.deb file"):
        deb.verified_folder(tmp_path)
    with pytest.raises(HostError, match=r"nowhere is not a folder"):
        deb.verified_folder(tmp_path / "nowhere")


# installation


@pytest.fixture
def files(apt: Apt, tmp_path: Path) -> list[Path]:
    """Two packages, of which apt would install one."""
    apt.answers["Installed-Size"] = lambda argv: (0, "2048\n", "")
    apt.answers["dpkg-deb --field"] = lambda argv: (0, f"Package: {Path(argv[2]).name[:5]}\nVersion: 1\n", "")
    apt.answers["--simulate"] = [(0, "Inst socat (1.7 localhost [amd64])\nConf socat (1.7)\n", "")]
    return [
        deb_file(tmp_path, "socat_1.7_amd64.deb", b"s"),
        deb_file(tmp_path, "libc6_1%3a2_amd64.deb", b"c"),
    ]


def test_install(apt: Apt, files: list[Path]) -> None:
    seen: dict[str, str] = {}

    def look(argv: list[str]) -> Answer:
        sources = next(word for word in argv if word.startswith("Dir::Etc::sourcelist=")).partition("=")[2]
        seen["sources"] = Path(sources).read_text()
        repository = Path(re.findall(r"file:(\S+)", seen["sources"])[0])
        seen["packages"] = (repository / "Packages").read_text()
        seen["first"] = (repository / "0.deb").read_text()
        return 0, "", ""

    apt.answers["apt-get update"] = look
    told = Told()
    assert deb.install(["socat"], files, report=told) == ("socat",)
    assert seen["sources"].startswith("deb [trusted=yes] file:/")
    assert len(seen["sources"].splitlines()) == 1
    digest = hashlib.sha256(b"s").hexdigest()
    wanted = f"Package: socat\nVersion: 1\nFilename: ./0.deb\nSize: 1\nSHA256: {digest}\n"
    assert seen["packages"].startswith(wanted + "\nPackage: libc6\n")
    assert seen["first"] == "s"
    assert told.steps == ["installing 1 packages"]
    last = apt.called[-1]
    assert last[:2] == ["apt-get", "install"]
    assert last[-1] == "socat"
    assert {"--no-remove", "Dir::Etc::sourceparts=/dev/null"} <= set(last)
    assert "--simulate" not in last


def test_what_does_not_fit_together_is_not_installed(apt: Apt, files: list[Path]) -> None:
    apt.answers["--simulate"] = [(100, " socat : Depends: libssl3", "E: broken")]
    with pytest.raises(
        HostError, match=r"cannot install socat from the 2 files given:\n     socat : Depends: libssl3"
    ):
        deb.install(["socat"], files, report=Told())
    assert all("--simulate" in line for line in apt.lines("apt-get install"))


def test_what_does_not_fit_on_the_disk_is_not_installed(
    apt: Apt, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 51 * 2**20})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(HostError) as caught:
        deb.install(["socat"], files, report=Told())
    wanted = "the disk that holds /usr is full: 1 packages need 52 MiB, 51 MiB are free"
    assert caught.value.message == wanted
    assert all("--simulate" in line for line in apt.lines("apt-get install"))


def test_dpkg_fails(apt: Apt, files: list[Path]) -> None:
    apt.answers["apt-get install"] = [(100, "Setting up socat ...", "E: Sub-process dpkg returned 1")]
    with pytest.raises(HostError, match="installing socat failed:\n    Setting up socat") as caught:
        deb.install(["socat"], files, report=Told())
    assert "dpkg --configure -a" in caught.value.hint


def test_a_file_that_is_no_package(apt: Apt, files: list[Path]) -> None:
    apt.answers = {"dpkg-deb --field": [(2, "", "dpkg-deb: error: not a Debian format archive\n")]}
    with pytest.raises(HostError, match=r"socat_1\.7_amd64\.deb is not a Debian package: dpkg-deb: error"):
        deb.install(["socat"], files, report=Told())
    assert apt.lines("apt-get") == []


def test_apt_cannot_read_the_files(apt: Apt, files: list[Path]) -> None:
    apt.answers["apt-get update"] = [(100, "", "E: oh")]
    with pytest.raises(HostError, match="apt cannot read the 2 downloaded packages:\n    E: oh"):
        deb.install(["socat"], files, report=Told())
