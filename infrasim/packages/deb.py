"""Debian packages by apt: what is missing, verifying files, installing a folder of them at once.

apt decides what is needed; infrasim downloads it (``fetch``). The installation sees nothing but a
folder of verified files, which is given to apt as its only source: so it needs no network, takes
of the folder only what this machine lacks, and is one transaction.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infrasim.errors import DeadlineError, HostError
from infrasim.frozen import Frozen
from infrasim.host.files import sha256_file
from infrasim.host.process import Finished, find_program, run
from infrasim.packages.fetch import RemoteFile
from infrasim.packages.progress import ProgressReporter

SUMS_FILE = "SHA256SUMS"
_LOCK_TIMEOUT_S = 300
_LOCK_POLL_S = 2
_UPDATE_TIMEOUT_S = 900
_INSTALL_TIMEOUT_S = 1800
_QUERY_TIMEOUT_S = 120
# What apt says when another apt or dpkg works. Source: apt's messages with LC_ALL=C, 2.4 to 3.0.
_LOCKED = re.compile(r"Could not get lock|Unable to lock|Unable to acquire the dpkg frontend lock")
_HOLDER = re.compile(r"held by process (\d+) \(([^)]*)\)")
_OLD_LISTS = re.compile(
    r"Unable to locate package|has no installation candidate|no such package", re.IGNORECASE
)
_URI_LINE = re.compile(r"'([^']+)' (\S+) (\d+) ?(\S*)")
_FREE_MARGIN_BYTES = 50 * 2**20


class OldListsError(HostError):
    """apt's lists do not name what is needed; reading them anew may help."""


class Archive(Frozen):
    """A package file apt would download: ``sha256`` empty when apt names another kind of digest."""

    uri: str
    name: str
    size_bytes: int
    sha256: str

    def remote(self) -> RemoteFile:
        """The same for ``fetch``."""
        return RemoteFile(self.uri, self.name, self.sha256, self.size_bytes)


def require_apt() -> None:
    """Check that this machine has apt and dpkg.

    Raises:
        HostError: naming what is missing.
    """
    for program in ("apt-get", "apt-cache", "dpkg-deb"):
        if find_program(program) is None:
            raise HostError(
                f"{program} is not on this machine: infrasim installs packages on Debian and Ubuntu only",
                hint="install qemu-system-x86_64, qemu-img, ipmi_sim (OpenIPMI), socat and ipmitool by hand",
            )


def require_root(what: str) -> None:
    """Check that we may install.

    Raises:
        HostError: when not root.
    """
    if os.geteuid() != 0:
        raise HostError(f"{what} needs root", hint="run as root: infrasim init")


def resolve(packages: Sequence[str], *, complete: bool, report: ProgressReporter) -> tuple[Archive, ...]:
    """The files needed to install ``packages`` (names, or paths of .deb files) with all they depend on.

    ``complete`` answers for a machine on which nothing is installed, otherwise for this one.

    Raises:
        OldListsError: apt knows no such package.
        HostError: it cannot be installed, with apt's reason.
    """
    with tempfile.TemporaryDirectory(prefix="infrasim-apt-") as empty:
        Path(empty, "partial").mkdir()
        # With an empty cache apt names every file; with this digest preferred, that of every file.
        options = {"Dir::Cache::archives": empty, "Acquire::ForceHash": "SHA256"}
        if complete:
            options["Dir::State::status"] = os.devnull
        argv = ["apt-get", "install", "--print-uris", "-qq", "-y", "--no-install-recommends", "--no-remove"]
        done = _apt([*argv, *_options(options), *packages], timeout_s=_QUERY_TIMEOUT_S, report=report)
    if done.exit_code != 0:
        said = _said(done)
        if _OLD_LISTS.search(said):
            raise OldListsError(
                f"this machine's package sources do not offer all of {' '.join(packages)}:\n{said}",
                hint="on Ubuntu enable 'universe'; see /etc/apt/sources.list.d",
            )
        raise HostError(f"apt cannot install {' '.join(packages)}:\n{said}", hint="try: apt-get -f install")
    found = [_archive(*match) for match in _URI_LINE.findall(done.stdout)]
    return tuple(_with_sha256(archive) for archive in found if not _is_given(archive, packages))


