"""A program that answers QMP as QEMU does, with the devices it is told; for tests without a QEMU."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Run with the description beside it; ``asked`` beside it gets a line for each time it is started.
_PROGRAM = """\
#!{python} -IS
import json, pathlib, sys

place = pathlib.Path({place!r})
told = json.loads((place / "can.json").read_text())
with (place / "asked").open("a") as stream:
    stream.write(" ".join(sys.argv[1:]) + chr(10))
if sys.argv[1:] == ["--version"]:
    print("QEMU emulator version " + told["version"])
elif sys.argv[1:] == ["-netdev", "help"]:
    print("Available netdev backend types:")
    print(chr(10).join(told["netdevs"]))
else:
    print(json.dumps({{"QMP": {{"version": {{}}, "capabilities": []}}}}), flush=True)
    unwritten = []
    for line in sys.stdin:
        command = json.loads(line)
        name, arguments = command["execute"], command.get("arguments", {{}})
        if name == "quit":
            break
        kind = arguments.get("typename", "")
        if kind in told["crashes"]:
            # What it had not written yet is lost.
            print(chr(10).join(unwritten[: -told["lost"] or None]), flush=True)
            sys.exit("missing object type " + kind)
        if name == "device-list-properties":
            answer = [{{"name": each, "type": "str"}} for each in told["properties"].get(kind, [])]
        elif name == "qom-list-properties":
            answer = [{{"name": each, "type": "bool"}} for each in told["machine_properties"]]
        elif name == "query-version":
            numbers = [int(part) for part in told["version"].split(".")]
            answer = {{"qemu": dict(zip(("major", "minor", "micro"), numbers)), "package": ""}}
        elif name == "human-monitor-command":
            answer = told["devices"]
        else:
            answer = told["answers"].get(name, {{}})
        said = {{"return": answer}}
        if "id" in command:
            said["id"] = command["id"]
        unwritten.append(json.dumps(said))
        if "id" in command:
            print(chr(10).join(unwritten), flush=True)
            unwritten.clear()
"""


class FakeQemu:
    """A fake QEMU in a folder: ``program`` is its path, ``can`` what it says."""

    def __init__(self, folder: Path, *, devices: str, properties: dict[str, list[str]]) -> None:
        self.program = folder / "qemu-fake"
        self._place = folder
        self.can: dict[str, Any] = {
            "version": "9.1.2",
            "devices": devices,
            "properties": properties,
            "machine_properties": ["graphics", "sata", "vmport", "usb"],
            "netdevs": ["user", "tap"],
            "crashes": [],
            "lost": 0,
            "answers": {
                "query-machines": [{"name": "pc-q35-9.1", "alias": "q35"}, {"name": "pc-i440fx-9.1"}],
                "query-cpu-definitions": [
                    {"name": "max", "typename": "max-x86_64-cpu"},
                    {"name": "Haswell", "typename": "Haswell-x86_64-cpu"},
                ],
                "qom-list-types": [{"name": "iothread"}, {"name": "secret"}],
            },
        }
        self.program.write_text(_PROGRAM.format(python=sys.executable, place=str(folder)))
        self.program.chmod(0o755)
        self.say()

    def say(self) -> None:
        """Answer with ``can`` from now on."""
        (self._place / "can.json").write_text(json.dumps(self.can))

    @property
    def asked(self) -> int:
        """How often it was started to say what it can do."""
        path = self._place / "asked"
        return path.read_text().count("-machine none") if path.exists() else 0
