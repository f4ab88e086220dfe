"""docs/node-file.md, made from the models: ``python -m infrasim.spec.reference > docs/node-file.md``.

That makes ``template/node.full.yml`` anew too (``spec.full``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from infrasim.spec import legacy
from infrasim.spec.document import MAX_ALIASED_VALUES, MAX_INCLUDE_DEPTH, dotted
from infrasim.spec.keys import Key, node_keys
from infrasim.spec.template import default_node_text, yaml_line

_TITLE = "The node file"
_INTRO = f"""\
A node file is YAML and says what one simulated server is. Only what differs from the defaults below needs to
stand in it: `name: my-node` alone is a whole node. `infrasim init` writes a commented one,
`infrasim config add NAME FILE` registers one, and `infrasim config check FILE` says what is wrong with one,
every problem with its line.

- A key that is not listed here is an error, and so is a value of another type.
- A key without a value (`kernel:`) is as if it were not there.
- Plain values are `true`, `false`, decimal numbers, `0x` numbers, nothing (`null`) or text. So a MAC address,
  `0351` and `on` are text. A text that looks like a number stands in quotes: `serial_number: "4711"`.
- Where true or false is wanted, `on` and `yes`, `off` and `no` mean it too, as in YAML 1.1.
- Anchors, aliases and `<<` work (up to {MAX_ALIASED_VALUES} repeated values). Tags do not, but for one:
- `!include FILE` stands for a value of any kind: what FILE holds, by a path from the file it is written in.
  `storage_backend: !include disks.yml`, or `<<: !include common.yml` to add to a mapping. Files may include
  others, {MAX_INCLUDE_DEPTH} deep; problems are said on the lines of the file they are in.
  `infrasim config add` copies them too, into a folder beside the registered file, and lets the names behind
  `!include` lead there: so what is registered stays as it is when the originals change, until
  `infrasim config update`.
- Paths begin with `/`.
- `--set KEY=VALUE` of `infrasim node start`, `restart`, `run`, `plan` and `infrasim config check`, `show`
  goes before the file: `--set compute.memory.size=4096`, `--set compute.networks[0].device=e1000e`,
  `--set compute.cdrom=` for the default. VALUE is YAML and is checked as if it stood in the file. A node
  keeps it until it is stopped, also if its supervisor has to be replaced; `restart` takes what it is given
  itself, so give it again.
- `infrasim config show --origin` lists the value that every key comes to and where it is from: a line of the
  file, `--set`, the server type, what was decided for the node, or the built-in default.
- `infrasim config check` also says what does not fit this machine (files that are missing, more memory than
  there is, a processor that only KVM can give) and what two nodes both ask for: images, BMC addresses, ports,
  VNC displays and, where they would meet on a wire, MAC addresses. Warnings alone exit 0, with `-W` 2;
  `--file-only` leaves this machine out.
- An edited file takes effect when the node is started the next time.

[../template/node.full.yml](../template/node.full.yml) is a file with every key. Both are made from the
models; `python -m infrasim.spec.reference > docs/node-file.md` makes them anew.
"""
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false", object: "mapping"}


def node_file_reference() -> str:
    """The whole page, in Markdown."""
    parts = [f"# {_TITLE}\n", _INTRO, *_sections(), _example(), _old_keys()]
    return "\n".join(parts)


def _sections() -> Iterator[str]:
    keys = node_keys().values()
    sections = dict.fromkeys(key.section for key in keys)
    for section in sections:
        owner = node_keys().get(section.removesuffix("[]"))
        title = f"`{section}`" if section else "Top level"
        lines = [f"## {title}\n"]
        if owner is not None:
            lines.append(f"{owner.field.description}\n")
        lines += ["| key | type | default | meaning | becomes |", "|---|---|---|---|---|"]
        lines += [_row(key) for key in keys if key.section == section]
        yield "\n".join(lines) + "\n"


def _row(key: Key) -> str:
    meaning = key.field.description or ""
    if key.is_unusual:
        meaning += " Of no QEMU of a distribution: it is refused where `qemu_bin` lacks it."
    if key.only:
        meaning += f" {key.only.words('`')}"
    if key.field.examples and not key.choices:
        meaning += f" Example: `{yaml_of(key.field.examples[0])}`"
    cells = (f"`{key.name}`", _type(key), _default(key), meaning, key.becomes)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(key: Key) -> str:
    if key.choices:
        kind = ", ".join(f"`{choice}`" for choice in key.choices)
    elif key.known:
        kind = f"{', '.join(f'`{name}`' for name in key.known)} or another text"
    else:
        kind = _TYPES[key.scalar]
        low, high = key.bounds
        if low is not None or high is not None:
            kind += f", {low} to {high}"
    return f"list of {kind}s" if key.is_list else kind


def _default(key: Key) -> str:
    if key.field.is_required():
        return "required" if key.section else ""
    if key.model is not None or key.field.default is None:
        return ""
    default = key.field.default
    return f"`{yaml_of(default)}`"


def yaml_of(value: object) -> str:
    """A value in one line of YAML."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if value > 0xFFFFFFFF:
            return f"{value:#x}"
        case float() if value.is_integer():
            return str(int(value))
        case list() | tuple():
            return f"[{', '.join(map(yaml_of, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}: {yaml_of(below)}" for key, below in value.items()) + "}"
        case str():
            return yaml_line(value)
        case _:
            return str(value)


def _example() -> str:
    text = default_node_text(
        "default",
        server_type="quanta_d51",
        uuid="3f1c6f2e-8d7b-4c55-9a55-0d5c3a1f7e21",
        serial_number="infrasim-4711",
        macs=["52:54:00:12:34:56"],
    )
    return f"## What `infrasim init` writes\n\n```yaml\n{text}```\n"


def _old_keys() -> str:
    lines = [
        "## Keys of older files\n",
        "These are read, with a warning:\n",
        "| old key | today |",
        "|---|---|",
        *(f"| `{path}` | `{new}` |" for path, new in legacy.RENAMED.items()),
        *(f"| `{dotted(old)}` | `{dotted(new)}` |" for old, new in legacy.MOVED.items()),
        *(
            f"| `{path}: {old}` | `{new}` |"
            for path, names in legacy.RENAMED_VALUES.items()
            for old, new in names.items()
        ),
        *(f"| `{path}` | ignored: {why} |" for path, why in legacy.IGNORED.items()),
        *(
            f"| `{path}` | ignored: {'; '.join(dict.fromkeys(reasons.values()))} |"
            for path, (_, reasons) in legacy.IDLE.items()
        ),
        "\nThese are refused, with the reason:\n",
        "| key | reason |",
        "|---|---|",
        *(f"| `{path}` | {why} |" for path, why in legacy.REFUSED.items()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from infrasim.paths import template_dir
    from infrasim.spec.full import full_node_text

    (template_dir() / "node.full.yml").write_text(full_node_text(), encoding="utf-8")
    sys.stdout.write(node_file_reference())