def _archive(uri: str, name: str, size: str, digest: str) -> Archive:
    kind, _, value = digest.partition(":")
    return Archive(uri, name, int(size), value.lower() if kind == "SHA256" else "")


def _is_given(archive: Archive, packages: Sequence[str]) -> bool:
    """Whether the file is one of the .deb paths that were passed in."""
    parts = urlsplit(archive.uri)
    path = unquote(parts.path)
    return parts.scheme in ("", "file") and any(Path(path) == Path(given) for given in packages)


def _with_sha256(archive: Archive) -> Archive:
    """The archive with its SHA-256, looked up in the lists when apt printed another digest."""
    if archive.sha256:
        return archive
    package, version, *_ = archive.name.split("_")
    shown = run(
        ["apt-cache", "show", f"{package}={unquote(version)}"], timeout_s=_QUERY_TIMEOUT_S, check=False
    )
    for stanza in shown.stdout.split("\n\n"):
        digest = re.search(r"^SHA256: ([0-9a-f]{64})$", stanza, re.MULTILINE)
        if digest and re.search(rf"^Size: {archive.size_bytes}$", stanza, re.MULTILINE):
            return Archive(archive.uri, archive.name, archive.size_bytes, digest.group(1))
    raise HostError(f"the package lists have no SHA-256 for {archive.name}", hint="try: apt-get update")


def update_lists(report: ProgressReporter) -> None:
    """Read the package lists anew.

    Raises:
        HostError: not root, or apt failed, with its reason.
    """
    require_root("reading the package lists (apt-get update)")
    report.step("reading the package lists")
    done = _apt(["apt-get", "update", "-q"], timeout_s=_UPDATE_TIMEOUT_S, report=report)
    if done.exit_code != 0:
        raise HostError(f"apt-get update failed:\n{_said(done)}", hint="is there a network?")


def download_by_apt(archives: Sequence[Archive], folder: Path, report: ProgressReporter) -> None:
    """Let apt fetch what only it can (``mirror+file:``, ``cdrom:``), into ``folder`` under our names.

    Raises:
        HostError: apt failed, with its reason.
    """
    for archive in archives:
        package, version, *_ = archive.name.split("_")
        report.step(f"downloading {archive.name} by apt")
        with tempfile.TemporaryDirectory(prefix=".apt-", dir=folder) as temporary:
            argv = [
                "apt-get",
                "download",
                "-q",
                "-o",
                "APT::Sandbox::User=root",
                f"{package}={unquote(version)}",
            ]
            done = _apt(argv, timeout_s=_INSTALL_TIMEOUT_S, report=report, cwd=Path(temporary))
            found = list(Path(temporary).glob("*.deb"))
            if done.exit_code != 0 or len(found) != 1:
                raise HostError(f"apt-get download {package} failed:\n{_said(done)}")
            found[0].replace(folder / archive.name)


def http_proxies() -> dict[str, str]:
    """The proxies that apt is told to use, by scheme; those of the environment are known to requests."""
    shown = run(["apt-config", "dump"], timeout_s=_QUERY_TIMEOUT_S, check=False).stdout
    found = re.findall(r'^Acquire::(https?)::proxy "([^"]*)";$', shown, re.MULTILINE | re.IGNORECASE)
    return {scheme.lower(): proxy for scheme, proxy in found if proxy and proxy != "DIRECT"}


# a folder of files


