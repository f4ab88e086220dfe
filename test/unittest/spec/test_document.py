"""How YAML is read: narrowed types, places, and what is refused."""

from __future__ import annotations

import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from infrasim.errors import InvalidNodeFile
from infrasim.spec.document import MAX_ALIASED_VALUES, Document, Mark, dotted, load_document, scalar, undotted


def read(text: str | bytes) -> Document:
    return load_document(text, file="n.yml")


def refusal(text: str | bytes) -> str:
    with pytest.raises(InvalidNodeFile) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("12", 12),
        ("-3", -3),
        ("+7", 7),
        ("0x20", 32),
        ("0xFf", 255),
        ("1.5", 1.5),
        ("-0.25", -0.25),
        ("2.5e-3", 0.0025),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("tRUE", "tRUE"),
        ("0351", "0351"),
        ("0o17", "0o17"),
        ("0b1", "0b1"),
        ("-0x20", "-0x20"),
        ("0x", "0x"),
        ("1_000", "1_000"),
        ("12e4", "12e4"),
        ("1.", "1."),
        (".5", ".5"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("190:20:30", "190:20:30"),
        ("52:54:00:12:34:56", "52:54:00:12:34:56"),
        ("2024-01-01", "2024-01-01"),
        ("10.0.0.1", "10.0.0.1"),
        ("=", "="),
        ("١", "١"),
    ],
)
@pytest.mark.parametrize("libyaml", [True, False])
def test_plain_scalars(monkeypatch: pytest.MonkeyPatch, text: str, value: object, libyaml: bool) -> None:
    if not libyaml:
        monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    found = read(f"a: {text}\n").values["a"]
    assert (type(found), found) == (type(value), value)
    assert read(f"a: '{text}'\n").values["a"] == text


