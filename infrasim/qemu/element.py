"""One option of QEMU's command line from typed values: formatting and escaping live here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from infrasim.frozen import Frozen
from infrasim.qemu.boot import BootClass

Value = str | int | bool | Path | None


class Device(Frozen):
    """A ``-device``: ``properties`` have QEMU's own names; None leaves one out.

    ``key`` is the place in the node file it comes from, in dotted form; ``keys`` leads from a property to the
    key below it that the property comes from. A device with a ``boot_class`` can
    be booted from, at ``boot_index`` or, without one, where the order of boot puts its class.
    """

    driver: str
    id: str
    key: str
    properties: Mapping[str, Value] = field(default_factory=dict)
    boot_class: BootClass | None = None
    boot_index: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def places(self) -> dict[str, str]:
        """Where it comes from: the whole by its id, properties by ``id.property``."""
        return {
            self.id: self.key,
            **{f"{self.id}.{name}": f"{self.key}.{key}" for name, key in self.keys.items()},
        }

    def argv(self, boot_index: int | None = None) -> tuple[str, ...]:
        """The device as two argv items, booted from at ``boot_index``."""
        given = {"id": self.id, **self.properties, "bootindex": boot_index}
        words = [f"{name}={escape(_text(value))}" for name, value in given.items() if value is not None]
        return ("-device", ",".join([escape(self.driver), *words]))


def option(flag: str, first: str = "", /, **properties: Value) -> tuple[str, ...]:
    """``-flag first,name=value,…`` as two argv items.

    ``None`` leaves a property out, booleans become ``on`` and ``off``, an underscore in a name
    becomes a dash, and a name with a trailing underscore is a Python keyword meant without it.
    A double underscore becomes a dot (``file__driver`` is ``file.driver``).
    """
    words = [escape(first)] if first else []
    for name, value in properties.items():
        if value is not None:
            key = name.rstrip("_").replace("__", ".").replace("_", "-")
            words.append(f"{key}={escape(_text(value))}")
    return (flag, ",".join(words))


def escape(text: str) -> str:
    """A value as QEMU reads it: a comma inside is doubled. Source: QEMU invocation, "Device properties"."""
    return text.replace(",", ",,")


def _text(value: str | int | bool | Path) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
