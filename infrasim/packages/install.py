"""Brings the programs infrasim drives onto this machine: from the distribution, addresses or a folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from infrasim.errors import HostError
from infrasim.host.files import locked, make_dir, sha256_file, write_atomic
from infrasim.packages import deb
from infrasim.packages.catalogue import PROGRAMS, Catalogue, catalogue_file, load_catalogue, missing_programs
from infrasim.packages.fetch import FileGoneError, Network, RemoteFile, fetch
from infrasim.packages.progress import ProgressReporter
from infrasim.paths import Home

_LOCK_TIMEOUT_S = 1800


def download_folder(home: Home) -> Path:
    """Where packages are kept; with its SHA256SUMS a folder for ``--from``."""
    return home.cache / "packages"


def ensure_programs(
    home: Home,
    *,
    install: bool,
    source_dir: Path | None,
    download_only: bool,
    report: ProgressReporter,
    programs: Iterable[str] = PROGRAMS,
) -> tuple[str, ...]:
    """Install what is missing of ``programs``; the packages installed or downloaded.

    ``source_dir`` is a folder of .deb files that takes the place of every other source.
    ``download_only`` installs nothing and fetches the packages with everything below them, for
    this machine or another with the same release of the distribution, and writes SHA256SUMS.

    Raises:
        HostError: ``install`` is False and something is missing (all of it is named), or it cannot be
            downloaded, verified or installed; then nothing was installed.
        InvalidNodeFile: the home's packages.yml is wrong.
        DeadlineError: another package manager or another infrasim works for too long.
    """
    wanted = tuple(programs)
    missing = missing_programs(wanted)
    if not missing and not download_only:
        return ()
    if not install and not download_only:
        raise _not_installed(missing)
    deb.require_apt()
    catalogue = load_catalogue(catalogue_file(home))
    if not download_only:
        deb.require_root(f"installing {', '.join(missing)}")
    make_dir(home.cache)
    with locked(home.cache / "packages.lock", timeout_s=_LOCK_TIMEOUT_S, what="packages"):
        if download_only:
            return _download_everything(catalogue, download_folder(home), report)
        return _install(catalogue, home, wanted, source_dir, report)


def _install(
    catalogue: Catalogue,
    home: Home,
    programs: Sequence[str],
    source_dir: Path | None,
    report: ProgressReporter,
) -> tuple[str, ...]:
    # Another infrasim may have done it while we waited for the lock.
    missing = missing_programs(programs)
    if not missing:
        return ()
    packages = catalogue.packages_of(missing)
    report.step(f"missing: {', '.join(missing)}")
    if source_dir is not None:
        report.step(f"checking the packages in {source_dir}")
        debs = deb.verified_folder(source_dir)
    else:
        debs = _download(packages, catalogue.files, download_folder(home), complete=False, report=report)
    installed = deb.install(packages, debs, report=report)
    still = missing_programs(programs)
    if still:
        raise HostError(f"installed {', '.join(packages)}, yet {', '.join(still)} cannot be found")
    return installed


def _download_everything(catalogue: Catalogue, folder: Path, report: ProgressReporter) -> tuple[str, ...]:
    packages = tuple(dict.fromkeys(catalogue.packages.values()))
    debs = _download(packages, catalogue.files, folder, complete=True, report=report)
    # Only what belongs together: with an older version beside it, a folder is no use for --from.
    for old in set(folder.glob("*.deb")) - set(debs):
        old.unlink()
    write_atomic(folder / deb.SUMS_FILE, deb.sums_text(debs), mode=0o644)
    return tuple(path.name for path in debs)


def _download(
    packages: Sequence[str],
    files: Sequence[RemoteFile],
    folder: Path,
    *,
    complete: bool,
    report: ProgressReporter,
) -> tuple[Path, ...]:
    """Fetch ``files``, and from the distribution what ``packages`` need besides them."""
    make_dir(folder)
    network = Network(proxies=deb.http_proxies())
    own = [fetch(remote, folder, report=report, network=network) for remote in files]
    wanted = [*packages, *(str(path) for path in own)]
    try:
        archives = deb.resolve(wanted, complete=complete, report=report)
        found = _fetch_all(archives, folder, report, network)
    except (deb.OldListsError, FileGoneError) as exc:
        report.step(exc.message.partition("\n")[0])
        deb.update_lists(report)
        archives = deb.resolve(wanted, complete=complete, report=report)
        found = _fetch_all(archives, folder, report, network)
    # The distribution may offer the very file that was listed.
    return tuple(dict.fromkeys((*own, *found)))


def _fetch_all(
    archives: Sequence[deb.Archive], folder: Path, report: ProgressReporter, network: Network
) -> list[Path]:
    """Every archive in ``folder``, verified."""
    size = sum(archive.size_bytes for archive in archives)
    report.step(f"downloading {len(archives)} packages, {size / 2**20:.0f} MiB")
    for archive in archives:
        if urlsplit(archive.uri).scheme in ("http", "https"):
            fetch(archive.remote(), folder, report=report, network=network)
        elif not _is_there(archive, folder):
            deb.download_by_apt([archive], folder, report)
            if not _is_there(archive, folder):
                (folder / archive.name).unlink()
                raise HostError(f"{archive.uri}: wrong content: its SHA-256 is not {archive.sha256}")
    return [folder / archive.name for archive in archives]


def _is_there(archive: deb.Archive, folder: Path) -> bool:
    path = folder / archive.name
    return path.is_file() and sha256_file(path) == archive.sha256


def _not_installed(missing: Sequence[str]) -> HostError:
    verb = "is" if len(missing) == 1 else "are"
    return HostError(
        f"{', '.join(missing)} {verb} not installed",
        hint="install with: infrasim init (as root)",
    )
