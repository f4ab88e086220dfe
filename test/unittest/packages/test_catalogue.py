"""The catalogue of programs and packages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.packages import catalogue
from infrasim.packages.catalogue import EXTRAS, PROGRAMS, catalogue_file, load_catalogue, missing_programs
from infrasim.packages.fetch import RemoteFile
from infrasim.paths import Home, data_dir

DIGEST = "0123456789abcdef" * 4
PROGRAM_LINES = "".join(f"  {name}: {name.replace('_', '-')}\n" for name in PROGRAMS)


def test_the_shipped_catalogue_names_what_the_code_looks_for() -> None:
    shipped = load_catalogue(data_dir() / "packages.yml")
    assert tuple(shipped.packages) == (*PROGRAMS, *EXTRAS)
    assert shipped.files == ()
    assert shipped.packages_of(["qemu-img", "socat", "qemu-img"]) == ("qemu-utils", "socat")


def test_an_unknown_program() -> None:
    with pytest.raises(UsageError, match="no package is known for ed") as caught:
        load_catalogue(data_dir() / "packages.yml").packages_of(["ed"])
    assert caught.value.hint.startswith("known: /usr/share/OVMF/")


def test_the_home_may_have_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path, tmp_path)
    assert catalogue_file(home) == data_dir() / "packages.yml"
    (tmp_path / "packages.yml").write_text("")
    assert catalogue_file(home) == tmp_path / "packages.yml"


def test_files_of_ones_own(tmp_path: Path) -> None:
    url = "https://h/pool/q%2bemu_1.deb"
    (tmp_path / "p.yml").write_text(
        f"programs:\n{PROGRAM_LINES}files:\n  - {{url: '{url}', sha256: {DIGEST.upper()}}}\n"
    )
    assert load_catalogue(tmp_path / "p.yml").files == (RemoteFile(url, "q+emu_1.deb", DIGEST),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "FILE:1:5: is not YAML: expected the node content, but found '<stream end>'"),
        ("- a", "FILE: must be a mapping with 'programs' and 'files'"),
        ("x: 1", "FILE: x: is not known; known are programs and files"),
        ("files: []", "FILE: programs: must be a mapping of program to package"),
        ("programs: {socat: socat}", "FILE: programs: lacks qemu-img"),
        ("programs: {socat: '-oX=y'}", "FILE: programs.socat: '-oX=y' is no package name"),
        ("programs: {socat: ./x.deb}", "FILE: programs.socat: './x.deb' is no package name"),
        ("programs: {socat: [1]}", "FILE: programs.socat: [1] is no package name"),
        ("files: {}\nprograms: 1", "FILE: programs: must be a mapping"),
        ("files: 7", "FILE: files: must be a list of mappings with 'url' and 'sha256'"),
        ("files: [{url: x}]", "FILE: files[0]: must be a mapping with 'url' and 'sha256'"),
        (
            f"files: [{{url: 'file:///x.deb', sha256: {DIGEST}}}]",
            "FILE: files[0].url: 'file:///x.deb' is no http",
        ),
        (
            f"files: [{{url: 'http://h/x.rpm', sha256: {DIGEST}}}]",
            "FILE: files[0].url: 'http://h/x.rpm' is no",
        ),
        (
            "files: [{url: 'http://h/x.deb', sha256: 12}]",
            "FILE: files[0]: http://h/x.deb: '12' is no SHA-256",
        ),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yml"
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(message.replace("FILE", str(path)))):
        load_catalogue(path)


def test_all_problems_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_text(f"programs:\n{PROGRAM_LINES}\nx: 1\nfiles: [1, 2]\n")
    with pytest.raises(UsageError) as caught:
        load_catalogue(path)
    assert len(caught.value.message.splitlines()) == 3


def test_a_catalogue_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        load_catalogue(tmp_path / "p.yml")


def test_missing_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("socat", "qemu-img"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(catalogue, "find_program", lambda name: name if (tmp_path / name).exists() else None)
    assert missing_programs() == ("qemu-system-x86_64", "ipmi_sim", "ipmitool")
    firmware = tmp_path / "firmware.fd"
    assert missing_programs([str(firmware), "socat", "swtpm"]) == (str(firmware), "swtpm")
    firmware.write_bytes(b"")
    assert missing_programs([str(firmware)]) == ()
