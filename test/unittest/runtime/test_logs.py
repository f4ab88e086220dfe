"""A node's logs as one stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from infrasim.errors import HostError, UsageError
from infrasim.host.files import last_lines
from infrasim.paths import Home, NodePaths
from infrasim.runtime.logs import claim_logs, show_logs
from infrasim.runtime.workspace import remove_workspace


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", tmp_path / "logs")


@pytest.fixture
def paths(home: Home) -> NodePaths:
    found = home.node("a")
    found.log_dir.mkdir(parents=True)
    found.log("qemu").write_text("one\ntwo\n")
    found.log("openipmi").write_text("hello\n")
    found.serial_log.write_text("login:")
    return found


def test_one_log_has_no_labels(home: Home, paths: NodePaths) -> None:
    assert list(show_logs(home, "a", ["qemu"], lines=1, follow=False)) == ["two"]
    assert list(show_logs(home, "a", ["serial"], lines=5, follow=False)) == ["login:"]
    assert list(show_logs(home, "a", ["socat"], lines=5, follow=False)) == []


def test_several_logs_have_labels_and_the_console_is_left_out(home: Home, paths: NodePaths) -> None:
    assert list(show_logs(home, "a", [], lines=5, follow=False)) == [
        "openipmi   | hello",
        "qemu       | one",
        "qemu       | two",
    ]
    assert list(show_logs(home, "a", ["qemu", "serial"], lines=1, follow=False)) == [
        "qemu       | two",
        "serial     | login:",
    ]


def test_logs_that_only_some_nodes_have(home: Home, paths: NodePaths) -> None:
    with pytest.raises(UsageError, match="there is no log 'racadm'"):
        list(show_logs(home, "a", ["racadm"], lines=5, follow=False))
    paths.log("racadm").write_text("logged in\n")
    paths.log("guest").write_text("guest login:")
    assert list(show_logs(home, "a", ["racadm"], lines=5, follow=False)) == ["logged in"]
    assert list(show_logs(home, "a", ["guest"], lines=5, follow=False)) == ["guest login:"]
    assert list(show_logs(home, "a", [], lines=1, follow=False)) == [
        "openipmi   | hello",
        "qemu       | two",
        "racadm     | logged in",
    ]


def test_following(home: Home, paths: NodePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens to the log between two looks is done by the sleep."""
    log = paths.log("qemu")

    def append(text: str) -> None:
        log.write_text(log.read_text() + text)

    steps: Iterator[Callable[[], object]] = iter(
        [
            partial(append, "three\nfo"),
            partial(append, "ur\n"),
            partial(append, ""),
            partial(log.write_text, "new\n"),
            log.unlink,
            partial(log.write_text, "again\n"),
        ]
    )
    monkeypatch.setattr("infrasim.runtime.logs.time.sleep", lambda _: next(steps)())
    stream = show_logs(home, "a", ["qemu"], lines=1, follow=True)
    assert [next(stream) for _ in range(5)] == ["two", "three", "four", "new", "again"]


def test_a_line_that_comes_while_the_first_ones_are_read_is_shown_once(
    home: Home, paths: NodePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = paths.log("qemu")

    def read_late(path: Path, count: int, *, end: int | None = None) -> tuple[str, ...]:
        log.write_text("one\ntwo\nthree\n")
        return last_lines(path, count, end=end)

    monkeypatch.setattr("infrasim.runtime.logs.last_lines", read_late)
    stream = show_logs(home, "a", ["qemu"], lines=1, follow=True)
    assert [next(stream), next(stream)] == ["two", "three"]
    assert list(show_logs(home, "a", ["qemu"], lines=0, follow=False)) == []


def test_following_a_log_that_does_not_exist_yet(
    home: Home, paths: NodePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "infrasim.runtime.logs.time.sleep", lambda _: paths.log("socat").write_text("first\n")
    )
    assert next(show_logs(home, "a", ["socat"], lines=1, follow=True)) == "first"


def test_unknown_log(home: Home, paths: NodePaths) -> None:
    with pytest.raises(UsageError) as caught:
        next(show_logs(home, "a", ["qemu", "kernel"], lines=1, follow=False))
    assert caught.value.message == "there is no log 'kernel'"
    assert caught.value.hint == "logs: supervisor, openipmi, qemu, socat, serial, events"


def test_no_logs_yet_and_no_such_node(home: Home) -> None:
    home.node_map.mkdir(parents=True)
    home.map_file("a").write_text("{}")
    with pytest.raises(UsageError) as caught:
        next(show_logs(home, "a", [], lines=1, follow=False))
    assert caught.value.message == f"node a has no logs yet in {home.node('a').log_dir}"
    with pytest.raises(UsageError) as caught:
        next(show_logs(home, "b", [], lines=1, follow=False))
    assert caught.value.message == f"there is no node 'b' in {home.root}"


# --- whose they are


def two_homes(tmp_path: Path) -> tuple[Home, Home]:
    """Two homes with one log folder, both with a workspace of node a."""
    first, second = (Home(tmp_path / name, tmp_path / "logs") for name in ("one", "two"))
    for each in (first, second):
        each.node("a").workspace.mkdir(parents=True)
        each.node_map.mkdir()
        each.map_file("a").write_text("{}")
    return first, second


def test_logs_belong_to_the_home_that_came_first(tmp_path: Path) -> None:
    first, second = two_homes(tmp_path)
    claim_logs(first.node("a"))
    claim_logs(first.node("a"))
    with pytest.raises(HostError) as caught:
        claim_logs(second.node("a"))
    assert caught.value.message == (
        f"log folder {tmp_path}/logs/a belongs to node a of home {tmp_path}/one; this is home {tmp_path}/two"
    )
    assert "INFRASIM_LOG_DIR" in caught.value.hint
    with pytest.raises(UsageError, match="node a has no logs yet"):
        list(show_logs(second, "a", [], lines=1, follow=False))
    claim_logs(second.node("b"))


def test_a_destroy_leaves_the_logs_of_another_home(tmp_path: Path) -> None:
    first, second = two_homes(tmp_path)
    claim_logs(first.node("a"))
    remove_workspace(second, second.node("a"))
    assert first.node("a").log_owner.exists()
    remove_workspace(first, first.node("a"))
    assert not first.node("a").log_dir.exists()


def test_logs_of_a_node_that_is_gone_can_be_had(tmp_path: Path) -> None:
    first, second = two_homes(tmp_path)
    claim_logs(first.node("a"))
    first.node("a").workspace.rmdir()
    claim_logs(second.node("a"))
    assert second.node("a").log_owner.read_text() == f"{second.node('a').workspace}\n"


def test_a_home_with_two_names_is_one(tmp_path: Path) -> None:
    first, _ = two_homes(tmp_path)
    (tmp_path / "link").symlink_to(first.root)
    claim_logs(first.node("a"))
    claim_logs(Home(tmp_path / "link", first.log_root).node("a"))


def test_logs_that_nobody_marked_are_removed_with_their_node(tmp_path: Path) -> None:
    first, _ = two_homes(tmp_path)
    first.node("a").log_dir.mkdir(parents=True)
    remove_workspace(first, first.node("a"))
    assert not first.node("a").log_dir.exists()
