"""How racadm sets out what it says. Source: public transcripts of iDRAC 7 to 9."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Pairs = Iterable[tuple[str, object]]

_RULE = "-" * 67


def lines(pairs: Pairs, width: int = 23) -> str:
    """``Key = Value`` with the signs below each other."""
    return "\n".join(f"{key:<{width}} = {value}" for key, value in pairs)


def section(title: str, pairs: Pairs) -> str:
    """A heading with its pairs."""
    return f"{title}:\n{lines(pairs)}"


def sections(parts: Iterable[str]) -> str:
    """Sections, as ``getsysinfo`` sets them apart."""
    return "\n" + "\n\n".join(parts)


def instance(name: str, kind: str, pairs: Pairs) -> str:
    """A component of ``hwinventory``; what is not known is left out."""
    known = [f"{key} = {value}" for key, value in pairs if value not in ("", None)]
    return "\n".join([f"[InstanceID: {name}]", f"Device Type = {kind}", *known, _RULE])


def detailed(name: str, pairs: Pairs) -> str:
    """A component of ``storage get``; what is not known is left out."""
    known = [f"   {key:<32} = {value}" for key, value in pairs if value not in ("", None)]
    return "\n".join([name, *known])


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, at least two blanks apart."""
    shown = [[f"<{head}>" for head in heads], *(list(row) for row in rows)]
    widths = [max(len(row[place]) for row in shown) + 2 for place in range(len(heads))]
    return "\n".join(
        "".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown
    )


def gigabytes(size_bytes: int | None) -> str:
    """A size as ``storage get`` has it."""
    return "" if size_bytes is None else f"{size_bytes / (1 << 30):.2f} GB"
