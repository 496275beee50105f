"""Inputs: typing, defaults, dependencies, and the sentences that people read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given as generated
from hypothesis import strategies as some
from pydantic import ValidationError

from flowtide.errors import ExpressionError, InputError
from flowtide.model.encrypted import TYPE, encrypted_value
from flowtide.model.input_resolution import evaluate_inputs, resolve_inputs
from flowtide.model.inputs import (
    INPUT_ADAPTER,
    Input,
    InputMeans,
    dependency_cycle,
    is_true,
)


def declare(*declarations: dict[str, Any]) -> list[Input]:
    """Inputs from their YAML."""
    return [INPUT_ADAPTER.validate_python(declaration) for declaration in declarations]


def render(template: Any, variables: Mapping[str, Any]) -> Any:
    """A renderer that knows `{{ inputs.X }}`, `{{ list }}` and `{{ wrong }}`."""
    if template == "{{ list }}":
        return ["x", "y"]
    if template == "{{ json }}":
        return '["x", "z"]'
    if template == "{{ wrong }}":
        raise ExpressionError("there is no variable `wrong`")
    assert isinstance(template, str)
    return variables["inputs"][template.removeprefix("{{ inputs.").removesuffix(" }}")]


def resolve(declarations: list[dict[str, Any]], given: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Resolve with the renderer above."""
    return resolve_inputs(declare(*declarations), given, render, **options)


def problem(declaration: dict[str, Any], value: Any, **options: Any) -> str:
    """The one sentence about a wrong value of the input `x`."""
    with pytest.raises(InputError) as caught:
        resolve([{"id": "x", **declaration}], {"x": value}, **options)
    assert [each.input_id for each in caught.value.problems] == ["x"]
    return str(caught.value)


