"""Registered node files: kept byte for byte, checked before anything is written, never lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from infrasim.errors import HostError, InfrasimError, InvalidNodeFile, ProgramError, UsageError
from infrasim.host.files import hold_lock
from infrasim.paths import Home, shipped_types
from infrasim.runtime import node_map, node_text
from infrasim.spec.load import load_node
from infrasim.spec.setting import parse_settings

GOOD = "# mine\r\nname:  other   # keep\r\ntype: quanta_d51\r\ncompute:\r\n  memory: {size: 2048}\r\n"
BAD = "name: n\nsol_enabled: true\ncompute: {cpu: {quantities: 0}}\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "log")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.yml"
    path.write_bytes(GOOD.encode())
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yml"
    path.write_text(BAD)
    return path


def files(home: Home) -> dict[str, bytes]:
    """Every file of the map but the lock."""
    return {path.name: path.read_bytes() for path in home.node_map.glob("*") if path.name != ".lock"}


def editor(monkeypatch: pytest.MonkeyPatch, *actions: Callable[[Path], int | None]) -> list[Sequence[str]]:
    """Let ``run_interactive`` do ``actions`` one after the other; returns what it was called with."""
    calls: list[Sequence[str]] = []

    def run(argv: Sequence[str]) -> int:
        calls.append(argv)
        return actions[len(calls) - 1](Path(argv[-1])) or 0

    monkeypatch.setattr(node_map, "run_interactive", run)
    return calls


def writing(text: str, code: int = 0) -> Callable[[Path], int]:
    def action(path: Path) -> int:
        path.write_text(text)
        return code

    return action


# --- add


def test_add_keeps_every_byte_but_the_name(home: Home, good: Path) -> None:
    stored = node_map.add(home, "n", good)
    assert stored.path == home.map_file("n")
    assert stored.path.read_bytes() == GOOD.replace("other", "n").encode()
    assert stored.path.stat().st_mode & 0o7777 == 0o600
    assert home.node_map.stat().st_mode & 0o7777 == 0o700
    assert stored.warnings == ()


def test_add_keeps_a_file_without_a_name_whole(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "x.yml"
    source.write_bytes(b"\xef\xbb\xbf# no name\ntype: quanta_d51")
    assert node_map.add(home, "n", source).path.read_bytes() == source.read_bytes()
    assert node_map.load_registered(home, "n").spec.name == "n"


def test_add_hands_on_warnings(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "x.yml"
    source.write_text("compute:\n  networks: [{network_name: br0}]\n")
    (warning,) = node_map.add(home, "n", source).warnings
    assert str(warning) == (
        f"{source}:2:15: compute.networks[0].network_name: is ignored (has no effect with network_mode nat)"
    )


def test_a_taken_name_is_refused(home: Home, good: Path) -> None:
    node_map.add(home, "n", good)
    before = files(home)
    with pytest.raises(UsageError, match="node 'n' is registered already") as caught:
        node_map.add(home, "n", good)
    assert caught.value.hint == f"replace its file with: infrasim config update n {good}"
    assert files(home) == before


@pytest.mark.parametrize("name", ["a/b", "..", "../x", "a b", "", "-n", ".lock", "x" * 64])
def test_a_name_that_cannot_be_is_refused(home: Home, good: Path, name: str) -> None:
    for verb in (node_map.add, node_map.update):
        with pytest.raises(UsageError, match="cannot be used"):
            verb(home, name, good)
    for act in (node_map.delete, node_map.read_registered):
        with pytest.raises(UsageError, match="cannot be used"):
            act(home, name)
    assert not home.root.exists()


def test_a_wrong_file_is_refused_and_nothing_written(home: Home, bad: Path) -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        node_map.add(home, "n", bad)
    assert [str(problem) for problem in caught.value.problems] == [
        f"{bad}:2:1: sol_enabled: unknown key 'sol_enabled' (did you mean 'sol_enable'?)",
        f"{bad}:3:29: compute.cpu.quantities: wanted 1 to 255, got 0",
    ]
    assert not home.root.exists()


def test_what_the_server_type_cannot_be_is_refused_on_its_line(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "node.yml"
    source.write_text("compute:\n  cpu: {quantities: 3}\n")
    with pytest.raises(InvalidNodeFile) as caught:
        node_map.add(home, "a", source)
    assert caught.value.message == (
        f"{source}:2:21: compute.cpu.quantities: 3 processors cannot be spread over the 2 sockets of "
        "quanta_d51 (use a multiple of 2)"
    )
    assert home.registered() == ()


def test_an_unknown_type_is_refused(home: Home, tmp_path: Path) -> None:
    source = tmp_path / "x.yml"
    source.write_text("type: quanta_d15\n")
    with pytest.raises(
        InvalidNodeFile, match=r"there is no server type 'quanta_d15' \(did you mean 'quanta_d51'\?\)"
    ):
        node_map.add(home, "n", source)
    shutil.copytree(shipped_types() / "vnode", home.types / "quanta_d15")
    assert node_map.add(home, "n", source).path.exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"a: \xff"), ":1:4: byte 0xff is not UTF-8"),
        (
            lambda path: path.write_bytes(b"#" * (node_text.MAX_FILE_BYTES + 1)),
            "is larger than 1048576 bytes",
        ),
    ],
)
def test_what_cannot_be_read(
    home: Home, tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    source = tmp_path / "x.yml"
    make(source)
    with pytest.raises(UsageError, match=message):
        node_map.add(home, "n", source)
    assert not home.root.exists()


# --- update and delete


def test_update_replaces_the_text(home: Home, good: Path, tmp_path: Path) -> None:
    node_map.add(home, "n", good)
    assert not node_map.update(home, "n", good).changed
    new = tmp_path / "new.yml"
    new.write_text("name: n # new\n")
    assert node_map.update(home, "n", new).changed
    assert files(home) == {"n.yml": b"name: n # new\n"}
    assert home.map_file("n").stat().st_mode & 0o7777 == 0o600


def test_a_wrong_update_changes_nothing(home: Home, good: Path, bad: Path) -> None:
    node_map.add(home, "n", good)
    before = files(home)
    with pytest.raises(InvalidNodeFile):
        node_map.update(home, "n", bad)
    assert files(home) == before


def test_update_of_an_unknown_node(home: Home, good: Path) -> None:
    with pytest.raises(UsageError, match="no node file is registered as 'n'") as caught:
        node_map.update(home, "n", good)
    assert caught.value.hint == f"register it with: infrasim config add n {good}"


def test_delete(home: Home, good: Path) -> None:
    path = node_map.add(home, "node1", good).path
    with pytest.raises(UsageError, match="no node file is registered as 'node2'") as caught:
        node_map.delete(home, "node2")
    assert caught.value.hint == "did you mean 'node1'?"
    assert node_map.delete(home, "node1") == path
    assert files(home) == {}
    with pytest.raises(UsageError) as caught:
        node_map.delete(home, "node1")
    assert caught.value.hint == "run: infrasim init"


@pytest.mark.parametrize("verb", [node_map.add, node_map.update])
def test_changes_wait_for_each_other(
    home: Home, good: Path, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Home, str, Path], object]
) -> None:
    node_map.add(home, "n", good)
    monkeypatch.setattr(node_map, "_LOCK_WAIT_S", 0.05)
    descriptor = hold_lock(home.map_lock)
    assert descriptor is not None
    try:
        with pytest.raises(InfrasimError, match="changing node files"):
            verb(home, "m" if verb is node_map.add else "n", good)
    finally:
        os.close(descriptor)


# --- list


def test_list(home: Home, good: Path) -> None:
    assert node_map.list_registered(home) == ()
    node_map.add(home, "b", good)
    home.map_file("a").write_text("name: a\n")
    home.map_file("c").write_text("a: [\n")
    home.map_file("d").write_bytes(b"\xff")
    found = node_map.list_registered(home)
    assert [(entry.name, entry.server_type) for entry in found] == [
        ("a", "quanta_d51"),
        ("b", "quanta_d51"),
        ("c", ""),
        ("d", ""),
    ]
    assert found[2].error.startswith(f"{home.map_file('c')}:2:1: not YAML")
    assert found[3].error == f"{home.map_file('d')}:1:1: byte 0xff is not UTF-8"


def test_a_registered_file_of_another_name_is_a_problem(home: Home, good: Path) -> None:
    node_map.add(home, "n", good)
    home.map_file("n").write_text("name: m\n")
    with pytest.raises(InvalidNodeFile, match="1:7: name: is 'm', but this is the file of node 'n'"):
        node_map.load_registered(home, "n")


# --- edit


def test_edit_keeps_a_valid_text(home: Home, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = node_map.add(home, "n", good).path
    modes = []

    def action(path: Path) -> None:
        modes.append(path.stat().st_mode & 0o7777)
        assert path.read_bytes() == target.read_bytes()
        path.write_text("name: n\n# mine\n")

    calls = editor(monkeypatch, action)
    stored = node_map.edit(home, "n", editor=("vi", "-x"))
    assert (stored.path, stored.changed) == (target, True)
    assert calls[0][:-1] == ("vi", "-x")
    assert calls[0][-1].endswith(".yml")
    assert modes == [0o600]
    assert files(home) == {"n.yml": b"name: n\n# mine\n"}


def test_edit_without_a_change(home: Home, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_map.add(home, "n", good)
    before = files(home)
    editor(monkeypatch, lambda path: None)
    assert not node_map.edit(home, "n", editor=("vi",)).changed
    assert files(home) == before


def test_edit_never_loses_a_wrong_text(home: Home, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = node_map.add(home, "n", good).path
    registered = target.read_bytes()
    editor(monkeypatch, writing(BAD))
    with pytest.raises(InvalidNodeFile) as caught:
        node_map.edit(home, "n", editor=("vi",))
    copy = home.edit_copy("n", os.getpid())
    assert copy.read_text() == BAD
    assert target.read_bytes() == registered
    assert caught.value.hint == f"your text is kept in {copy}; use it with: infrasim config update n {copy}"
    assert home.registered() == ("n",)


def test_edit_again_until_it_is_right(home: Home, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_map.add(home, "n", good)
    seen: list[str] = []

    def again(error: InvalidNodeFile) -> bool:
        seen.append(error.message)
        return True

    calls = editor(monkeypatch, writing("typ: x"), writing("- x"), writing("name: n"))
    assert node_map.edit(home, "n", editor=("vi",), try_again=again).changed
    assert len(calls) == 3
    assert "did you mean 'type'?" in seen[0]
    assert "the file is a list" in seen[1]
    assert files(home) == {"n.yml": b"name: n"}


def test_edit_does_not_overwrite_somebody_elses_change(
    home: Home, good: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = node_map.add(home, "n", good).path

    def action(path: Path) -> None:
        path.write_text("name: n # edited\n")
        target.write_text("name: n # by somebody else\n")

    editor(monkeypatch, action)
    with pytest.raises(UsageError, match="was changed by somebody else meanwhile") as caught:
        node_map.edit(home, "n", editor=("vi",))
    assert target.read_text() == "name: n # by somebody else\n"
    assert "your text is kept in" in caught.value.hint
    assert home.edit_copy("n", os.getpid()).read_text() == "name: n # edited\n"


@pytest.mark.parametrize(("text", "kept"), [("name: n # half\n", True), (None, False)])
def test_an_editor_that_fails(
    home: Home, good: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, kept: bool
) -> None:
    node_map.add(home, "n", good)
    before = files(home)["n.yml"]
    editor(monkeypatch, writing(text, 3) if text else lambda path: 3)
    with pytest.raises(ProgramError, match=r"vi .*: exit code 3") as caught:
        node_map.edit(home, "n", editor=("vi",))
    assert home.edit_copy("n", os.getpid()).exists() is kept
    assert ("your text is kept" in caught.value.hint) is kept
    assert files(home)["n.yml"] == before


def test_an_editor_that_removes_the_file(home: Home, good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node_map.add(home, "n", good)
    before = files(home)
    editor(monkeypatch, lambda path: path.unlink())
    with pytest.raises(UsageError, match="cannot read"):
        node_map.edit(home, "n", editor=("vi",))
    assert files(home) == before


@pytest.mark.allow("process")
def test_an_editor_that_is_not_there(home: Home, good: Path) -> None:
    node_map.add(home, "n", good)
    before = files(home)
    with pytest.raises(HostError, match="cannot run /nonexistent/vi"):
        node_map.edit(home, "n", editor=("/nonexistent/vi",))
    assert files(home) == before


# --- the default node file


def test_the_default_node_file(home: Home) -> None:
    path = node_map.write_default_node_file(home)
    assert path == home.map_file("default")
    assert path.stat().st_mode & 0o7777 == 0o600
    spec = node_map.load_registered(home, "default").spec
    assert spec.type == "quanta_d51"
    assert spec.compute.uuid
    assert spec.serial_number
    assert spec.compute.networks[0].mac


def test_the_default_node_file_is_never_overwritten(home: Home) -> None:
    text = node_map.write_default_node_file(home).read_text()
    assert node_map.write_default_node_file(home).read_text() == text
    other = Home(home.root.with_name("other"), home.log_root)
    assert node_map.write_default_node_file(other).read_text() != text


def test_a_default_node_file_of_another_name_and_type(home: Home) -> None:
    shutil.copytree(shipped_types() / "vnode", home.types / "mine")
    path = node_map.write_default_node_file(home, server_type="mine", name="n2")
    spec = load_node(path, path.read_text(), name="n2").spec
    assert (spec.name, spec.type) == ("n2", "mine")


def test_a_default_node_file_of_an_unknown_type(home: Home) -> None:
    with pytest.raises(UsageError, match="unknown server type 'quanta'"):
        node_map.write_default_node_file(home, server_type="quanta")
    assert not home.root.exists()


# --- included files


@pytest.fixture
def including(tmp_path: Path) -> Path:
    """A node file that includes one that includes another."""
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "disks.yml").write_text("# disks\n- drives: [!include ../drive.yml]\n")
    (tmp_path / "drive.yml").write_text("size: 20\n")
    path = tmp_path / "web.yml"
    path.write_text("# web\ncompute:\n  storage_backend: !include common/disks.yml   # shared\n")
    return path


def sizes(home: Home) -> list[int]:
    backend = node_map.load_registered(home, "web").spec.compute.storage_backend
    return [drive.size for controller in backend for drive in controller.drives]


def test_a_registered_file_means_the_same_when_the_originals_are_gone(home: Home, including: Path) -> None:
    stored = node_map.add(home, "web", including)
    shutil.rmtree(including.parent / "common")
    (including.parent / "drive.yml").write_text("size: 1\n")
    assert sizes(home) == [20]
    text = stored.path.read_text()
    assert text.startswith("# web\ncompute:\n  storage_backend: !include web.include/disks-")
    assert text.endswith(".yml   # shared\n")
    copies = sorted(home.included("web").iterdir())
    assert [path.stat().st_mode & 0o7777 for path in copies] == [0o600, 0o600]
    assert copies[0].read_text().startswith("# disks\n")
    assert home.registered() == ("web",)
    assert node_map.list_registered(home)[0].error == ""


def test_an_update_replaces_what_is_included(home: Home, including: Path) -> None:
    node_map.add(home, "web", including)
    assert not node_map.update(home, "web", including).changed
    (including.parent / "drive.yml").write_text("size: 30\n")
    assert node_map.update(home, "web", including).changed
    assert sizes(home) == [30]
    assert len(list(home.included("web").iterdir())) == 2
    including.write_text("name: web\n")
    assert node_map.update(home, "web", including).changed
    assert not home.included("web").exists()


def test_a_copy_that_was_spoilt_is_mended_by_an_update(home: Home, including: Path) -> None:
    node_map.add(home, "web", including)
    next(home.included("web").glob("drive-*")).write_text("size: 7\n")
    assert sizes(home) == [7]
    assert node_map.update(home, "web", including).changed
    assert sizes(home) == [20]


def test_an_edit_keeps_and_takes_in_what_is_included(
    home: Home, including: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node_map.add(home, "web", including)
    before = home.map_file("web").read_text()
    (including.parent / "bmc.yml").write_text("username: root\n")
    added = f"{before}bmc: !include {including.parent}/bmc.yml\n"
    editor(monkeypatch, writing(added))
    assert node_map.edit(home, "web", editor=("e",)).changed
    (including.parent / "bmc.yml").unlink()
    loaded = node_map.load_registered(home, "web")
    assert (loaded.spec.bmc.username, sizes(home)) == ("root", [20])
    assert home.map_file("web").read_text().startswith(before)


def test_delete_removes_the_copies(home: Home, including: Path) -> None:
    node_map.add(home, "web", including)
    node_map.delete(home, "web")
    assert not home.included("web").exists()


def test_a_fault_in_an_included_file_is_on_its_line_and_nothing_is_written(
    home: Home, including: Path
) -> None:
    (including.parent / "drive.yml").write_text("# x\nsize: big\n")
    with pytest.raises(InvalidNodeFile) as caught:
        node_map.add(home, "web", including)
    (problem,) = caught.value.problems
    assert (Path(problem.file).resolve(), problem.line, problem.column) == (
        including.parent / "drive.yml",
        2,
        7,
    )
    assert not home.node_map.exists()


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("none.yml", lambda path: None, "No such file or directory"),
        (".", lambda path: None, "is not a regular file"),
        ("pipe", os.mkfifo, "is not a regular file"),
        ("''", lambda path: None, "a file's name is missing"),
        ('"a\\0b"', lambda path: None, "a file's name is missing"),
        ("/dev/zero", lambda path: None, "is not a regular file"),
        ("big", lambda path: path.write_bytes(b"#" * (node_text.MAX_FILE_BYTES + 1)), "is larger than"),
        ("latin", lambda path: path.write_bytes(b"a: \xe9"), "byte 0xe9 is not UTF-8"),
    ],
)
def test_what_cannot_be_included(
    home: Home, tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    if name.isalpha():
        make(tmp_path / name)
    source = tmp_path / "n.yml"
    source.write_text(f"name: n\nbmc: !include {name}\n")
    with pytest.raises(InvalidNodeFile) as caught:
        node_map.add(home, "n", source)
    assert message in str(caught.value)
    assert caught.value.problems[0].line == (1 if name == "latin" else 2)


def test_settings_go_before_a_file(home: Home, good: Path) -> None:
    node_map.add(home, "n", good)
    settings = parse_settings(["compute.memory.size=4096"])
    assert node_map.load_registered(home, "n", settings).spec.compute.memory.size == 4096
    assert node_map.load_registered(home, "n").spec.compute.memory.size == 2048
