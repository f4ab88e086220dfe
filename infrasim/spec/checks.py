"""Checks of single values and among neighbours, for the models of ``spec.node``.

Each check returns the value to keep or raises: ``WrongValue`` for the value itself, ``Conflicts``
where several places are at fault.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from infrasim.errors import UsageError
from infrasim.paths import check_node_name
from infrasim.units import WrongValue, parse_address, parse_mac, parse_uuid

if TYPE_CHECKING:
    from infrasim.spec.identity import SmbiosModule

__all__ = ["parse_mac", "parse_uuid"]

IPMI_USERNAME_MAX_BYTES = 16  # Source: IPMI 2.0 section 22.28, Set User Name.
IPMI_PASSWORD_MAX_BYTES = 20  # Source: IPMI 2.0 section 22.30, Set User Password.
CIPHER_SUITES = (1, 2, 3, 17)  # Source: IPMI 2.0 table 22-20, those that ipmitool and FreeIPMI open.
INTERFACE_MAX = 15  # Source: IFNAMSIZ of netdevice(7), less the closing zero.
FRU_TEXT_MAX = 63  # Source: FRU storage definition section 13, six bits of length.
FRU_ID_MAX = 254  # Source: IPMI 2.0 section 34.1; FFh is reserved.
SMBIOS_TEXT_MAX = 64  # Source: DSP0134 section 6.1.3, the limit of its 2.x versions.

# Source: Linux arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE, less the closing zero.
CMDLINE_MAX_BYTES = 2047

_TYPE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}\Z")
_CPU_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*\Z")
_CPU_FEATURE = re.compile(r"(?:[+-][A-Za-z0-9_.-]+|[A-Za-z0-9_.-]+=[A-Za-z0-9_.+-]+)\Z")
_FRU_KEY = re.compile(r"fru(0|[1-9][0-9]{0,2})\Z")
_INTERFACE = re.compile(r"[^\s/:\x00-\x1f\x7f]+\Z")
_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")


class Conflict(NamedTuple):
    """One fault below the place that is checked: ``path`` leads there from it."""

    path: tuple[str | int, ...]
    message: str
    hint: str = ""


class Conflicts(ValueError):
    """Values that cannot stand together; one ``Conflict`` for each that is one too many."""

    def __init__(self, found: Iterable[Conflict]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(conflict.message for conflict in self.found))


class Misplaced(NamedTuple):
    """A key that was given where ``of``, another key, is a kind that it is not for."""

    path: tuple[str | int, ...]
    of: str
    message: str


def nothing_misplaced(found: Iterable[Misplaced]) -> None:
    """A key that is for some kinds only is given to no other."""
    refuse(Conflict(each.path, each.message, f"remove it, or change {each.of!r}") for each in found)


def node_name(text: str) -> str:
    """A name that a folder, a log and a socket can carry."""
    try:
        return check_node_name(text)
    except UsageError as exc:
        raise WrongValue(exc.message, hint=exc.hint) from None


def type_name(text: str) -> str:
    """The shape of a server type's name; whether there is one of that name is not known here."""
    if not _TYPE_NAME.match(text) or ".." in text:
        raise WrongValue(
            f"{text!r} cannot be a server type",
            hint="small letters, digits, '_', '-' and '.'; such as quanta_d51",
        )
    return text


def absolute_path(text: str) -> str:
    """A path that means the same from every folder."""
    one_line(text)
    if not text.startswith("/"):
        raise WrongValue(
            f"{text!r} is not an absolute path",
            hint="begin with '/': a node file is copied, so a relative path would lose its place",
        )
    return text


def program(text: str) -> str:
    """A program by its absolute path or its name."""
    one_line(text)
    if not text or (not text.startswith("/") and ("/" in text or text.startswith("-"))):
        raise WrongValue(
            f"{text!r} is neither an absolute path nor the name of a program",
            hint="such as /opt/qemu/bin/qemu-system-x86_64",
        )
    return text


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in text):
        raise WrongValue("has a line break or control character", hint="write it on one line")
    return text