@pytest.mark.parametrize(
    ("declaration", "given", "value"),
    [
        ({"type": "STRING"}, "a", "a"),
        ({"type": "STRING"}, "", ""),
        ({"type": "STRING"}, 1.5, "1.5"),
        ({"type": "STRING"}, True, "true"),
        ({"type": "STRING"}, {"a": [1]}, '{"a":[1]}'),
        ({"type": "STRING", "validator": "student(\\d+)?"}, "student12", "student12"),
        ({"type": "INT"}, "-12", -12),
        ({"type": "INT"}, 3.0, 3),
        ({"type": "INT", "min": 18, "max": 64}, "64", 64),
        ({"type": "FLOAT"}, "1.255", 1.255),
        ({"type": "FLOAT"}, 1, 1.0),
        ({"type": "BOOL"}, "TRUE", True),
        ({"type": "BOOLEAN"}, False, False),
        ({"type": "SELECT", "values": ["yes", True, 1]}, "true", "true"),
        ({"type": "SELECT", "values": ["a"], "allowCustomValue": True}, "b", "b"),
        ({"type": "SELECT", "expression": "{{ list }}"}, "y", "y"),
        ({"type": "SELECT", "expression": "{{ json }}"}, "z", "z"),
        ({"type": "ENUM", "values": ["a"]}, "a", "a"),
        ({"type": "MULTISELECT", "values": ["a", "b", "c"]}, '["a", "c"]', ["a", "c"]),
        ({"type": "MULTISELECT", "values": ["a", "b"]}, ["b"], ["b"]),
        ({"type": "DATETIME"}, "2042-04-02T04:20:42.000Z", "2042-04-02T04:20:42Z"),
        ({"type": "DATETIME"}, "2042-04-02T06:20:42.5+02:00", "2042-04-02T04:20:42.500Z"),
        ({"type": "DATE", "after": "2024-04-10", "before": "2024-04-15"}, "2024-04-10", "2024-04-10"),
        ({"type": "TIME"}, "10:15", "10:15:00"),
        ({"type": "DURATION", "max": "PT1H"}, "PT5M6S", "PT5M6S"),
        ({"type": "FILE"}, "kestra:///a/b/c.txt", "kestra:///a/b/c.txt"),
        ({"type": "FILE", "allowedFileExtensions": [".md", "TXT"]}, "kestra:///a/b.txt", "kestra:///a/b.txt"),
        ({"type": "JSON"}, '[{"a": 1}]', [{"a": 1}]),
        ({"type": "JSON"}, {"a": 1}, {"a": 1}),
        ({"type": "YAML"}, "- user: john\n- user: will", [{"user": "john"}, {"user": "will"}]),
        ({"type": "URI"}, "http:/bla", "http:/bla"),
        ({"type": "URI"}, "https://example.com/a?b=%20#c", "https://example.com/a?b=%20#c"),
        ({"type": "EMAIL"}, "ann@example.com", "ann@example.com"),
        ({"type": "ARRAY", "itemType": "INT"}, "[1, 2, 3]", [1, 2, 3]),
        ({"type": "ARRAY", "itemType": "INT"}, "- 1\n- 2", [1, 2]),
        ({"type": "ARRAY", "itemType": "DATE"}, ["2024-01-01"], ["2024-01-01"]),
    ],
)
def test_values_become_typed(declaration: dict[str, Any], given: Any, value: Any) -> None:
    """A text, or a value of JSON, becomes the value of the input's type."""
    found = resolve([{"id": "x", **declaration}], {"x": given})["x"]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("declaration", "given", "cause"),
    [
        ({"type": "INT"}, "1.5", "`1.5` is not an integer"),
        ({"type": "INT"}, True, "`true` is not an integer"),
        ({"type": "INT"}, "9" * 30, "it is beyond what 64 bits can hold; use a STRING"),
        ({"type": "INT", "min": 18}, 17, "it must be at least `18`"),
        ({"type": "INT", "max": 64}, 65, "it must be at most `64`"),
        ({"type": "FLOAT"}, "nan", "`nan` is not a finite number"),
        ({"type": "FLOAT", "max": 1.5}, 2, "it must be at most `1.5`"),
        (
            {"type": "STRING", "validator": "student(\\d+)?"},
            "studentabc",
            "it must match the pattern `student(\\d+)?`",
        ),
        ({"type": "SELECT", "values": ["a", "b"]}, "c", "it must match the values `[a, b]`"),
        ({"type": "MULTISELECT", "values": ["a", "b"]}, ["a", "c"], "it must match the values `[a, b]`"),
        ({"type": "MULTISELECT", "values": ["a"]}, "a", "it must be a list, and not a text"),
        ({"type": "BOOL"}, "yes", "`yes` is neither true nor false"),
        (
            {"type": "DATETIME"},
            "2024-01-01T00:00:00",
            "`2024-01-01T00:00:00` is not an ISO-8601 date and time with a zone, e.g. 2042-04-02T04:20:42.000Z",
        ),
        ({"type": "DATE", "before": "2024-04-15"}, "2024-04-16", "it must be before `2024-04-15`"),
        ({"type": "TIME", "after": "10:00:00"}, "09:59:59", "it must be after `10:00:00`"),
        ({"type": "DURATION", "min": "PT1M"}, "PT1S", "it must be at least `PT1M`"),
        (
            {"type": "FILE"},
            "/etc/passwd",
            "it must be an uploaded file, or a URI that begins with nsfile:/// or file:///",
        ),
        (
            {"type": "FILE", "allowedFileExtensions": [".md"]},
            "kestra:///a.txt",
            "the file's extension must be one of `[.md]`",
        ),
        (
            {"type": "JSON"},
            "{",
            "it is not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
        ),
        ({"type": "JSON"}, "[" * 100_000, "it is not JSON that can be read: it is nested too deeply"),
        ({"type": "JSON"}, "NaN", "it is not JSON: NaN is not a JSON value"),
        ({"type": "URI"}, "a b", "`a b` is not a URI"),
        ({"type": "EMAIL"}, "ann", "`ann` is not an e-mail address"),
        ({"type": "ARRAY", "itemType": "INT"}, "[1, x]", "item 1: `x` is not an integer"),
        (
            {"type": "SECRET"},
            "s",
            (
                "a SECRET input cannot be used: encryption is not configured; "
                "set `flowtide.encryption.secret-key` to 32 random bytes in base64"
            ),
        ),
        ({"type": "SELECT", "expression": "{{ wrong }}"}, "a", "there is no variable `wrong`"),
    ],
)
def test_wrong_values_are_named_with_their_cause(declaration: dict[str, Any], given: Any, cause: str) -> None:
    """The sentence names the input and the cause (catalogue H)."""
    assert problem(declaration, given) == f"Invalid value for input `x`. Cause: {cause}"


def test_all_problems_are_told_at_once() -> None:
    """A missing input and wrong ones come in one error, in the order of the inputs."""
    with pytest.raises(InputError) as caught:
        resolve(
            [{"id": "a", "type": "INT"}, {"id": "b", "type": "STRING"}, {"id": "c", "type": "BOOL"}],
            {"a": "x"},
        )
    assert [each.message for each in caught.value.problems] == [
        "Invalid value for input `a`. Cause: `x` is not an integer",
        "Missing required input:b",
        "Missing required input:c",
    ]


