"""Templates that the grammar makes: whatever they say, only an ExpressionError comes out, and they end.

Bounded for the daily run; FLOWTIDE_FUZZ_EXAMPLES=10000 (`make fuzz`) looks longer.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtide.errors import ExpressionError
from flowtide.expressions import Limits, Scope, compile_template, references_of
from flowtide.expressions.filters import FILTERS
from flowtide.expressions.functions import FUNCTIONS

EXAMPLES = int(os.environ.get("FLOWTIDE_FUZZ_EXAMPLES", "250"))
VARIABLES: dict[str, Any] = {
    "s": 'a text, with: {"json": [1]}',
    "n": 42,
    "f": 2.5,
    "b": True,
    "z": None,
    "l": [3, 1, 2, "x", None],
    "m": {"a": 1, "b-c": {"d": [1, 2]}, "type": "t"},
    "d": "2024-02-29T23:59:59.123456Z",
    "t": datetime(2024, 2, 29, tzinfo=UTC),
    "again": "{{ again }} {{ s }}",
}
_OPERATORS = [
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "and",
    "or",
    "~",
    "??",
    "???",
    "..",
    "contains",
    "isIn",
]
_TESTS = ["defined", "empty", "null", "even", "odd", "iterable", "json", "map"]
_PATTERNS = [
    "yyyy-MM-dd",
    "EEEE w Y",
    "HH:mm:ss.SSSXXX",
    "#,##0.00",
    "0.###E0",
    "%s %d %,.2f",
    "(a+)+$",
    "\\\\d{1,3}+",
    "[",
    "'",
    "",
]


def limited() -> Scope:
    """A scope whose clock goes on at each look, and which allows little."""
    seconds = count(0, 0.05)
    limits = Limits(
        output_characters=20_000,
        allocated_characters=200_000,
        elements=2_000,
        regex_timeout=timedelta(milliseconds=50),
        passes=5,
        nesting=4,
    )
    return Scope(VARIABLES, limits=limits, monotonic=lambda: next(seconds), now=lambda: VARIABLES["t"])


def quoted(text: str) -> str:
    """A literal."""
    return "'" + text.replace("'", "\\'") + "'"


_LEAVES = st.one_of(
    st.sampled_from([*VARIABLES, "missing", "loop", "_context"]),
    st.sampled_from(
        ["m.a", "m['b-c'].d[1]", "m.b-c", "l[0]", "l.size", "s.length", "missing.x.y", "l[n]", "m[s]"]
    ),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: f"{number:.6f}"),
    st.sampled_from(_PATTERNS).map(quoted),
    st.text(st.characters(exclude_characters="\\"), max_size=6).map(quoted),
    st.sampled_from(["true", "null", "[]", "{}", '"#{s}"', "'{{ n }}'"]),
)


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arguments = st.lists(inner, max_size=3).map(", ".join)
    return st.one_of(
        st.tuples(inner, st.sampled_from(_OPERATORS), inner).map(" ".join),
        st.tuples(inner, st.sampled_from(sorted(FILTERS)), arguments).map(
            lambda each: f"({each[0]}) | {each[1]}({each[2]})"
        ),
        st.tuples(inner, st.sampled_from(sorted(FILTERS))).map(" | ".join),
        st.tuples(st.sampled_from(sorted(FUNCTIONS)), arguments).map(lambda each: f"{each[0]}({each[1]})"),
        st.tuples(inner, st.sampled_from(["is", "is not"]), st.sampled_from(_TESTS)).map(" ".join),
        st.tuples(inner, inner, inner).map(lambda each: f"({each[0]} ? {each[1]} : {each[2]})"),
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
        st.tuples(inner, inner).map(lambda each: f"{{{each[0]}: {each[1]}}}"),
        st.tuples(inner, inner).map(lambda each: f"({each[0]})[{each[1]}]"),
        inner.map(lambda each: f"(not {each})"),
        inner.map(lambda each: f"(-{each})"),
    )


EXPRESSIONS = st.recursive(_LEAVES, _grown, max_leaves=8)


def _statements(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(EXPRESSIONS, inner, inner).map(
            lambda each: f"{{% if {each[0]} %}}{each[1]}{{% else %}}{each[2]}{{% endif %}}"
        ),
        st.tuples(EXPRESSIONS, inner).map(
            lambda each: f"{{% for x in {each[0]} %}}{each[1]}{{{{ x }}}}{{% endfor %}}"
        ),
        st.tuples(EXPRESSIONS, inner).map(lambda each: f"{{% set s = {each[0]} %}}{each[1]}"),
        st.tuples(st.sampled_from(sorted(FILTERS)), inner).map(
            lambda each: f"{{% filter {each[0]} %}}{each[1]}{{% endfilter %}}"
        ),
        st.tuples(inner, EXPRESSIONS).map(
            lambda each: f"{{% macro f(p) %}}{each[0]}{{% endmacro %}}{{{{ f({each[1]}) }}}}"
        ),
        inner.map(lambda each: f"{{% block 'k' %}}{each}{{% endblock %}}{{{{ block('k') }}}}"),
        inner.map(lambda each: f"{{% raw %}}{each}{{% endraw %}}"),
    )


TEMPLATES = st.recursive(
    st.one_of(EXPRESSIONS.map(lambda each: f"{{{{ {each} }}}}"), st.text(max_size=4)),
    _statements,
    max_leaves=5,
)
bounded = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@bounded
@given(EXPRESSIONS)
def test_expressions(expression: str) -> None:
    """An expression gives a value of the language, or an ExpressionError; and the same names as references."""
    source = f"{{{{ {expression} }}}}"
    with suppress(ExpressionError):
        references_of(source)
    with suppress(ExpressionError):
        compile_template(source).evaluate(limited())


@bounded
@given(TEMPLATES)
def test_templates(source: str) -> None:
    """A template gives a text within the limits, or an ExpressionError."""
    text = ""
    with suppress(ExpressionError):
        text = compile_template(source).render(limited())
    assert len(text) <= 20_000