def kernel_words(text: str) -> str:
    """A command line that a kernel can take whole."""
    one_line(text)
    if (length := len(text.encode())) > CMDLINE_MAX_BYTES:
        raise WrongValue(
            f"is {length} bytes long", hint=f"Linux takes {CMDLINE_MAX_BYTES} bytes and drops what is behind"
        )
    return text


def one_argument(text: str) -> str:
    """An argument a program can be given."""
    if "\0" in text:
        raise WrongValue("has a zero byte")
    return text


def address(text: str) -> str:
    """An address to listen on, in its shortest spelling."""
    return str(parse_address(text))


def interface(text: str) -> str:
    """The name of a network interface; whether it exists is not known here."""
    if not _INTERFACE.match(text) or len(text.encode()) > INTERFACE_MAX or text in (".", ".."):
        raise WrongValue(
            f"{text!r} cannot be a network interface",
            hint=f"at most {INTERFACE_MAX} characters, no spaces, '/' or ':'; such as eth0",
        )
    return text


def cpu_type(text: str) -> str:
    """A CPU model of QEMU."""
    if not _CPU_TYPE.match(text):
        raise WrongValue(f"{text!r} cannot be a CPU model", hint="features such as +vmx go into 'features'")
    return text


def cpu_features(text: str) -> str:
    """CPU features separated by commas, each ``+name``, ``-name`` or ``name=value``."""
    for feature in text.split(","):
        if not _CPU_FEATURE.match(feature):
            raise WrongValue(
                f"{feature!r} is not a CPU feature", hint="+name, -name or name=value, separated by commas"
            )
    return text


def boot_order(text: str) -> str:
    """Letters of boot devices, each at most once."""
    if not text or len(set(text)) != len(text) or not set(text) <= set("ncd"):
        raise WrongValue(
            f"{text!r} is not an order of boot",
            hint="some of the letters n (network), c (disk), d (CD-ROM), each once; such as ncd",
        )
    return text


def smbios_text(text: str) -> str:
    """A string of an SMBIOS structure."""
    return printable(text, at_most=SMBIOS_TEXT_MAX)


def fru_text(text: str) -> str:
    """A string of a FRU device."""
    return printable(text, at_most=FRU_TEXT_MAX)


def is_fru_key(key: str) -> bool:
    """Whether a key is ``fru0`` to ``fru254``."""
    match = _FRU_KEY.match(key)
    return match is not None and int(match[1]) <= FRU_ID_MAX


def fru_id(key: object) -> int:
    """The id in ``fru0`` to ``fru254``; an id is one already."""
    if isinstance(key, int):
        return key
    if not isinstance(key, str) or not is_fru_key(key):
        raise WrongValue(f"{key!r} is not fru0 to fru{FRU_ID_MAX}")
    return int(key.removeprefix("fru"))


def ipmi_username(text: str) -> str:
    """A user name that IPMI can carry."""
    return printable(text, at_most=IPMI_USERNAME_MAX_BYTES)


def ipmi_password(text: str) -> str:
    """A password that IPMI can carry; never part of a message."""
    return printable(text, at_most=IPMI_PASSWORD_MAX_BYTES)


def cipher_suite(number: int) -> int:
    """A cipher suite that the BMC has."""
    if number not in CIPHER_SUITES:
        *others, last = CIPHER_SUITES
        known = f"use {', '.join(map(str, others))} or {last}"
        raise WrongValue(f"{number} is no cipher suite of this BMC", hint=known)
    return number


def cipher_suites(given: Sequence[int]) -> Sequence[int]:
    """At least one cipher suite, none twice."""
    if not given:
        raise WrongValue("needs at least one cipher suite", hint="3 and 17 are the usual ones")
    if len(set(given)) < len(given):
        raise WrongValue("names a cipher suite twice")
    return given