def test_a_slow_validator_is_stopped() -> None:
    """A pattern that backtracks without end is cut off by the time-out (INP-03)."""
    declaration = {"type": "STRING", "validator": "(\\w|\\w\\w)*[!?]"}
    found = problem(declaration, "a" * 60, regex_timeout=timedelta(milliseconds=20))
    assert "took longer than 0.02 s" in found


def test_secrets_are_encrypted_after_their_validation() -> None:
    """The validator sees the text, the execution the encrypted value (INP-13)."""
    declared: list[dict[str, Any]] = [{"id": "x", "type": "SECRET", "validator": "[a-z]+"}]
    assert resolve(declared, {"x": "abc"}, encrypt=lambda text, name: f"<{name} {len(text)}>") == {
        "x": "<x 3>"
    }


def test_defaults_are_rendered_and_typed() -> None:
    """A default may be a template, which sees the inputs before it, and is typed like a given value (INP-19)."""
    declared: list[dict[str, Any]] = [
        {"id": "a", "type": "INT", "defaults": "7"},
        {"id": "b", "type": "STRING", "defaults": "{{ inputs.a }}"},
        {"id": "c", "type": "YAML", "defaults": [{"user": "john"}]},
        {"id": "d", "type": "SELECT", "values": ["p", "q"], "autoSelectFirst": True},
        {"id": "e", "type": "STRING", "required": False, "prefill": "only for forms"},
    ]
    assert resolve(declared, {}) == {"a": 7, "b": "7", "c": [{"user": "john"}], "d": "p", "e": None}


def test_dots_in_ids_make_objects() -> None:
    """`nested.a` is read as `inputs.nested.a`, and may be given either way (INP-16)."""
    declared: list[dict[str, Any]] = [{"id": "nested.a", "type": "INT"}, {"id": "nested.b", "type": "STRING"}]
    assert resolve(declared, {"nested.a": "1", "nested": {"b": "x"}}) == {"nested": {"a": 1, "b": "x"}}


def test_undeclared_values_are_ignored_with_a_warning() -> None:
    """A value that no input asks for is told of, and left out (catalogue H)."""
    warnings: list[str] = []
    assert resolve([{"id": "a", "type": "INT"}], {"a": 1, "z": 2}, warn=warnings.append) == {"a": 1}
    assert warnings == ["there is no input `z`; its value is ignored"]


DEPENDENT: list[dict[str, Any]] = [
    {"id": "vm", "type": "STRING", "dependsOn": {"inputs": ["kind"], "condition": "{{ inputs.is_vm }}"}},
    {"id": "kind", "type": "STRING", "required": False},
    {"id": "is_vm", "type": "BOOL", "defaults": False},
]


@pytest.mark.parametrize(
    ("given", "enabled"),
    [({}, False), ({"kind": "x", "is_vm": True}, True), ({"is_vm": True}, False), ({"kind": "x"}, False)],
)
def test_hidden_inputs_are_not_asked_for(given: dict[str, Any], enabled: bool) -> None:
    """An input is asked for when what it depends on is given and its condition holds (INP-20)."""
    declared = declare(*(DEPENDENT[1:] + DEPENDENT[:1]))
    means = InputMeans(render=render)
    vm = next(each for each in evaluate_inputs(declared, given, means) if each.input.id == "vm")
    assert vm.enabled is enabled
    assert (vm.error is not None) is enabled


def test_a_wrong_dependency_is_told_once() -> None:
    """An input that depends on a wrong one is not reported as missing too."""
    declared: list[dict[str, Any]] = [
        {"id": "a", "type": "INT"},
        {"id": "b", "type": "INT", "dependsOn": {"inputs": ["a"]}},
    ]
    with pytest.raises(InputError) as caught:
        resolve(declared, {"a": "x"})
    assert [each.input_id for each in caught.value.problems] == ["a"]


def test_circles_of_dependencies_are_found() -> None:
    """Inputs that wait for each other are named; a flow with them is refused, and resolving them ends."""
    declared = declare(
        {"id": "a", "type": "INT", "dependsOn": {"inputs": ["b"]}},
        {"id": "b", "type": "INT", "dependsOn": {"inputs": ["a"]}},
    )
    assert dependency_cycle(declared) == ["a", "b", "a"]
    assert resolve_inputs(declared, {"a": 1, "b": 1}, render) == {"a": None, "b": None}


