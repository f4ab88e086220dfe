"""Files that a node file names and whose content goes into the plan: cloud-init's, and a table of SMBIOS."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.errors import InfrasimError, UsageError

if TYPE_CHECKING:
    from infrasim.paths import Home
    from infrasim.personality.model import Personality
    from infrasim.personality.smbios import Structure
    from infrasim.spec.node import NodeSpec

SMBIOS_KEY = "compute.smbios.file"


def seed_texts(spec: NodeSpec) -> dict[str, bytes]:
    """What the files hold that the node file names for cloud-init, by path.

    Raises:
        InvalidNodeFile: one cannot be read.
    """
    files = spec.compute.cloud_init.files if spec.compute.cloud_init else {}
    return {path: _content(path, f"compute.cloud_init.{key}") for key, path in files.items()}


def smbios_table(spec: NodeSpec) -> dict[str, bytes]:
    """The SMBIOS table that the node file names, by its path; nothing if it names none.

    Raises:
        InvalidNodeFile: it cannot be read.
    """
    path = spec.compute.smbios.file if spec.compute.smbios else None
    return {path: _content(path, SMBIOS_KEY)} if path else {}


def server_of(home: Home, spec: NodeSpec) -> Personality:
    """The node's server type, with the SMBIOS table that its node file names in place of the type's.

    Raises:
        InvalidNodeFile: the table cannot be read, or is none; the problem carries no line yet.
        UsageError: there is no such type.
    """
    from infrasim.personality.registry import load_type

    personality = load_type(spec.type, home.type_folders)
    for path, data in smbios_table(spec).items():
        personality = dataclasses.replace(personality, smbios=_structures(path, data))
    return personality


def _structures(path: str, data: bytes) -> tuple[Structure, ...]:
    from infrasim.personality.layout import DataError
    from infrasim.personality.smbios import System, decode_table
    from infrasim.plan.identity import problem

    hint = "'dmidecode --dump-bin FILE' writes one"
    try:
        structures = decode_table(data)
    except DataError as exc:
        raise problem(SMBIOS_KEY, f"{path} is no SMBIOS table: {exc.message}", hint) from exc
    if not any(isinstance(structure, System) for structure in structures):
        raise problem(SMBIOS_KEY, f"{path} is no SMBIOS table: it does not describe a system (type 1)", hint)
    return structures


def _content(path: str, key: str) -> bytes:
    from infrasim.plan.identity import problem
    from infrasim.runtime.node_text import read_bytes

    try:
        # A pipe would be waited for.
        if Path(path).exists() and not Path(path).is_file():
            raise UsageError(f"{path} is not a regular file")
        return read_bytes(Path(path))
    except InfrasimError as exc:
        raise problem(key, exc.message, exc.hint) from exc
