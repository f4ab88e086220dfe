"""docs/node-file.md is the models' own words, and every example of a node file loads."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from infrasim.spec.keys import node_keys
from infrasim.spec.load import load_node
from infrasim.spec.reference import node_file_reference
from infrasim.spec.schema import node_file_schema

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "node-file.md"
SCHEMA = node_file_schema()
BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Pages whose YAML is something else than node files.
OTHER_YAML = {"personality.md", "packages.md"}


def node_file_examples() -> list[tuple[str, str]]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [
        (page.name, block)
        for page in pages
        if page.exists() and page.name not in OTHER_YAML
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
    ]


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == node_file_reference(), (
        "the models changed: python -m infrasim.spec.reference > docs/node-file.md"
    )


def test_the_page_has_every_key() -> None:
    page = node_file_reference()
    for key in node_keys().values():
        section = page.partition(f"\n## `{key.section}`\n" if key.section else "\n## Top level\n")[2]
        assert f"\n| `{key.name}` |" in section.partition("\n## ")[0]


def test_the_page_tells_types_ranges_and_defaults() -> None:
    page = node_file_reference()
    assert "| `size` | whole number, 16 to 16777216 | `1024` | Memory in MiB. Example: `4096` |" in page
    assert "| `drives` | list of mappings |  | The disks. |  |" in page
    assert "| `outside` | whole number, 1 to 65535 | required |" in page
    assert "| `startnow` | true or false | `true` |" in page
    assert "`0x5000c50015ea71ac`" in page
    assert "| `compute.networks[].port_forward[].protocal` | `protocol` |" in page


@pytest.mark.parametrize(("page", "text"), node_file_examples())
def test_every_example_loads(page: str, text: str) -> None:
    loaded = load_node(Path(page), text, name=None if "name:" in text else "example")
    assert loaded.warnings == ()
    jsonschema.validate(loaded.document.values, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_there_is_an_example() -> None:
    assert any(page == "node-file.md" for page, _ in node_file_examples())
