"""The VM protocol: what QEMU's external BMC device speaks to a BMC, as bytes.

Requests, answers and hardware commands travel on one stream. The core is the BMC towards QEMU and the machine
towards ipmi_sim. Source: OpenIPMI lanserv/README.vm; QEMU hw/ipmi/ipmi_bmc_extern.c.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from infrasim.bmc_core.vm_frame import COMMAND_END, MESSAGE_END, escape, message, unescape

# Longer than any IPMI message; what is longer is noise and dropped.
_LONGEST = 600

_COMMAND_ENDS = bytes([COMMAND_END])
_ENDS = re.compile(b"([%c%c])" % (MESSAGE_END, COMMAND_END))


class HardwareCommand(IntEnum):
    """What goes beside the messages; ATTN and those above it are for the machine."""

    NO_ATTENTION = 0x00
    ATTENTION = 0x01
    ATTENTION_WITH_INTERRUPT = 0x02
    POWER_OFF = 0x03
    RESET = 0x04
    ENABLE_INTERRUPT = 0x05
    DISABLE_INTERRUPT = 0x06
    SEND_NMI = 0x07
    CAPABILITIES = 0x08
    GRACEFUL_SHUTDOWN = 0x09
    VERSION = 0xFF


@dataclass(frozen=True, slots=True)
class VmRequest:
    """A request on its way to the BMC; ``sequence`` comes back with the answer."""

    sequence: int
    netfn: int
    lun: int
    command: int
    data: bytes

    def wire(self) -> bytes:
        """The bytes of the stream."""
        return message(bytes([self.sequence, self.netfn << 2 | self.lun, self.command]) + self.data)


def answer_wire(request: VmRequest, answer: bytes) -> bytes:
    """The stream's bytes of an answer; ``answer`` is completion code and data."""
    netfn = (request.netfn | 1) << 2 | request.lun
    return message(bytes([request.sequence, netfn, request.command]) + answer)


def command_wire(command: HardwareCommand, data: bytes = b"") -> bytes:
    """The stream's bytes of a hardware command."""
    return escape(bytes([command]) + data) + bytes([COMMAND_END])


@dataclass(frozen=True, slots=True)
class VmAnswer:
    """An answer of the BMC: ``content`` is completion code and data."""

    sequence: int
    content: bytes


@dataclass(frozen=True, slots=True)
class VmCommand:
    """A hardware command; ``number`` may be one that has no name yet."""

    number: int
    data: bytes


class VmStream:
    """Takes the stream apart. What is damaged is dropped: whoever sent it asks again."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[VmRequest | VmAnswer | VmCommand]:
        """Everything that is complete after ``chunk``, in order."""
        found: list[VmRequest | VmAnswer | VmCommand] = []
        *parts, left = _ENDS.split(self._rest + chunk if self._rest else chunk)
        for part, end in zip(parts[::2], parts[1::2], strict=True):
            content = unescape(part)
            if end == _COMMAND_ENDS:
                if content:
                    found.append(VmCommand(content[0], content[1:]))
                continue
            parsed = _parse_message(content)
            if parsed is not None:
                found.append(parsed)
        self._rest = left if len(left) <= _LONGEST else b""
        return found


def _parse_message(content: bytes) -> VmRequest | VmAnswer | None:
    if len(content) < 4 or sum(content) & 0xFF:
        return None
    netfn, lun = content[1] >> 2, content[1] & 3
    if netfn & 1:
        return VmAnswer(content[0], content[3:-1]) if len(content) > 4 else None
    return VmRequest(content[0], netfn, lun, content[2], content[3:-1])
