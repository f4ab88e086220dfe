"""``!include``: other files' values in place, faults on their own lines, copies that mean the same."""

from __future__ import annotations

import posixpath
import sys
from pathlib import PurePosixPath

import pytest

from infrasim.errors import InvalidNodeFile, UsageError
from infrasim.spec.bundle import bundle
from infrasim.spec.document import Document, Included, Mark, load_document
from infrasim.spec.load import load_node
from infrasim.spec.naming import with_name


class Shelf:
    """Files by their names, as an includer finds them."""

    def __init__(self, **files: str) -> None:
        self.files = {name.replace("_", "/") + ".yml": text for name, text in files.items()}

    def __call__(self, wanted: str, *, by: str) -> Included:
        place = posixpath.normpath(PurePosixPath(by).parent / wanted)
        if place not in self.files:
            raise UsageError(f"cannot read {place}: No such file", hint="is it there?")
        return Included(place, self.files[place], place)


def read(text: str, **files: str) -> Document:
    return load_document(text, file="n.yml", include=Shelf(**files))


def refusal(text: str, **files: str) -> list[str]:
    with pytest.raises(InvalidNodeFile) as caught:
        read(text, **files)
    return str(caught.value).splitlines()


def test_a_file_stands_for_a_value_of_any_kind() -> None:
    document = read(
        "a: !include map.yml\nb: [1, !include list.yml]\nc: !include 'one.yml'\n"
        "d:\n  <<: !include map.yml\n  x: 0\n",
        map="# words\nx: 1\ny: [2]\n",
        list="- 3\n- 0x10\n",
        one="'007'\n",
    )
    assert document.values == {
        "a": {"x": 1, "y": [2]},
        "b": [1, [3, 16]],
        "c": "007",
        "d": {"x": 0, "y": [2]},
    }


def test_the_whole_file_may_be_another() -> None:
    assert read("!include map.yml", map="x: 1\n").values == {"x": 1}
    assert refusal("!include list.yml", list="\n- 1\n") == [
        "list.yml:2:1: the file is a list, not 'key: value' lines"
    ]


def test_files_include_files_from_where_they_stand() -> None:
    document = read(
        "a: !include sub/b.yml\n", sub_b="c: !include d.yml\n", sub_d="e: !include ../f.yml\n", **{"f": "1"}
    )
    assert document.values == {"a": {"c": {"e": 1}}}
    assert [(each.by, each.file) for each in document.inclusions] == [
        ("n.yml", "sub/b.yml"),
        ("sub/b.yml", "sub/d.yml"),
        ("sub/d.yml", "f.yml"),
    ]


@pytest.fixture
def placed() -> Document:
    return read(
        "a: !include b.yml\ns: !include one.yml\nz: 1\n", b="\nx: {y: 'q'}\nl:\n  - 5\n", one="\n\n  7\n"
    )


def test_places_are_in_the_file_they_are_in(placed: Document) -> None:
    assert placed.key_mark(("a",)) == Mark(1, 1)
    assert placed.key_mark(("a", "x", "y")) == Mark(2, 5, "b.yml")
    assert placed.value_mark(("a", "l", 0)) == Mark(4, 5, "b.yml")
    assert placed.source(("a", "x", "y")) == "'q'"
    assert placed.span(("a", "x", "y")) is None
    assert placed.value_mark(("s",)) == Mark(3, 3, "one.yml")
    assert placed.source(("s",)) == "7"
    assert (placed.key_mark(("z",)), placed.span(("z",))) == (Mark(3, 1), (41, 42))
    assert placed.key_mark(("a", "unknown", 0)) == Mark(1, 1)


def test_merged_keys_have_the_place_they_came_from() -> None:
    document = read("d:\n  <<: !include b.yml\n", b="\nx: 1\n")
    assert document.key_mark(("d", "x")) == Mark(2, 1, "b.yml")


def test_faults_are_on_the_lines_of_their_file() -> None:
    with pytest.raises(InvalidNodeFile) as caught:
        load_node(
            PurePosixPath("n.yml"),  # type: ignore[arg-type]
            "bmc: !include bmc.yml\ncompute:\n  networks: !include nets.yml\ntypo: 1\n",
            name="n",
            include=Shelf(bmc="password: 1\nx: 2\n", nets="\n- mac: zz\n"),
        )
    places = [str(problem).split(": ")[0] for problem in caught.value.problems]
    assert places == ["n.yml:4:1", "bmc.yml:1:11", "bmc.yml:2:1", "nets.yml:2:8"]


