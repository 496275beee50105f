"""Templates as callers use them: values, containers, errors, functions of the caller, truthiness."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import flowtide.expressions
from flowtide.errors import ExpressionError, ExpressionSyntaxError, ExpressionUndefinedError, FlowtideError
from flowtide.expressions import Scope, compile_template, render_value, truthy
from flowtide.expressions.filters import FILTERS
from flowtide.expressions.functions import FUNCTIONS
from flowtide.expressions.predicates import PREDICATES


def test_exported_names_are_pinned() -> None:
    """What other packages may import changes only together with this test."""
    assert set(flowtide.expressions.__all__) == {
        "IO_FUNCTIONS",
        "UNREPEATABLE_FUNCTIONS",
        "Limits",
        "Path",
        "Ref",
        "References",
        "Scope",
        "Template",
        "compile_template",
        "parse_ion",
        "references_of",
        "render_value",
        "set_cache_size",
        "truthy",
    }


def test_templates_are_cached_by_source() -> None:
    """The same source is compiled once."""
    assert compile_template("{{ 1 }} cached") is compile_template("{{ 1 }} cached")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ [1, 'a'] }}", [1, "a"]),
        ("{{ x }}", {"k": 1}),
        ("{{ x }}\n", {"k": 1}),
        ("{{ 1 }}", 1),
        ("{{ null }}", None),
        ("{{ 'a' }}b", "ab"),
        ("text", "text"),
        ("", ""),
        ("{% set y = [1] %}{{ y }}", [1]),
        ("{% if true %}{{ x.k }}{% endif %}", 1),
    ],
)
def test_typed_rendering_gives_the_object(source: str, value: Any) -> None:
    """A template that is one expression evaluates to its value (C R07)."""
    assert compile_template(source).evaluate(Scope({"x": {"k": 1}})) == value


def test_typed_rendering_refuses_a_mixture() -> None:
    """Text and other values in one typed rendering are an error."""
    with pytest.raises(ExpressionError, match="Tried to add a list to a string"):
        compile_template("a {{ [1] }}").evaluate(Scope({}))


def test_containers_keep_their_order_and_scalars() -> None:
    """Keys and values of maps and the items of lists are rendered, other scalars pass (C R08)."""
    value = {"b{{ n }}": ["{{ n }}", 1, None], "a": {"x": True, "y": "{{ n }}"}}
    scope = Scope({"n": 5})
    assert list(render_value(value, scope).items()) == [("b5", ["5", 1, None]), ("a", {"x": True, "y": "5"})]
    assert render_value(value, scope, typed=True)["b5"] == [5, 1, None]


def test_dates_print_as_java_prints_them() -> None:
    """Zero seconds are dropped and the offset is kept (C R06)."""
    moment = datetime(2013, 9, 8, 16, 19, tzinfo=timezone(timedelta(hours=2)))
    scope = Scope({"d": moment, "l": [moment], "u": datetime(2020, 1, 2, 3, 4, 5, 6000, tzinfo=UTC)})
    assert compile_template("{{ d }} {{ l }} {{ u }}").render(scope) == (
        '2013-09-08T16:19+02:00 ["2013-09-08T16:19+02:00"] 2020-01-02T03:04:05.006Z'
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ missing }}",
        "{{ x.missing }}",
        "{{ x.list[9] }}",
        "{{ x.none.y }}",
        "{{ missing is empty }}",
        "{{ missing is null }}",
        "{% if missing %}{% endif %}",
        "{{ missing ? 1 : 2 }}",
        "{{ missing ?? x.missing ?? raise }}",
    ],
)
def test_what_is_missing_is_an_error(source: str) -> None:
    """Undefined is not null: only `??`, `???`, `is defined` and `default` swallow it (C R05)."""
    with pytest.raises(ExpressionUndefinedError, match="Unable to find `"):
        compile_template(source).render(Scope({"x": {"list": [1], "none": None}}))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ 1 +", "never closed"),
        ("{{ 'a }}", "no closing"),
        ("{% if x %}", "has no {% endif %}"),
        ("{% elif %}", "write `elseif`"),
        ("{% extends 'a' %}", "no store of templates|no parent here"),
        ("{{ x | uper }}", "did you mean `upper`"),
        ("{{ x is emty }}", "did you mean `empty`"),
        ("{{ x | date(form='a') }}", "named argument does not exist: form"),
        ("{{ x | slice(1, 2, 3) }}", "at most 2"),
        ("{{ x | chunk }}", "needs the argument `size`"),
        ("{{ [1, 2][0] }}", "parentheses"),
        ("{# open", "raw"),
        ("{{ parent() }}", "no"),
    ],
)
def test_wrong_syntax_is_refused_when_compiled(source: str, message: str) -> None:
    """A text that is no template says what is wrong, and where, before anything is rendered."""
    with pytest.raises(ExpressionSyntaxError, match=message) as caught:
        compile_template(source)
    assert (caught.value.line, caught.value.source) == (1, source)


def test_an_error_names_line_column_and_fix() -> None:
    """The message shows the place, the line with a mark, and brackets for a hyphenated name."""
    source = "first\n  {{ outputs.a-b }}"
    with pytest.raises(ExpressionError) as caught:
        compile_template(source).render(Scope({"outputs": {"a": 1}}))
    assert (caught.value.line, caught.value.column) == (2, 16)
    assert "use outputs['a-b']" in caught.value.message
    assert caught.value.message.endswith("\n    {{ outputs.a-b }}\n" + " " * 17 + "^")


@pytest.mark.parametrize(
    "source",
    [
        "{{ x < 'a' }}",
        "{{ [1] * 2 }}",
        "{{ 1 / 0 }}",
        "{{ 5 contains 5 }}",
        "{{ 1 isIn 'abc' }}",
        "{{ null and true }}",
        "{% if [] %}{% endif %}",
        "{% for i in 5 %}{% endfor %}",
        "{{ 9223372036854775807 + 1 }}",
        "{{ 'x' | abs }}",
        "{{ 'text' | jq('.') }}",
        "{{ 'abc' | date }}",
        "{{ fromJson('{') }}",
        "{{ yaml('[') }}",
        "{{ 'a' | regexMatch('(') }}",
        "{{ 1 is json }}",
        "{{ secret('X') }}",
        "{{ nowhere() }}",
        "{{ range(1, 2, 0) }}",
        "{{ 'a' | slice(2, 1) }}",
        "{{ max() }}",
    ],
)
def test_wrong_values_are_refused_with_a_place(source: str) -> None:
    """A value that an operator, filter or function cannot take is an ExpressionError with its column."""
    with pytest.raises(ExpressionError) as caught:
        compile_template(source).render(Scope({"x": 1}))
    assert caught.value.line == 1
    assert caught.value.column > 1


def test_messages_do_not_quote_values() -> None:
    """What fails may be a secret, so its text stays out of the message."""
    for source in (
        "{{ fromJson(s) }}",
        "{{ s | date }}",
        "{{ s | number }}",
        "{{ s | jq('.') }}",
        "{{ yaml(s) }}",
    ):
        with pytest.raises(ExpressionError) as caught:
            compile_template(source).render(Scope({"s": "{hunter2: [}"}))
        assert "hunter2" not in str(caught.value)


def test_functions_of_the_caller_come_first_and_secrets_are_told() -> None:
    """The scope's functions are called as written; on_secret sees what secret() gave."""
    seen: list[str] = []
    scope = Scope(
        {},
        functions={"secret": lambda key, subkey=None: f"{key}-{subkey}", "now": lambda: "mine"},
        on_secret=seen.append,
    )
    assert compile_template("{{ secret('A', subkey='B') }} {{ now() }}").render(scope) == "A-B mine"
    assert seen == ["A-B"]


