"""Files that a node file names and whose content goes into the plan: cloud-init's, and a table of SMBIOS."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from infrasim.errors import InfrasimError, UsageError
from infrasim.frozen import Frozen

if TYPE_CHECKING:
    from infrasim.paths import Home
    from infrasim.personality.model import Personality
    from infrasim.personality.smbios import Structure
    from infrasim.spec.node import NodeSpec

SMBIOS_KEY = "compute.smbios.file"


class NamedFiles(Frozen):
    """What they hold, by path: those for cloud-init's seed, and the SMBIOS table if there is one.

    They are read once for each plan, so that it and its digests are of the same content.
    """

    for_seed: Mapping[str, bytes] = field(default_factory=dict)
    smbios: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each, in hex."""
        texts = {**self.for_seed, **self.smbios}
        return {path: hashlib.sha256(text).hexdigest() for path, text in texts.items()}


def read_named_files(spec: NodeSpec) -> NamedFiles:
    """Read what the node file names.

    Raises:
        InvalidNodeFile: with each that cannot be read; the problems carry no line yet.
    """
    from infrasim.plan.fault import Faults

    files = spec.compute.cloud_init.files if spec.compute.cloud_init else {}
    for_seed: dict[str, bytes] = {}
    faults = Faults()
    for key, path in files.items():
        if path not in for_seed:
            content = faults.tried(functools.partial(_content, path, f"compute.cloud_init.{key}"))
            for_seed[path] = content or b""
    smbios = faults.tried(lambda: _smbios_table(spec))
    faults.refuse()
    return NamedFiles(for_seed, smbios or {})


def _smbios_table(spec: NodeSpec) -> dict[str, bytes]:
    path = spec.compute.smbios.file if spec.compute.smbios else None
    return {path: _content(path, SMBIOS_KEY)} if path else {}


def server_of(home: Home, spec: NodeSpec, named: NamedFiles | None = None) -> Personality:
    """The node's server type, with the SMBIOS table that its node file names in place of the type's.

    The table is read, if it is not in ``named`` already.

    Raises:
        InvalidNodeFile: the table cannot be read, or is none; the problem carries no line yet.
        UsageError: there is no such type.
    """
    from infrasim.personality.registry import load_type

    personality = load_type(spec.type, home.type_folders)
    for path, data in (named.smbios if named else _smbios_table(spec)).items():
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