@pytest.mark.parametrize(
    ("text", "files", "said"),
    [
        ("a: !include b.yml", {}, ["n.yml:1:4: a: cannot read b.yml: No such file (is it there?)"]),
        ("a: !include b.yml", {"b": "# nothing\n"}, ["n.yml:1:4: a: b.yml is empty"]),
        ("!include b.yml: 1", {"b": "x"}, ["n.yml:1:1: '!include' cannot be a key (it stands for a value)"]),
        ("a: !include [b.yml]", {}, ["n.yml:1:4: a: the tag '!include' is not supported"]),
        ("a: !include b.yml", {"b": "x: {\n"}, ["b.yml:2:1: not YAML: expected the node content"]),
        ("a: !include b.yml", {"b": "x: 1\nx: 2\n"}, ["b.yml:2:1: a.x: the key 'x' is given twice"]),
        ("a: !include b.yml", {"b": "x: !y 1\n"}, ["b.yml:1:4: a.x: the tag '!y' is not supported"]),
        ("a: !include b.yml", {"b": "1\n---\n2\n"}, ["b.yml:2:1: a: a second document begins here"]),
        (
            "a: !include b.yml",
            {"b": "x: \x07\n"},
            ["b.yml:1:4: character U+0007 cannot stand in a YAML file"],
        ),
        (
            "a: !include b.yml",
            {"b": "x: !include b.yml\n"},
            ["b.yml:1:4: a.x: b.yml is being read already: it includes itself"],
        ),
        (
            "a: !include b.yml",
            {"b": "!include c.yml", "c": "[!include b.yml]"},
            ["c.yml:1:2: a[0]: b.yml is being read already: it includes itself"],
        ),
        (
            "a: !include b.yml\nb: !x 1\n",
            {"b": "x: 1\nx: 2\n"},
            ["n.yml:2:4: b: the tag '!x' is not supported", "b.yml:2:1: a.x: the key 'x' is given twice"],
        ),
    ],
)
@pytest.mark.parametrize("libyaml", [True, False])
def test_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str, files: dict[str, str], said: list[str], libyaml: bool
) -> None:
    if not libyaml:
        monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    found = refusal(text, **files)
    assert len(found) == len(said)
    assert all(line.startswith(start) for line, start in zip(found, said, strict=True))


def test_depth_and_number_are_bounded() -> None:
    deep = {f"f{number}": f"x: !include f{number + 1}.yml\n" for number in range(30)}
    assert refusal("a: !include f0.yml", **deep)[0].startswith("f7.yml:1:4:")
    many = "a: [" + "!include one.yml, " * 65 + "]"
    assert "more than 64 files are included" in refusal(many, one="1")[0]
    nested = "[" * 40 + "]" * 40
    assert "more than 64 levels deep" in refusal("a: " + "[" * 30 + "!include n.yml" + "]" * 30, n=nested)[0]


def test_without_an_includer_it_is_a_tag_like_others() -> None:
    with pytest.raises(InvalidNodeFile, match="the tag '!include' is not supported"):
        load_document("a: !include b.yml", file="n")


def test_a_name_is_exchanged_beside_includes() -> None:
    shelf = Shelf(b="1")
    assert with_name("name: x # keep\na: !include b.yml", "y", file="n.yml", include=shelf) == (
        "name: y # keep\na: !include b.yml"
    )


FILES = {
    "common_disks": "# disks\n- drives:\n    - !include ../drive.yml   # one\n    - !include ../drive.yml\n",
    "drive": "size: 20\n",
}


def test_a_bundle_keeps_every_byte_but_the_names() -> None:
    text = "# mine\na:   !include common/disks.yml   # why\nb: {c: !include 'drive.yml', d: 'é'}\n"
    document = read(text, **FILES)
    made = bundle(document, folder="n.include")
    disks, drive = sorted(made.copies)
    assert made.text == text.replace("common/disks.yml", f"n.include/{disks}").replace(
        "'drive.yml'", f"n.include/{drive}"
    )
    assert made.copies[drive] == "size: 20\n"
    assert made.copies[disks] == FILES["common_disks"].replace("../drive.yml", drive)


def test_a_bundle_of_a_bundle_is_the_same() -> None:
    made = bundle(read("a: !include common/disks.yml\n", **FILES), folder="n.include")
    shelf = Shelf()
    shelf.files = {f"n.include/{name}": text for name, text in made.copies.items()}
    again = load_document(made.text, file="n.yml", include=shelf)
    assert again.values == read("a: !include common/disks.yml\n", **FILES).values
    assert bundle(again, folder="n.include") == made


def test_a_tag_in_long_form_is_bundled_or_refused() -> None:
    document = read("a: !<!include> drive.yml\n", **FILES)
    with pytest.raises(InvalidNodeFile, match="what this file includes cannot be copied"):
        bundle(document, folder="n.include")


def test_anchors_stay() -> None:
    made = bundle(read("a: &x !include drive.yml\nb: *x\n", **FILES), folder="n.include")
    (drive,) = made.copies
    assert made.text == f"a: &x !include n.include/{drive}\nb: *x\n"
