"""Which types there are, in which folder, and the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrasim.errors import UsageError
from infrasim.paths import shipped_types
from infrasim.personality.registry import find_type, load_type, type_names, type_summaries

TYPE = "manufacturer: {}\nproduct_name: Thing\ncontrollers: [{{address: 0x20, device_id: 1}}]\n"


def make(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir(parents=True)
    (folder / name / "type.yml").write_text(text)


def test_the_first_folder_wins(tmp_path: Path) -> None:
    make(tmp_path / "mine", "vnode", TYPE.format("Me"))
    make(tmp_path / "mine", "other", "extends: vnode\nsummary: mine\n")
    folders = [tmp_path / "absent", tmp_path / "mine", shipped_types()]
    assert load_type("vnode", folders).manufacturer == "Me"
    assert load_type("other", folders).manufacturer == "Me"
    assert {"vnode", "other", "quanta_d51"} < set(type_names(folders))
    found = {summary.name: summary for summary in type_summaries(folders)}
    assert (found["other"].manufacturer, found["other"].summary) == ("Me", "mine")
    assert found["quanta_d51"].folder == shipped_types() / "quanta_d51"


def test_an_unknown_type_has_a_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown server type 'quanta_51'") as caught:
        load_type("quanta_51", [shipped_types()])
    assert caught.value.hint.startswith("did you mean 'quanta_d51'? known types: dell_c6320,")
    with pytest.raises(UsageError) as caught:
        find_type("x", [tmp_path])
    assert caught.value.hint == "known types: none"


@pytest.mark.parametrize("name", ["", ".", "..", "../personalities/vnode", "a/b"])
def test_a_name_is_no_path(name: str) -> None:
    with pytest.raises(UsageError):
        find_type(name, [shipped_types()])


def test_a_type_that_extends_nothing_known(tmp_path: Path) -> None:
    make(tmp_path, "odd", "extends: nothing\n")
    for call in (lambda: load_type("odd", [tmp_path]), lambda: type_summaries([tmp_path])):
        with pytest.raises(UsageError, match="unknown server type 'nothing'"):
            call()


def test_types_in_a_circle_are_listed(tmp_path: Path) -> None:
    make(tmp_path, "one", "extends: two\nsummary: first\n")
    make(tmp_path, "two", "extends: one\n")
    assert [summary.summary for summary in type_summaries([tmp_path])] == ["first", "first"]