def read_sums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 from the folder's SHA256SUMS; empty when it has none.

    Raises:
        HostError: for a line that sha256sum would not have written.
    """
    path = folder / SUMS_FILE
    if not path.exists():
        return {}
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-f]{64}) [ *]([^/]+)", line)
        if match is None:
            raise HostError(f"{path}:{number}: {line!r} is no line of sha256sum's")
        sums[match.group(2)] = match.group(1)
    return sums


def sums_text(files: Sequence[Path]) -> str:
    """What sha256sum would print for ``files``."""
    return "".join(f"{sha256_file(path)}  {path.name}\n" for path in sorted(files))


def verified_folder(folder: Path) -> tuple[Path, ...]:
    """The .deb files of a lab's folder, each checked: by SHA256SUMS if it is there, else by its own sums.

    Raises:
        HostError: the folder is no folder or empty, or a file is missing, altered or truncated.
    """
    if not folder.is_dir():
        raise HostError(f"{folder} is not a folder", hint="--from wants a folder of .deb files")
    debs = tuple(sorted(folder.glob("*.deb")))
    if not debs:
        raise HostError(
            f"{folder} holds no .deb file", hint="fill it elsewhere with: infrasim init --download-only"
        )
    sums = read_sums(folder)
    if not sums:
        for deb in debs:
            _check_structure(deb)
        return debs
    for name in sums.keys() - {deb.name for deb in debs}:
        if name.endswith(".deb"):
            raise HostError(f"{folder / name} is missing, though {SUMS_FILE} names it")
    for deb in debs:
        if deb.name not in sums:
            raise HostError(
                f"{deb} is not in {SUMS_FILE}", hint=f"remove one of the two: {folder / SUMS_FILE}"
            )
        digest = sha256_file(deb)
        if digest != sums[deb.name]:
            raise HostError(f"{deb}: wrong content: got SHA-256 {digest}, wanted {sums[deb.name]}")
    return debs


def _check_structure(deb: Path) -> None:
    """Unpack in memory, which checks the compressor's sums."""
    done = run(["dpkg-deb", "--contents", str(deb)], timeout_s=_QUERY_TIMEOUT_S, check=False)
    if done.exit_code != 0:
        reason = done.stderr.strip().partition("\n")[0]
        raise HostError(f"{deb} is not a whole Debian package: {reason}")


# installation


def install(packages: Sequence[str], debs: Sequence[Path], *, report: ProgressReporter) -> tuple[str, ...]:
    """Install ``packages`` from the files ``debs`` and nothing else; the names of what was installed.

    Raises:
        HostError: not root, something they need is not among the files, too little space, or dpkg failed.
    """
    require_root("installing packages")
    with _only_source(debs, report) as options:
        argv = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "--no-remove", *options]
        trial = _apt([*argv, "--simulate", *packages], timeout_s=_QUERY_TIMEOUT_S, report=report)
        if trial.exit_code != 0:
            raise HostError(
                f"cannot install {' '.join(packages)} from the {len(debs)} files given:\n{_said(trial)}",
                hint="were they made for another release of the distribution?",
            )
        names = tuple(re.findall(r"^Inst (\S+)", trial.stdout, re.MULTILINE))
        _check_room(names, debs)
        report.step(f"installing {len(names)} packages")
        done = _apt([*argv, *packages], timeout_s=_INSTALL_TIMEOUT_S, report=report)
    if done.exit_code != 0:
        raise HostError(
            f"installing {' '.join(packages)} failed:\n{_said(done)}",
            hint="mend it with: dpkg --configure -a && apt-get -f install",
        )
    return names


