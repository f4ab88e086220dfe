"""Which programs infrasim drives, which packages have them, and which files replace those.

``data/packages.yml`` declares it; a ``packages.yml`` in the home takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from infrasim.errors import HostError, InvalidNodeFile, Problem, UsageError
from infrasim.frozen import Frozen
from infrasim.host.process import find_program
from infrasim.paths import Home, data_dir

if TYPE_CHECKING:
    from infrasim.packages.fetch import RemoteFile

# Here as well as in data/packages.yml, which a test compares, so that looking whether anything is
# missing, which every start does, reads no YAML.
PROGRAMS = ("qemu-system-x86_64", "qemu-img", "ipmi_sim", "socat", "ipmitool")
# What only some nodes need: programs, and files by their paths.
EXTRAS = (
    "swtpm",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
)
FILE_NAME = "packages.yml"


# Takes note of a problem: the dotted place, and what is wrong there.
Wrong = Callable[[str, str], None]


class Catalogue(Frozen):
    """``packages``: program -> package; ``files``: what is downloaded instead of the distribution's."""

    packages: Mapping[str, str]
    files: tuple[RemoteFile, ...] = ()

    def packages_of(self, programs: Iterable[str]) -> tuple[str, ...]:
        """The packages that have ``programs``, each once.

        Raises:
            UsageError: for a program that the catalogue does not know, with those it knows.
        """
        wanted = list(programs)
        for program in wanted:
            if program not in self.packages:
                raise UsageError(
                    f"no package is known for {program}", hint=f"known: {', '.join(sorted(self.packages))}"
                )
        return tuple(dict.fromkeys(self.packages[program] for program in wanted))


def missing_programs(programs: Iterable[str] = PROGRAMS) -> tuple[str, ...]:
    """Which of these are not on this machine; cheap enough for every start."""
    return tuple(program for program in programs if find_program(program) is None and not _is_file(program))


def _is_file(name: str) -> bool:
    return name.startswith("/") and Path(name).is_file()


def catalogue_file(home: Home) -> Path:
    """The home's own ``packages.yml`` if there is one, else the shipped one."""
    own = home.root / FILE_NAME
    return own if own.exists() else data_dir() / FILE_NAME


def load_catalogue(path: Path) -> Catalogue:
    """Read a ``packages.yml``.

    Raises:
        InvalidNodeFile: with everything that is wrong in it.
    """
    document = _read_yaml(path)
    problems: list[Problem] = []

    def wrong(place: str, message: str) -> None:
        problems.append(Problem(str(path), 0, 0, place, message))

    if not isinstance(document, dict):
        raise InvalidNodeFile([Problem(str(path), 0, 0, "", "must be a mapping with 'programs' and 'files'")])
    for key in document.keys() - {"programs", "files"}:
        wrong(str(key), "is not known; known are programs and files")
    packages = _packages(document.get("programs"), wrong)
    files = tuple(_files(document.get("files") or [], wrong))
    if problems:
        raise InvalidNodeFile(problems)
    return Catalogue(packages, files)


def _read_yaml(path: Path) -> object:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        mark = getattr(exc, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        text = getattr(exc, "problem", None) or str(exc)
        raise InvalidNodeFile([Problem(str(path), line, column, "", f"is not YAML: {text}")]) from exc


def _packages(value: object, wrong: Wrong) -> dict[str, str]:
    """The ``programs`` mapping."""
    if not isinstance(value, dict):
        wrong("programs", "must be a mapping of program to package")
        return {}
    for program in PROGRAMS:
        if program not in value:
            wrong("programs", f"lacks {program}")
    for program, package in value.items():
        if not isinstance(package, str) or not _is_package_name(package):
            wrong(f"programs.{program}", f"{package!r} is no package name")
    return {str(program): str(package) for program, package in value.items()}


def _is_package_name(text: str) -> bool:
    """Whether apt can only take it for a package. Source: Debian policy 5.6.1, and an architecture."""
    name, _, architecture = text.partition(":")
    return (
        len(name) > 1
        and name[0].isalnum()
        and all(sign.isdigit() or sign in "+-." or "a" <= sign <= "z" for sign in name)
        and (architecture.isalnum() or not architecture)
    )


def _files(value: object, wrong: Wrong) -> list[RemoteFile]:
    """The ``files`` list."""
    from infrasim.packages.fetch import RemoteFile

    if not isinstance(value, list):
        wrong("files", "must be a list of mappings with 'url' and 'sha256'")
        return []
    found: list[RemoteFile] = []
    for index, entry in enumerate(value):
        place = f"files[{index}]"
        if not isinstance(entry, dict) or entry.keys() != {"url", "sha256"}:
            wrong(place, "must be a mapping with 'url' and 'sha256'")
            continue
        url, digest = str(entry["url"]), str(entry["sha256"]).lower()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc or not parts.path.endswith(".deb"):
            wrong(f"{place}.url", f"{url!r} is no http or https address of a .deb file")
            continue
        try:
            found.append(RemoteFile(url, PurePosixPath(unquote(parts.path)).name, digest))
        except HostError as exc:
            wrong(place, exc.message)
    return found