@pytest.mark.parametrize(
    "declaration",
    [
        {"id": "x", "type": "STRING", "required": False, "defaults": "a"},
        {"id": "x", "type": "STRING", "prefill": "b", "defaults": "a"},
        {"id": "x", "type": "STRING", "validator": "("},
        {"id": "x", "type": "SELECT"},
        {"id": "x", "type": "SELECT", "values": ["a"], "expression": "b"},
        {"id": "x", "type": "DATE", "after": "tomorrow"},
        {"id": "x", "type": "ARRAY"},
        {"id": "x", "type": "URL"},
        {"id": "-x", "type": "STRING"},
        {"id": "x", "type": "STRING", "min": 1},
    ],
)
def test_wrong_declarations_are_refused(declaration: dict[str, Any]) -> None:
    """Contradictions, unknown types and properties, and bad patterns or bounds are errors of the flow."""
    with pytest.raises(ValidationError):
        declare(declaration)


def test_name_is_a_former_name_of_id() -> None:
    """`name` still gives the id; written out, it is `id`."""
    (declared,) = declare({"name": "x", "type": "STRING"})
    assert declared.model_dump(by_alias=True, exclude_unset=True) == {"id": "x", "type": "STRING"}


@pytest.mark.parametrize("value", [0, -0.0, None, "", "  ", "false", "False", False, "0"])
def test_what_is_false(value: object) -> None:
    """Zero, null, blanks and false are false (FLO-20); anything else is true."""
    assert not is_true(value)
    assert is_true("no")


SOME_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)
EVERY_TYPE: list[dict[str, Any]] = [
    *({"type": name} for name in ("STRING", "INT", "FLOAT", "BOOL", "BOOLEAN", "DATETIME", "DATE", "TIME")),
    *({"type": name} for name in ("DURATION", "FILE", "JSON", "YAML", "URI", "SECRET", "EMAIL")),
    {"type": "SELECT", "values": ["a"]},
    {"type": "MULTISELECT", "values": ["a"]},
    *({"type": "ARRAY", "itemType": name} for name in ("STRING", "INT", "DATE", "YAML")),
]


@generated(some.sampled_from(EVERY_TYPE), SOME_JSON)
def test_any_value_is_typed_or_refused(declaration: dict[str, Any], value: Any) -> None:
    """Whatever somebody sends, the answer is a value or a problem, never an exception."""
    means = InputMeans(render=render, encrypt=lambda text, name: f"<{name}>")
    (resolved,) = evaluate_inputs(declare({"id": "x", **declaration}), {"x": value}, means)
    if resolved.error is not None:
        assert resolved.error.startswith(("Invalid value for input `x`. Cause: ", "Missing required"))


def test_conditions_and_secrets_see_the_text_of_a_secret() -> None:
    """V22: a condition sees the text, as does another SECRET's default; a text made of one is encrypted, too."""
    seen: list[Any] = []

    def note(value: Any, variables: Mapping[str, Any]) -> Any:
        seen.append(variables["inputs"]["a"])
        return variables["inputs"]["a"]

    declared = declare(
        {"id": "a", "type": "SECRET"},
        {"id": "b", "type": "SECRET", "defaults": "{{ inputs.a }}"},
        {"id": "c", "type": "STRING", "defaults": "{{ inputs.a }}"},
        {"id": "d", "type": "STRING", "required": False, "dependsOn": {"condition": "{{ inputs.a }}"}},
    )
    values = resolve_inputs(
        declared, {"a": "abc"}, note, encrypt=lambda text, name: encrypted_value(text[::-1])
    )
    assert seen == ["abc", {"type": TYPE, "value": "cba"}, "abc"]
    assert values == {
        "a": encrypted_value("cba"),
        "b": encrypted_value("cba"),
        "c": encrypted_value("cba"),
        "d": None,
    }


@pytest.mark.parametrize("kind", ["STRING", "SECRET", "JSON", "YAML"])
def test_people_cannot_give_encrypted_values(kind: str) -> None:
    """Else whoever sees one could have it decrypted by a flow; subflows may, as flows are trusted with their inputs."""
    declared = declare({"id": "x", "type": kind})
    given = {"x": encrypted_value("cba")}
    means = InputMeans(render=render, encrypt=lambda text, name: encrypted_value(text[::-1]))
    (refused,) = evaluate_inputs(declared, given, means)
    assert "an encrypted value cannot be given" in (refused.error or "")
    means = InputMeans(render=render, encrypt=means.encrypt, decrypt=lambda value: f'"{value["value"]}"')
    (taken,) = evaluate_inputs(declared, given, means)
    assert taken.error is None
