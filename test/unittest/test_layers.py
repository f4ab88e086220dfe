"""The one-way layer rule of docs/design.md, checked from the source text."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "infrasim"
LAYERS = (
    {"errors", "units", "log", "paths", "jsonform", "frozen"},
    {"spec", "host"},
    {"personality", "qemu", "bmc", "clients", "packages"},
    {"plan", "bmc_core", "racadm"},
    {"runtime"},
    {"faults", "engine"},
    {"services", "lab"},
    {"cli"},
)
LAYER = {part: number for number, parts in enumerate(LAYERS) for part in parts}
PURE = {"spec", "personality", "qemu", "bmc", "plan", "bmc_core", "racadm"}
# The one module of host that pure parts may know, because it is as pure as they are.
PURE_HOST_MODULE = "infrasim.host.facts"
IMPURE_MODULES = frozenset(
    {"subprocess", "socket", "psutil", "requests", "threading", "asyncio", "shutil", "daemon", "time"}
)
PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "pty"})
# What may stand at the top of a module: names are defined, nothing is done.
DEFINITIONS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything imported, late imports too; relative ones start with a dot."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "infrasim" else [module]
            yield from ((node.lineno, name) for name in names)


def import_fault(module: tuple[str, ...], name: str) -> str:
    """Why ``module`` (its path below infrasim) must not import ``name``; empty if it may."""
    part, top = module[0], name.partition(".")[0]
    if name.startswith("."):
        return "is a relative import"
    pure = part in PURE or ".".join(("infrasim", *module)) == PURE_HOST_MODULE
    if pure and top in IMPURE_MODULES:
        return f"does not belong in {part}, which is pure"
    if top in PROCESS_MODULES and module != ("host", "process"):
        return "belongs in host/process.py alone"
    target = name.split(".")[1] if top == "infrasim" and "." in name else ""
    if target in ("", "__version__", part) or part.startswith("__"):
        return ""
    if part not in LAYER or target not in LAYER:
        return f"is not in the table of layers ({part} or {target})"
    if part in PURE and target == "host" and name != PURE_HOST_MODULE:
        return f"does not belong in {part}, which is pure"
    if LAYER[target] < LAYER[part] or LAYER[target] == LAYER[part] == 0:
        return ""
    return f"is in layer {LAYER[target]}, and {part} is in layer {LAYER[part]}"


def acts(node: ast.stmt) -> bool:
    """Whether a top-level statement does something when the module is imported."""
    if isinstance(node, ast.Expr):
        return not (isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
    if isinstance(node, ast.If):
        return ast.unparse(node.test) not in ("TYPE_CHECKING", "__name__ == '__main__'")
    return not isinstance(node, (*DEFINITIONS, getattr(ast, "TypeAlias", ast.Import)))


def faults(module: tuple[str, ...], source: str) -> list[str]:
    tree = ast.parse(source)
    where = "/".join(module)
    bad_imports = [
        f"{where}:{line}: {name} {why}" for line, name in imports(tree) if (why := import_fault(module, name))
    ]
    return bad_imports + [f"{where}:{node.lineno}: acts on import" for node in tree.body if acts(node)]


def test_the_package_keeps_the_rules() -> None:
    modules = sorted(path for path in PACKAGE.rglob("*.py"))
    assert len(modules) > 5
    found = [
        fault
        for path in modules
        for fault in faults(path.relative_to(PACKAGE).with_suffix("").parts, path.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(found)


def test_every_impure_module_exists() -> None:
    assert IMPURE_MODULES - sys.stdlib_module_names == {"psutil", "requests", "daemon"}


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        (("spec", "node"), "import time", "time does not belong in spec, which is pure"),
        (("bmc", "conf"), "def f() -> None:\n    import socket", "bmc/conf:2: socket does not belong in bmc"),
        (("plan",), "from infrasim.host import probe", "infrasim.host does not belong in plan"),
        (("host", "facts"), "import psutil", "psutil does not belong in host"),
        (("cli", "node"), "import subprocess", "subprocess belongs in host/process.py alone"),
        (("qemu", "system"), "from infrasim.bmc.conf import x", "infrasim.bmc.conf is in layer 2"),
        (
            ("host", "files"),
            "from infrasim import plan",
            "infrasim.plan is in layer 3, and host is in layer 1",
        ),
        (("errors",), "import infrasim.cli.main", "infrasim.cli.main is in layer 7"),
        (("runtime", "node"), "from . import store", "is a relative import"),
        (("runtime", "node"), "from infrasim.util import x", "is not in the table of layers"),
        (("cli", "node"), "open('x')", "cli/node:1: acts on import"),
        (("cli", "node"), "for x in ():\n    pass", "cli/node:1: acts on import"),
        (("cli", "node"), "if x:\n    pass", "cli/node:1: acts on import"),
    ],
)
def test_a_breach_is_found(module: tuple[str, ...], source: str, fault: str) -> None:
    assert fault in "\n".join(faults(module, source))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (("paths",), "from infrasim.errors import UsageError"),
        (("plan", "model"), "from infrasim.host.facts import Accelerator"),
        (("plan",), "from infrasim import __version__\nfrom infrasim.qemu.system import argv"),
        (("host", "process"), '"""Doc."""\nimport subprocess\nX = 1'),
        (
            ("cli", "node"),
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import infrasim.runtime.node",
        ),
        (("__main__",), "from infrasim.cli.main import main\nif __name__ == '__main__':\n    main()"),
    ],
)
def test_what_is_right_passes(module: tuple[str, ...], source: str) -> None:
    assert faults(module, source) == []
