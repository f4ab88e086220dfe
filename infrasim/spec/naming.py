"""The ``name`` of a node file, changed in its text so that all the rest stays byte for byte."""

from __future__ import annotations

from infrasim.errors import InvalidNodeFile
from infrasim.spec.document import Includer, load_document
from infrasim.spec.template import yaml_text


def with_name(text: str, name: str, *, file: str, include: Includer | None = None) -> str:
    """``text`` as the file of node ``name``: another name in it is exchanged, a missing one is not added.

    Raises:
        InvalidNodeFile: ``text`` is no YAML mapping, or its name cannot be exchanged safely.
    """
    document = load_document(text, file=file, include=include)
    given, span = document.values.get("name"), document.span(("name",))
    if not isinstance(given, str) or given == name or span is None:
        return text
    changed = f"{document.text[: span[0]]}{yaml_text(name)}{document.text[span[1] :]}"
    try:
        same = load_document(changed, file=file, include=include).values == {**document.values, "name": name}
    except InvalidNodeFile:
        same = False
    if not same:
        mark = document.value_mark(("name",))
        message, hint = f"cannot be changed to {name!r} here", f"write 'name: {name}'"
        raise InvalidNodeFile([document.problem(mark, ("name",), message, hint)])
    return changed
