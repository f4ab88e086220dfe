"""``infrasim init``: installs what infrasim drives and writes the default node file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import click

from infrasim.errors import UsageError
from infrasim.packages.catalogue import EXTRAS
from infrasim.paths import DEFAULT_NODE, Home


@click.command()
@click.option(
    "--from",
    "source_dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take packages from a folder of .deb files instead of the network.",
)
@click.option(
    "--download-only",
    is_flag=True,
    help="Only fill the download folder, which serves as DIR on a machine with no network.",
)
@click.option(
    "-a",
    "--all",
    "with_extras",
    is_flag=True,
    help="Also install what only some nodes need, UEFI firmware and TPMs, which else their first start does.",
)
@click.option("-s", "--skip-installation", is_flag=True, help="Install nothing; only write the node file.")
@click.option("-t", "--type", "server_type", metavar="TYPE", help="Server type of the default node.")
@click.option(
    "-f",
    "--force",
    is_flag=True,
    help="Write the default node file anew; the old one is kept beside it. Nodes are not touched.",
)
def init(
    source_dir: Path | None,
    *,
    download_only: bool,
    with_extras: bool,
    skip_installation: bool,
    server_type: str | None,
    force: bool,
) -> None:
    """Install what infrasim drives and write the default node file.

    Safe to repeat: what is installed stays as it is, and so does an existing node file.
    """
    installation = {
        "--from": source_dir is not None,
        "--download-only": download_only,
        "--skip-installation": skip_installation,
    }
    _refuse_two_of(installation)
    _refuse_two_of({"--skip-installation": skip_installation, "--all": with_extras})
    _refuse_two_of({"--download-only": download_only, "--type": server_type is not None})
    _refuse_two_of({"--download-only": download_only, "--force": force})
    home = Home.from_environment()
    if download_only:
        _download(home)
        return
    # First, because it refuses an unknown type at once.
    _write_node_file(home, server_type=server_type, force=force)
    if not skip_installation:
        _install(home, source_dir, EXTRAS if with_extras else ())


def _refuse_two_of(given: Mapping[str, bool]) -> None:
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other", hint="use one of them")


def _download(home: Home) -> None:
    from infrasim.cli.progress import progress_shown
    from infrasim.packages.install import download_folder, ensure_programs

    with progress_shown() as report:
        names = ensure_programs(home, install=False, source_dir=None, download_only=True, report=report)
    click.echo(f"downloaded {len(names)} packages to {download_folder(home)}")
    click.echo("install from a copy of that folder with: infrasim init --from DIR")


def _install(home: Home, source_dir: Path | None, extras: Iterable[str]) -> None:
    names = install_missing(home, install=True, source_dir=source_dir, extras=extras)
    if names:
        click.echo(f"installed {len(names)} packages")
    else:
        click.echo("everything infrasim drives is installed")


def install_missing(
    home: Home, *, install: bool, source_dir: Path | None = None, extras: Iterable[str] = ()
) -> tuple[str, ...]:
    """Install the programs that are missing, showing how it goes; the packages that were installed.

    ``extras`` are what not every node needs.

    Raises:
        HostError: ``install`` is False and something is missing, or it cannot be installed.
    """
    from infrasim.packages.catalogue import PROGRAMS, missing_programs

    wanted = (*PROGRAMS, *extras)
    if not missing_programs(wanted):
        return ()
    from infrasim.cli.progress import progress_shown
    from infrasim.packages.install import ensure_programs

    with progress_shown() as report:
        return ensure_programs(
            home,
            install=install,
            source_dir=source_dir,
            download_only=False,
            report=report,
            programs=wanted,
        )


def _write_node_file(home: Home, *, server_type: str | None, force: bool) -> None:
    """Write the default node file unless there is one; with ``force`` the old one is moved aside."""
    from infrasim.runtime.node_map import write_default_node_file

    path = home.map_file(DEFAULT_NODE)
    if path.exists() and not force:
        if server_type is not None:
            raise UsageError(
                f"{path} exists, so --type {server_type} would change nothing",
                hint="edit it with 'infrasim config edit', or write it anew with --force",
            )
        click.echo(f"node file {path} exists and stays as it is")
        return
    aside = None
    if path.exists():
        # Not *.yml, or it would be a node of its own.
        aside = path.with_name(f"{path.name}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        path.rename(aside)
    try:
        if server_type is None:
            write_default_node_file(home)
        else:
            write_default_node_file(home, server_type=server_type)
    except BaseException:
        if aside is not None:
            aside.rename(path)
        raise
    click.echo(f"wrote node file {path}" + (f"; the old one is {aside}" if aside else ""))