@pytest.mark.parametrize("libyaml", [True, False])
def test_words_for_cloud_init_mean_what_it_takes_them_for(
    monkeypatch: pytest.MonkeyPatch, libyaml: bool
) -> None:
    if not libyaml:
        monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    text = "compute: {sol: on, cloud_init: {user_data: {a: [yes, 'yes', No], on: OFF, b: y}}}\n"
    assert read(text).values["compute"] == {
        "sol": "on",
        "cloud_init": {"user_data": {"a": [True, "yes", False], "on": False, "b": "y"}},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "n.yml:1:1: the file is empty ('infrasim init' writes an example)"),
        ("# nothing\n", "n.yml:1:1: the file is empty ('infrasim init' writes an example)"),
        ("---\n...\n", "n.yml:1:1: the file is empty ('infrasim init' writes an example)"),
        ("\n- a\n", "n.yml:2:1: the file is a list, not 'key: value' lines"),
        ("hello", "n.yml:1:1: the file is a single value, not 'key: value' lines"),
        ("42", "n.yml:1:1: the file is a single value, not 'key: value' lines"),
        (
            "a: 1\nb: 2\na: 3\n",
            "n.yml:3:1: a: the key 'a' is given twice; first on line 1 (keep one of them)",
        ),
        (
            "a:\n- {b: 1, 'b': 2}\n",
            "n.yml:2:10: a[0].b: the key 'b' is given twice; first on line 2 (keep one of them)",
        ),
        (
            "a:\n\tb: 1\n",
            "n.yml:2:1: not YAML: found character '\\t' that cannot start any token while scanning for the "
            "next token (indent with spaces, not tabs)",
        ),
        (
            "a: b: c\n",
            "n.yml:1:5: not YAML: mapping values are not allowed here "
            "(check the indentation; quote a value that contains ': ')",
        ),
        (
            "a: 'x\n",
            "n.yml:2:1: not YAML: found unexpected end of stream while scanning a quoted scalar "
            "(a quote is not closed)",
        ),
        (
            "a: [1, 2\n",
            "n.yml:2:1: not YAML: expected ',' or ']', but got '<stream end>' while parsing a flow sequence",
        ),
        (
            "a: @x\n",
            "n.yml:1:4: not YAML: found character '@' that cannot start any token while scanning for the "
            "next token (put the value in quotes)",
        ),
        (
            "a: !!str 4\n",
            "n.yml:1:4: a: the tag '!!str' is not supported (remove it, or put the value in quotes)",
        ),
        (
            "a:\n  - !include x.yml\n",
            "n.yml:2:5: a[0]: the tag '!include' is not supported (remove it, or put the value in quotes)",
        ),
        (
            "a: !!python/object/apply:os.system [x]\n",
            "n.yml:1:4: a: the tag '!!python/object/apply:os.system' is not supported "
            "(remove it, or put the value in quotes)",
        ),
        ("a: *b\n", "n.yml:1:4: a: no anchor '&b' stands before this alias"),
        ("a: &a [1, *a]\n", "n.yml:1:11: a[1]: '*a' stands inside its own anchor"),
        ("a: &a b\n*a : c\n", "n.yml:2:1: an alias cannot be a key"),
        (
            "a: {{x}}\n",
            "n.yml:1:5: a: a key must be text, not a list or mapping (put '{{ … }}' in quotes)",
        ),
        ("a:\n  ?\n  : 2\n", "n.yml:2:4: a: a key is missing before ':'"),
        ("a: 1\nb:\n  <<: 5\n", "n.yml:3:3: b: '<<' merges a mapping or a list of mappings only"),
        (
            "a: 1\n---\nb: 2\n",
            "n.yml:2:1: a second document begins here (one file, one document: remove '---')",
        ),
        ("a: b\x07\n", "n.yml:1:5: character U+0007 cannot stand in a YAML file"),
        ("é: 1\r\nb: \0\r\n", "n.yml:2:4: character U+0000 cannot stand in a YAML file"),
        ("a: \ud800\n", "n.yml:1:4: character U+D800 cannot stand in a YAML file"),
        (b"a: 1\nb: \xc3\xa9\xff\n", "n.yml:2:5: byte 0xff is not UTF-8"),
        (
            "a: " + "9" * 65,
            "n.yml:1:4: a: a number may have at most 64 digits (put it in quotes if it is text)",
        ),
        ('a: "\\ud800"\n', "n.yml:1:4: not YAML: found invalid Unicode character escape code"),
        ("a: 1.0e999", "n.yml:1:4: a: the number is too large (put it in quotes if it is text)"),
        ("a: " + "[" * 64, "n.yml:1:67: a: more than 64 levels deep"),
    ],
)
@pytest.mark.parametrize("libyaml", [True, False])
def test_what_is_refused(
    monkeypatch: pytest.MonkeyPatch, text: str | bytes, message: str, libyaml: bool
) -> None:
    if not libyaml:
        monkeypatch.setitem(sys.modules, "yaml._yaml", None)
    assert refusal(text) == message


def test_all_problems_at_once_in_file_order() -> None:
    assert refusal("a: !x 1\nb: 1\nb: 2\nc: !y 3\nb: 3\n").splitlines() == [
        "n.yml:1:4: a: the tag '!x' is not supported (remove it, or put the value in quotes)",
        "n.yml:3:1: b: the key 'b' is given twice; first on line 2 (keep one of them)",
        "n.yml:4:4: c: the tag '!y' is not supported (remove it, or put the value in quotes)",
        "n.yml:5:1: b: the key 'b' is given twice; first on line 2 (keep one of them)",
    ]


def test_aliases_share_their_target() -> None:
    document = read("a: &x {b: 1}\nc: *x\nd: [*x, *x]\ne: &y 7\nf: *y\n")
    assert document.values == {"a": {"b": 1}, "c": {"b": 1}, "d": [{"b": 1}, {"b": 1}], "e": 7, "f": 7}
    assert document.values["c"] is document.values["a"]
    assert document.key_mark(("c",)) == Mark(2, 1)
    assert document.value_mark(("c", "b")) == Mark(1, 11)


def test_merge_keys_fill_in_what_is_not_given() -> None:
    document = read("a: &x {b: 1, c: 2}\nd: &y {c: 3, e: 4}\nf:\n  <<: [*x, *y]\n  b: 9\n")
    assert document.values["f"] == {"b": 9, "c": 2, "e": 4}
    assert document.key_mark(("f", "b")) == Mark(5, 3)
    assert document.key_mark(("f", "e")) == Mark(2, 14)
    assert read("a: {'<<': 1}\n").values == {"a": {"<<": 1}}


