"""Mends what real tools complain about in a captured server type, where the meaning is beyond doubt.

A capture shows a machine as it was, broken FRU bytes included. What is shipped should be readable: checksums
are made right, and a FRU whose header is not one, which no tool reads anything from, becomes an empty one.
"""

from __future__ import annotations

import dataclasses

from infrasim.personality.fru import Area, Fru, InfoArea, MultiArea, MultiRecord, OpaqueArea
from infrasim.personality.model import Personality
from infrasim.personality.multirecord import SIZES

_MULTI_HEADER_BYTES = 5


def repaired(personality: Personality) -> Personality:
    """``personality`` with FRU devices that tools read without complaint."""
    return dataclasses.replace(personality, frus=tuple(_fru(fru) for fru in personality.frus))


def _fru(fru: Fru) -> Fru:
    if fru.raw:
        return Fru(fru_id=fru.fru_id, size=fru.size, controller=fru.controller)
    return dataclasses.replace(fru, areas=tuple(_area(area) for area in fru.areas))


def _area(area: Area) -> Area:
    if isinstance(area, InfoArea) and area.checksum is not None:
        return dataclasses.replace(area, checksum=None, padding=b"")
    if isinstance(area, OpaqueArea) and area.header_at == MultiArea.HEADER_AT:
        return _multi_area(area)
    return area


def _multi_area(area: OpaqueArea) -> Area:
    """A multi-record area whose headers are right and whose content sums are not, with the right sums."""
    data, records, offset = area.encode(), [], 0
    while offset + _MULTI_HEADER_BYTES <= len(data):
        record_type, version, length = data[offset : offset + 3]
        end = offset + _MULTI_HEADER_BYTES + length
        if sum(data[offset : offset + _MULTI_HEADER_BYTES]) & 0xFF or end > len(data):
            return area
        content = data[offset + _MULTI_HEADER_BYTES : end]
        # FreeIPMI 1.6.10 gives up the whole device over a record longer than its type defines.
        known = SIZES.get(record_type, length)
        records.append(MultiRecord(record_type, content[:known], version & 0x7F))
        if version & 0x80:
            return MultiArea(records=tuple(records))
        offset = end
    return area
