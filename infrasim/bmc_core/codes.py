"""Numbers of IPMI that more than one part of the core needs, under their names in the specification."""

from __future__ import annotations

from enum import IntEnum


class NetFn(IntEnum):
    """Network functions of requests; a response has the next odd number. Source: IPMI 2.0 table 5-1."""

    CHASSIS = 0x00
    BRIDGE = 0x02
    SENSOR = 0x04
    APP = 0x06
    FIRMWARE = 0x08
    STORAGE = 0x0A
    TRANSPORT = 0x0C
    GROUP = 0x2C
    OEM_GROUP = 0x2E


class Completion(IntEnum):
    """Generic completion codes. Source: IPMI 2.0 table 5-2."""

    OK = 0x00
    NODE_BUSY = 0xC0
    INVALID_COMMAND = 0xC1
    INVALID_FOR_LUN = 0xC2
    TIMEOUT = 0xC3
    OUT_OF_SPACE = 0xC4
    RESERVATION_LOST = 0xC5
    DATA_TRUNCATED = 0xC6
    LENGTH_INVALID = 0xC7
    TOO_LONG = 0xC8
    OUT_OF_RANGE = 0xC9
    CANNOT_RETURN_SO_MUCH = 0xCA
    NOT_PRESENT = 0xCB
    INVALID_FIELD = 0xCC
    ILLEGAL_FOR_SENSOR = 0xCD
    NO_RESPONSE = 0xCE
    DUPLICATED = 0xCF
    INITIALIZING = 0xD2
    DESTINATION_UNAVAILABLE = 0xD3
    INSUFFICIENT_PRIVILEGE = 0xD4
    NOT_IN_THIS_STATE = 0xD5
    DISABLED = 0xD6
    UNSPECIFIED = 0xFF


class Privilege(IntEnum):
    """Privilege levels. Source: IPMI 2.0 section 6.8."""

    NONE = 0
    CALLBACK = 1
    USER = 2
    OPERATOR = 3
    ADMINISTRATOR = 4
    OEM = 5


class Channel(IntEnum):
    """The channels that have the same number in each BMC. Source: IPMI 2.0 section 6.3."""

    IPMB = 0x0
    SYSTEM_INTERFACE = 0xF


# A request may say "the channel I came through". Source: IPMI 2.0 section 6.3.
THIS_CHANNEL = 0xE

# The LUN of the BMC behind which is the host's software. Source: IPMI 2.0 table 7-1.
HOST_SOFTWARE_LUN = 2

# Address of the BMC on the IPMB, and of software behind a session. Source: IPMI 2.0 section 5.5.
BMC_ADDRESS = 0x20
REMOTE_CONSOLE_ADDRESS = 0x81