def split_options(given: object) -> object:
    """A text of arguments split as a shell would; anything else as it is."""
    if not isinstance(given, str):
        return given
    try:
        return shlex.split(given)
    except ValueError as exc:
        hint = "write the arguments as a list, one text each"
        raise WrongValue(f"cannot be split into arguments: {str(exc).lower()}", hint=hint) from None


def split_devices(given: object) -> object:
    """A text alone is one device, or arguments such as ``-device A -device B``; anything else as it is."""
    if not isinstance(given, str):
        return given
    if not given.startswith("-"):
        return (given,)
    words = split_options(given)
    assert isinstance(words, list)
    if len(words) % 2 or any(word != "-device" for word in words[::2]):
        raise WrongValue("has other arguments than -device", hint="those go into 'extra_option'")
    return words[1::2]


def device(text: str) -> str:
    """A value of ``-device``."""
    if not text or text.startswith("-"):
        raise WrongValue(f"{text!r} is not a device", hint="such as: qemu-xhci,id=usb0")
    return one_line(text)


def kernel_is_given(kernel: str | None, *, initrd: str | None, cmdline: str | None) -> None:
    """Nothing is passed to a kernel that is not there."""
    given = {"initrd": initrd, "cmdline": cmdline}
    hint = "add 'kernel', or remove this"
    if kernel is None:
        refuse(
            Conflict((key,), "needs 'kernel' beside it", hint)
            for key, text in given.items()
            if text is not None
        )


def one_place_to_listen(*, interface: str | None, address: str | None) -> None:
    """An interface has its own address."""
    if interface is not None and address is not None:
        refuse(
            [
                Conflict(
                    ("address",), f"'interface: {interface}' says where to listen already", "keep one of them"
                )
            ]
        )


def one_uuid(uuid: str | None, smbios_uuid: str | None) -> None:
    """A system has one UUID."""
    if uuid is not None and smbios_uuid is not None and uuid != smbios_uuid:
        message = f"is another than compute.uuid, {uuid}"
        refuse([Conflict(("smbios", "type1", "uuid"), message, "keep one of them")])


def modules_add_up(sizes_mib: Sequence[int], memory_mib: int) -> None:
    """The memory is what is in the slots, if anything is said of these."""
    if sizes_mib and sum(sizes_mib) != memory_mib:
        message = f"the modules have {sum(sizes_mib)} MiB together, compute.memory.size is {memory_mib} MiB"
        refuse([Conflict(("smbios", "type17"), message, "make them equal; each size is in MiB")])


def modules_differ(modules: Sequence[SmbiosModule]) -> Sequence[SmbiosModule]:
    """No two memory modules are in one slot."""
    locators = [((number, "locator"), module.locator) for number, module in enumerate(modules)]
    refuse(repeated(locators, "another module is in {value} too", "a slot holds one module"))
    return modules


def repeated(
    values: Iterable[tuple[tuple[str | int, ...], object]], message: str, hint: str
) -> Iterable[Conflict]:
    """A conflict for each value that stood there before; ``message`` may name the ``{value}``."""
    seen: set[object] = set()
    for path, value in values:
        if value is not None and value in seen:
            yield Conflict(path, message.format(value=value), hint)
        seen.add(value)


def refuse(found: Iterable[Conflict]) -> None:
    """Raise what was found, if anything was."""
    if conflicts := tuple(found):
        raise Conflicts(conflicts)


def printable(text: str, *, at_most: int) -> str:
    """A text of printable ASCII, neither empty nor too long."""
    if not text:
        raise WrongValue("is empty", hint="leave the key out to get the default")
    if not _PRINTABLE.match(text):
        raise WrongValue("has characters that are not printable ASCII")
    if len(text) > at_most:
        raise WrongValue(f"is {len(text)} characters long", hint=f"at most {at_most}")
    return text
