"""One option of QEMU's command line from typed values: formatting and escaping live here."""

from __future__ import annotations

from pathlib import Path

Value = str | int | bool | Path | None


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