@contextlib.contextmanager
def _only_source(debs: Sequence[Path], report: ProgressReporter) -> Iterator[list[str]]:
    """Options that make apt see ``debs`` and no other source, with state of its own."""
    with tempfile.TemporaryDirectory(prefix="infrasim-apt-") as made:
        root = Path(made)
        for folder in ("repository", "lists/partial", "archives/partial"):
            (root / folder).mkdir(parents=True)
        stanzas = []
        for number, deb in enumerate(debs):
            # Names without anything that an address would have to escape.
            link = root / "repository" / f"{number}.deb"
            link.symlink_to(deb.resolve())
            stanzas.append(_stanza(deb, link.name))
        (root / "repository" / "Packages").write_text("\n".join(stanzas), encoding="utf-8")
        (root / "sources.list").write_text(f"deb [trusted=yes] file:{root}/repository ./\n", encoding="utf-8")
        options = _options(
            {
                "Dir::Etc::sourcelist": f"{root}/sources.list",
                "Dir::Etc::sourceparts": os.devnull,
                "Dir::Etc::preferences": os.devnull,
                "Dir::Etc::preferencesparts": os.devnull,
                "Dir::State::lists": f"{root}/lists",
                "Dir::Cache::archives": f"{root}/archives",
                "Dir::Cache::pkgcache": "",
                "Dir::Cache::srcpkgcache": "",
                "Acquire::Languages": "none",
                "APT::Sandbox::User": "root",
                "Dpkg::Use-Pty": "0",
                "Dpkg::Options::": "--force-confold",
            }
        )
        done = _apt(["apt-get", "update", "-q", *options], timeout_s=_QUERY_TIMEOUT_S, report=report)
        if done.exit_code != 0:
            raise HostError(f"apt cannot read the {len(debs)} downloaded packages:\n{_said(done)}")
        yield options


def _stanza(deb: Path, link: str) -> str:
    """The file's entry in a Packages index. Source: Debian policy 5, repository format."""
    control = run(["dpkg-deb", "--field", str(deb)], timeout_s=_QUERY_TIMEOUT_S, check=False)
    if control.exit_code != 0:
        raise HostError(f"{deb} is not a Debian package: {control.stderr.strip()}")
    size_bytes = deb.stat().st_size
    return f"{control.stdout.rstrip()}\nFilename: ./{link}\nSize: {size_bytes}\nSHA256: {sha256_file(deb)}\n"


def _check_room(names: Sequence[str], debs: Sequence[Path]) -> None:
    """Refuse an installation that does not fit; dpkg would stop half-way.

    Raises:
        HostError: /usr has too little space.
    """
    need_bytes = _FREE_MARGIN_BYTES
    wanted = set(names)
    for deb in debs:
        if deb.name.partition("_")[0] in wanted:
            shown = run(
                ["dpkg-deb", "--field", str(deb), "Installed-Size"], timeout_s=_QUERY_TIMEOUT_S, check=False
            )
            need_bytes += int(shown.stdout.strip() or 0) * 1024
    free_bytes = shutil.disk_usage("/usr").free
    if free_bytes < need_bytes:
        raise HostError(
            f"the disk that holds /usr is full: {len(names)} packages need {need_bytes / 2**20:.0f} MiB, "
            f"{free_bytes / 2**20:.0f} MiB are free"
        )


# running apt


def _options(options: dict[str, str]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _apt(
    argv: Sequence[str], *, timeout_s: float, report: ProgressReporter, cwd: Path | None = None
) -> Finished:
    """Run apt without questions; wait while another apt works.

    Raises:
        DeadlineError: the other one did not end in time; names it.
    """
    env = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1"}
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        done = run(argv, timeout_s=timeout_s, check=False, env=env, cwd=cwd)
        if done.exit_code == 0 or not _LOCKED.search(done.stderr):
            return done
        holder = _HOLDER.search(done.stderr)
        who = f"process {holder.group(1)} ({holder.group(2)})" if holder else "another package manager"
        if time.monotonic() >= deadline:
            raise DeadlineError(
                f"{who} has been holding apt's lock for {_LOCK_TIMEOUT_S} s",
                hint="wait for it to end, then try again",
            )
        report.step(f"waiting for {who} to release apt's lock")
        time.sleep(_LOCK_POLL_S)


def _said(done: Finished) -> str:
    """The end of what a program said, indented; apt's reason may be on either output."""
    lines = [
        line
        for line in f"{done.stdout}\n{done.stderr}".splitlines()
        if line.strip() and not line.startswith(("Reading ", "Building "))
    ]
    return "\n".join(f"    {line}" for line in lines[-15:]) or f"    nothing (exit code {done.exit_code})"