def test_repetition_by_aliases_is_bounded() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 12):
        laughs += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    assert f"aliases repeat more than {MAX_ALIASED_VALUES} values" in refusal(laughs)
    assert len(read("a: &a [x, x]\nb: [" + "*a, " * 3000 + "]\n").values["b"]) == 3000  # type: ignore[arg-type]


def test_keys_are_text() -> None:
    assert read("1: a\n0x2: b\ntrue: c\n~: d\n").values == {"1": "a", "0x2": "b", "true": "c", "~": "d"}


def test_a_byte_order_mark_is_dropped() -> None:
    assert read("\ufeffa: 1\n").values == read(b"\xef\xbb\xbfa: 1\n").values == {"a": 1}


def test_places() -> None:
    document = read("é: 'ü: x'\nb:\n  - c: 0x20\n    d:\n  - 'q'\n")
    assert document.key_mark(("b", 0, "c")) == Mark(3, 5)
    assert document.value_mark(("b", 0, "c")) == Mark(3, 8)
    assert document.source(("b", 0, "c")) == "0x20"
    assert document.source(("é",)) == "'ü: x'"
    assert document.value_mark(("b", 1)) == document.key_mark(("b", 1)) == Mark(5, 5)
    assert document.source(("b", 0, "d")) == document.source(("b",)) == document.source(("z",)) == ""
    assert document.span(("é",)) == (3, 9)
    assert document.span(("z",)) is None


def test_an_unknown_place_is_its_nearest_parent() -> None:
    document = read("a:\n  b: {c: 1}\n")
    assert document.key_mark(("a", "b", "x", 3)) == Mark(2, 3)
    assert document.value_mark(("a", "b", "c", "d")) == Mark(2, 10)
    assert document.key_mark(("z",)) == document.value_mark(()) == Mark(1, 1)


def test_dotted() -> None:
    assert dotted(("compute", "networks", 0, "mac")) == "compute.networks[0].mac"
    assert dotted(()) == ""


@given(st.lists(st.integers(min_value=0) | st.from_regex(r"[a-z0-9_-]+", fullmatch=True), max_size=5))
def test_a_dotted_path_leads_back(steps: list[str | int]) -> None:
    assert undotted(dotted(tuple(steps))) == tuple(steps)


PIECES = (
    "a|b|: |:\n|- |\n|  | |\t|[|]|{|}|,|, |&x |*x|!t |'|\"|>|>-\n|#| #|? |%|@|`|<<: |---\n|...\n|1|0x1|é|\r\n"
    "|a: 1\n|- a\n|\u2028|\x85|\\|%YAML 1.1\n|~|null"
)
YAMLISH = st.lists(st.sampled_from(["|", "|\n", *PIECES.split("|")]), max_size=30).map("".join)


@given(YAMLISH | st.text(max_size=60) | st.binary(max_size=60))
@example("a: 1\n%")
@example("a: |\n  x\n b")
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    try:
        document = read(text)
    except InvalidNodeFile as exc:
        assert exc.problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in exc.problems)
    else:
        assert isinstance(document.values, dict)


def outcome(text: str) -> object:
    try:
        document = read(text)
    except InvalidNodeFile:
        return None
    return document.values, [document.key_mark((key,)) for key in document.values]


def outcome_without_libyaml(text: str) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "yaml._yaml", None)
        return outcome(text)


@given(YAMLISH)
def test_both_parsers_read_the_same(text: str) -> None:
    fast, slow = outcome(text), outcome_without_libyaml(text)
    assert fast == slow or None in (fast, slow)  # some oddities only one of them takes, such as "|#"


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126) | st.sampled_from("\té…"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXT, below, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, min_size=1, max_size=4), st.booleans())
@example({"a": "b\tc", "d": ["52:54:00:12:34:56", "0351", "on"]}, False)
def test_what_yaml_writes_is_read_back(values: dict[str, object], flow: bool) -> None:
    text = yaml.safe_dump(values, allow_unicode=True, default_flow_style=flow)
    assert read(text).values == values
    assert outcome(text) == outcome_without_libyaml(text)


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive(number: float) -> None:
    text = str(number)
    assert scalar(text) == (text if "e" in text and "." not in text else number)
