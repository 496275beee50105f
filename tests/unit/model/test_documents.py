"""Reading YAML: what scalars mean, where things stand, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest

from flowtide.errors import Violation
from flowtide.model.documents import DocumentError, DocumentLimits, path_text, read_document, read_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("12", 12),
        ("-0", 0),
        ("0123", "0123"),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("-", "-"),
        ("1.2.3", "1.2.3"),
        ("9" * 300, int("9" * 300)),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    """Only true and false are booleans; dates, sexagesimals and numbers with leading zeros stay text."""
    found = read_scalar(text)
    assert (type(found), found) == (type(value), value)


def test_quotes_and_tags_make_text() -> None:
    """A quoted number and one tagged `!!str` are text; a key is always text."""
    assert read_document("a: '1'\nb: !!str 2\nc: \"true\"\n1: x\non: y").value == {
        "a": "1",
        "b": "2",
        "c": "true",
        "1": "x",
        "on": "y",
    }


def test_aliases_and_merges_work() -> None:
    """An alias repeats a value, `<<` adds what is not there."""
    document = read_document("base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\ntwo: *b")
    assert document.value["one"] == {"y": 3, "x": 1}
    assert document.value["two"] == {"x": 1, "y": 2}


def test_places_are_those_of_keys_and_entries() -> None:
    """A path leads to the line and column of its value, a broken one to the nearest thing around it."""
    document = read_document("a:\n  b:\n    - c: 1\n    - d: 2\n")
    assert document.place(("a", "b", 1, "d")) == (4, 10)
    assert document.place(("a", "b", 1, "missing")) == (4, 7)
    assert path_text(("a", "b", 1, "d")) == "a.b[1].d"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2", "line 4: the key `c` comes twice"),
        ("a: 1\n---\nb: 2", "line 2: is not YAML"),
        ("a: [1\nb: 2", "line 2: is not YAML"),
        ("a: \0", "is not YAML"),
        ("a: !!python/object:os.system 1", "is not supported"),
        ("a: !thing {b: 1}", "is not supported"),
        ("a: !!int x", "is not what its tag"),
        ("? [1, 2]\n: 3", "a key must be a text"),
        ("a: &a [*a]", "nested deeper than"),
        ("[" * 100_000, "nested deeper than"),
        ("a:\n" + "".join(" " * level + "a:\n" for level in range(1, 500)), "nested deeper than"),
        ("x: *nowhere", "is not YAML"),
        ("<<: 1", "`<<` takes mappings only"),
        ("a: \ud800", "is not YAML"),
    ],
)
def test_refusals_say_what_is_wrong_and_where(text: str, message: str) -> None:
    """What is not YAML, or not safe, is a DocumentError with the place."""
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    assert message in str(caught.value)


def test_a_bomb_of_aliases_is_refused() -> None:
    """Aliases that multiply to millions of values end after some thousands."""
    letters = "abcdefghij"
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in pairwise(letters)
    )
    with pytest.raises(DocumentError, match="aliases repeat more than"):
        read_document(bomb)


def test_a_document_with_too_many_values_is_refused_on_the_way() -> None:
    """5 MB of small values are refused when the limit is reached, not after all of them."""
    with pytest.raises(DocumentError, match="more than 50000 keys and values"):
        read_document("tasks:\n" + "  - id: a\n    type: x\n" * 220_000)


def test_a_large_text_is_fine_within_the_limit_of_bytes() -> None:
    """5 MB in one text are read; the limit counts bytes, not characters."""
    assert len(read_document("a: |\n" + "  hello world\n" * 400_000).value["a"]) == 4_800_000
    with pytest.raises(DocumentError, match="larger than 10 bytes"):
        read_document("a: ééééé", DocumentLimits(bytes=10))


def test_violations_are_written_with_their_place() -> None:
    """A violation reads `line 7, tasks[0].type: ...`."""
    assert str(Violation(path="tasks[0].type", message="m", line=7, column=3)) == "line 7, tasks[0].type: m"
    assert str(Violation(path="", message="m")) == "m"
