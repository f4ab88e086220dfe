"""What this machine itself needs a PCI device for: file systems, swap space, the way to other networks.

Source: proc(5), mountinfo, swaps and net/route; Linux Documentation/ABI, sysfs-class-net and sysfs-block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from infrasim.host.pci import Pci, link_target

# Source: route(8): everything, the whole of the mask open.
_ANYWHERE, _ANYWHERE6 = "00000000", "0" * 32
_LOOPBACK = "lo"
_MOST_LAYERS = 16
# How mountinfo writes a space or the like.
_OCTAL = re.compile(r"\\([0-7]{3})")


def uses(pci: Pci, address: str) -> Iterator[str]:
    """What stops working when the device is taken, in words."""
    for place, name in _mounts(pci):
        if _is_below(address, _disks(pci, name)):
            yield f"{place} is mounted from it"
    for name in _swaps(pci):
        if _is_below(address, _disks(pci, name)):
            yield f"it has swap space ({name})"
    for name in dict.fromkeys(_default_routes(pci)):
        if _is_below(address, _cards(pci, name)):
            yield f"this machine's default route leads by it ({name})"


def _is_below(address: str, places: Iterator[Path]) -> bool:
    return any(address in place.parts for place in places)


def _mounts(pci: Pci) -> Iterator[tuple[str, str]]:
    """Every mounted block device: where, and its name as sysfs has it."""
    for line in _lines(pci.proc / "self/mountinfo"):
        words = line.split()
        if "-" not in words:
            continue
        place = _OCTAL.sub(lambda found: chr(int(found[1], 8)), words[4])
        name = link_target(pci.sys / "dev/block" / words[2])
        # Some file systems, such as btrfs, have numbers of their own.
        yield place, name or _device_name(pci, words[words.index("-") + 2])


def _swaps(pci: Pci) -> Iterator[str]:
    for line in _lines(pci.proc / "swaps")[1:]:
        if name := _device_name(pci, line.split()[0]):
            yield name


def _device_name(pci: Pci, path: str) -> str:
    """The name of the block device that ``/dev/NAME`` or a link of that kind is; empty for anything else."""
    if not path.startswith("/dev/"):
        return ""
    return (pci.dev / path.removeprefix("/dev/")).resolve().name


def _disks(pci: Pci, name: str) -> Iterator[Path]:
    """Where a block device is in the tree of devices, and all that it is made of."""
    waiting = [pci.sys / "class/block" / name] if name else []
    for _ in range(_MOST_LAYERS):
        places = [each.resolve() for each in waiting if each.exists()]
        yield from places
        waiting = []
        for place in places:
            whole = place.parent if (place / "partition").exists() else place
            waiting += _entries(whole / "slaves")
            # A disk of several NVMe controllers is beside links to these.
            if "nvme-subsystem" in whole.parts:
                waiting += [each for each in _entries(whole.parent) if each.is_symlink()]


def _default_routes(pci: Pci) -> Iterator[str]:
    """The interfaces of all default routes."""
    for line in _lines(pci.proc / "net/route")[1:]:
        words = line.split()
        if len(words) > 7 and words[1] == words[7] == _ANYWHERE:
            yield words[0]
    for line in _lines(pci.proc / "net/ipv6_route"):
        words = line.split()
        if len(words) > 9 and words[0] == _ANYWHERE6 and words[1] == "00" and words[9] != _LOOPBACK:
            yield words[9]


def _cards(pci: Pci, name: str) -> Iterator[Path]:
    """Where an interface is in the tree of devices, and all that it is made of, such as those in a bridge."""
    waiting = [pci.sys / "class/net" / name]
    for _ in range(_MOST_LAYERS):
        places = [each.resolve() for each in waiting if each.exists()]
        yield from places
        waiting = [each for place in places for each in _entries(place) if each.name.startswith("lower_")]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