def test_errors_of_the_callers_functions_get_a_place() -> None:
    """A FlowtideError from a function becomes an ExpressionError, with its cause kept."""

    def read(path: str) -> str:
        raise FlowtideError("no such file")

    with pytest.raises(ExpressionError, match=r"read\(\): no such file at line 1, column 4") as caught:
        compile_template("{{ read('x') }}").render(Scope({}, functions={"read": read}))
    assert isinstance(caught.value.__cause__, FlowtideError)


def test_recursive_rendering_goes_on_until_nothing_changes() -> None:
    """With `recursive` results are rendered again, raw blocks are not, and 100 passes are the end (C R02, R03)."""
    variables = {"third": "{{ second }}", "second": "{{ first }}", "first": 1, "a": "{{ b }}", "b": "{{ a }}"}
    scope = Scope(variables, recursive=True)
    assert compile_template("{{ third }}{% raw %}{{ x }}{% endraw %}").render(scope) == "1{{ x }}"
    assert compile_template("{{ third }}").render(Scope(variables)) == "{{ second }}"
    with pytest.raises(ExpressionError, match="Too many rendering attempts"):
        compile_template("{{ a }}").render(scope)


def test_constant_templates_are_known() -> None:
    """Only text is constant."""
    assert compile_template("a {# b #} c").is_constant
    assert not compile_template("{{ 1 }}").is_constant


@pytest.mark.parametrize("value", ["0", "-0", "null", "", "false", None, 0, False, 0.0, " \n", "false\n"])
def test_false_conditions(value: Any) -> None:
    """FLO-20: these are false."""
    assert not truthy(value)


@pytest.mark.parametrize("value", ["true", "1", "no", "False!", 1, True, "[]"])
def test_true_conditions(value: Any) -> None:
    """FLO-20: everything else is true."""
    assert truthy(value)


def test_the_reference_page_names_everything() -> None:
    """Each filter, function and test stands on the reference page."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "expressions.md").read_text(encoding="utf-8")
    for name in (*FILTERS, *FUNCTIONS, *PREDICATES):
        assert re.search(rf"`{name}[`(]", page), name
