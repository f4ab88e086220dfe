"""The text of a new node file: every key with a word about it, and an identity of its own."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Sequence

from infrasim.frozen import Frozen
from infrasim.paths import template_dir
from infrasim.spec.document import scalar
from infrasim.units import MAC_PREFIX, format_mac

_UNESCAPED = frozenset(map(chr, range(0x20, 0x7F))) - {'"', "\\"}
# Source: YAML 1.1 section 5.3, what a plain scalar cannot begin with; "-" alone is no more than careful.
_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
# Source: YAML 1.2 section 10.3.2, core schema, of which 05.0 is a number too.
_NUMBER = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+)\Z"
)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(?<!:)\Z")


class Identity(Frozen):
    """What makes one machine differ from the next of its type."""

    uuid: str
    serial_number: str
    macs: tuple[str, ...]


def draw_identity(*, cards: int = 1) -> Identity:
    """A random identity with one MAC address for each network card."""
    macs = {format_mac(MAC_PREFIX + secrets.token_bytes(3)) for _ in range(cards)}
    while len(macs) < cards:
        macs.add(format_mac(MAC_PREFIX + secrets.token_bytes(3)))
    serial_number = f"infrasim-{secrets.token_hex(5)}"
    return Identity(str(uuid.uuid4()), serial_number, tuple(sorted(macs)))


def default_node_text(
    name: str, *, server_type: str, uuid: str, serial_number: str, macs: Sequence[str]
) -> str:
    """The commented default node file, with one network card for each of ``macs``."""
    import jinja2  # late: only a new node file pays for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML, not HTML; the filter below guards it
    )
    environment.filters["yaml"] = yaml_text
    return environment.get_template("node.yml.j2").render(
        name=name, server_type=server_type, uuid=uuid, serial_number=serial_number, macs=macs
    )


def yaml_line(text: str) -> str:
    """A text as people would write it in YAML: in quotes only where it would be something else without."""
    harmless = text.isprintable() and text and text == text.strip() and _is_text(text)
    if harmless and text[0] not in _INDICATORS and ": " not in text and " #" not in text and text[-1] != ":":
        return text
    return yaml_text(text)


def yaml_text(text: str) -> str:
    """A text as YAML writes it: in quotes where it could be taken for something else."""
    if _PLAIN.match(text) and _is_text(text):
        return text
    return '"' + "".join(letter if letter in _UNESCAPED else f"\\U{ord(letter):08x}" for letter in text) + '"'


def _is_text(plain: str) -> bool:
    """Whether every reader of YAML takes it for text, without quotes."""
    return isinstance(scalar(plain), str) and not _NUMBER.match(plain)
