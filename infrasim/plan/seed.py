"""The NoCloud seed of a node: an ISO image that cloud-init finds by its volume id. Pure.

The same input gives the same bytes, so the image of an unchanged node file stays as it is.
Source: cloud-init, "NoCloud"; ECMA-119 sections 8.4 (volume descriptors) and 9.1 (directory records).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

import yaml

if TYPE_CHECKING:
    from infrasim.spec.cloud_init import CloudInit

VOLUME_ID = "CIDATA"

_SECTOR = 2048
_FIRST_DESCRIPTOR = 16
_TERMINATOR = 255
_VOLUME_KINDS = (1, 2)
_ROOT_RECORD = 156
# Four dates of 17 bytes: creation, modification, expiration, effective. "Not specified" is zeros.
_VOLUME_DATES = slice(813, 881)
_NO_VOLUME_DATES = (b"0" * 16 + b"\0") * 4
# Years since 1900, month, day, hour, minute, second, offset from Greenwich.
_RECORD_DATE = slice(18, 25)
_NO_RECORD_DATE = bytes((70, 1, 1, 0, 0, 0, 0))


def seed_files(given: CloudInit, texts: Mapping[str, bytes], *, node: str, uuid: UUID) -> dict[str, bytes]:
    """The files of the seed by name. ``texts`` are what the files hold that ``given`` names, by path."""
    meta = given.meta_data if given.meta_data is not None else {}
    if isinstance(meta, dict):
        meta = {"instance-id": str(uuid), "local-hostname": node, **meta}
    found = {
        "meta-data": _document(meta, texts),
        "user-data": _document(given.user_data or {}, texts, head="#cloud-config\n"),
    }
    if given.network_config is not None:
        found["network-config"] = _document(given.network_config, texts)
    return found


def _document(given: str | dict[str, Any], texts: Mapping[str, bytes], *, head: str = "") -> bytes:
    """A mapping as YAML, a path as what is there, any other text as it is."""
    if isinstance(given, dict):
        return f"{head}{yaml.safe_dump(given, sort_keys=False, allow_unicode=True)}".encode()
    if given in texts:
        return texts[given]
    return given.encode()


def seed_image(files: Mapping[str, bytes]) -> bytes:
    """An ISO image with these files, by Joliet names."""
    from pycdlib import PyCdlib  # late: few nodes have a seed

    image = PyCdlib()
    image.new(interchange_level=3, joliet=3, vol_ident=VOLUME_ID)
    for number, (name, content) in enumerate(sorted(files.items())):
        image.add_fp(io.BytesIO(content), len(content), f"/FILE{number}.;1", joliet_path=f"/{name}")
    written = io.BytesIO()
    image.write_fp(written)
    image.close()
    return _undated(bytearray(written.getvalue()))


def _undated(image: bytearray) -> bytes:
    """The image without the time at which it was made."""
    for start in _descriptors(image):
        image[start + _VOLUME_DATES.start : start + _VOLUME_DATES.stop] = _NO_VOLUME_DATES
        root = start + _ROOT_RECORD
        for record in (root, *_records(image, root)):
            image[record + _RECORD_DATE.start : record + _RECORD_DATE.stop] = _NO_RECORD_DATE
    return bytes(image)


def _descriptors(image: bytearray) -> Iterator[int]:
    start = _FIRST_DESCRIPTOR * _SECTOR
    while image[start] != _TERMINATOR:
        if image[start] in _VOLUME_KINDS:
            yield start
        start += _SECTOR


def _records(image: bytearray, directory: int) -> Iterator[int]:
    """Where the records of a directory are; each begins with its length, zero up to the next sector."""
    start = int.from_bytes(image[directory + 2 : directory + 6], "little") * _SECTOR
    end = start + int.from_bytes(image[directory + 10 : directory + 14], "little")
    while start < end:
        if image[start]:
            yield start
            start += image[start]
        else:
            start += _SECTOR - start % _SECTOR
