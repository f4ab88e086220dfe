"""The network interfaces of this machine and their addresses, asked of the kernel.

Source: netlink(7), rtnetlink(7), Linux include/uapi/linux/if_addr.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type

_NETLINK_ROUTE = 0
_NLMSG_ERROR, _NLMSG_DONE, _RTM_NEWADDR, _RTM_GETADDR = 2, 3, 20, 22
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RT_SCOPE_LINK = 253
_ANSWER_BYTES = 65536


def interface_addresses() -> dict[str, tuple[str, ...]]:
    """Every interface with its addresses, IPv4 first, link-local IPv6 left out.

    Raises:
        OSError: the kernel refuses.
    """
    names = dict(socket.if_nameindex())
    found: dict[int, list[str]] = {index: [] for index in names}
    for family in (socket.AF_INET, socket.AF_INET6):
        for index, address in _ask(family):
            # One that came between the two questions is not there yet.
            if index in found:
                found[index].append(address)
    return {names[index]: tuple(addresses) for index, addresses in found.items()}


def _ask(family: int) -> Iterator[tuple[int, str]]:
    """Interface and address of every address of a family."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as kernel:
        body = _ADDRESS.pack(family, 0, 0, 0, 0)
        length = _HEADER.size + len(body)
        kernel.send(_HEADER.pack(length, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + body)
        while True:
            for kind, said in messages(kernel.recv(_ANSWER_BYTES)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", said)[0], "netlink")
                if kind == _RTM_NEWADDR and (entry := address_of(said)) is not None:
                    yield entry


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of each message in what the kernel sent."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, _, _ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size : at + length]
        at += _aligned(max(length, _HEADER.size))


def address_of(said: bytes) -> tuple[int, str] | None:
    """The interface and the address that a message tells of; None for one of the link alone."""
    family, _, _, scope, index = _ADDRESS.unpack_from(said)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    if family == socket.AF_INET6 and scope == _RT_SCOPE_LINK:
        return None
    attributes: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(said):
        length, kind = _ATTRIBUTE.unpack_from(said, at)
        attributes[kind] = said[at + _ATTRIBUTE.size : at + length]
        at += _aligned(max(length, _ATTRIBUTE.size))
    # Where both are there, on a link to one peer, the other is the peer's.
    packed = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS)
    return None if packed is None else (index, socket.inet_ntop(family, packed))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
