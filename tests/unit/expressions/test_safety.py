"""No template reaches Python, never ends, or takes all memory; arbitrary text gives ExpressionErrors at most."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtide.errors import ExpressionError
from flowtide.expressions import Limits, Scope, compile_template


class Host:
    """An object that templates must not look into."""

    secret = "host"


VARIABLES: dict[str, Any] = {"s": "text", "m": {"a": 1}, "l": [1, 2], "n": 1, "host": Host(), "z": None}


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__ }}",
        "{{ s.__class__ }}",
        "{{ s['__class__'] }}",
        "{{ s.format(1) }}",
        "{{ s.format }}",
        "{{ m.__class__.__mro__ }}",
        "{{ m.items() }}",
        "{{ m.pop('a') }}",
        "{{ l.append(1) }}",
        "{{ host.secret }}",
        "{{ host.secret() }}",
        "{{ host }}",
        "{{ n.real }}",
        "{{ n.__add__(1) }}",
        "{{ open('/etc/passwd') }}",
        "{{ __import__('os') }}",
        "{{ eval('1') }}",
        "{{ run }}{{ scope }}{{ variables }}",
        "{{ m | jq('env') }}",
        "{{ m | jq('$ENV.PATH') }}",
        "{{ m | jq('\"\\(env)\"') }}",
        "{{ m | jq('input') }}",
        "{{ m | jq('import \"a\" as a; .') }}",
        "{{ yaml('!!python/object/apply:os.system [id]') }}",
    ],
)
def test_escapes_are_refused(source: str) -> None:
    """Attributes, methods, names and tags beyond the language are errors."""
    with pytest.raises(ExpressionError):
        compile_template(source).render(Scope(VARIABLES))


def ticking() -> Callable[[], float]:
    """A clock that goes on by a tenth of a second whenever it is read."""
    seconds = count(0, 0.1)
    return lambda: next(seconds)


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in 1..999999 %}{% for b in 1..999999 %}{% endfor %}{% endfor %}",
        "{{ 1..99999999 }}",
        "{% set x = 'aaaaaaaaaaaaaaaa' %}{% for i in 1..60 %}{% set x = x ~ x %}{% endfor %}",
        "{% set x = 'aaaaaaaaaaaaaaaa' %}{% for i in 1..60 %}{% set x = x + x %}{% endfor %}",
        "{% set x = [1] %}{% for i in 1..60 %}{% set x = [x, x] %}{% endfor %}{{ x }}",
        "{% set x = [1] %}{% for i in 1..60 %}{% set x = x + x %}{% endfor %}",
        "{% set x = {'a': 1} %}{% for i in 1..60 %}{% set x = {'a': x, 'b': x} %}{% endfor %}{{ x }}",
        "{% set x = [1] %}{% for i in 1..60 %}{% set x = x | merge(x) %}{% endfor %}",
        "{% set x = 'a' %}{% for i in 1..30 %}{% set x = x | replace({'a': 'aaaaaaaaaaaaaaaa'}) %}{% endfor %}",
        "{% set x = 3 %}{% for i in 1..99 %}{% set x = x * x %}{% endfor %}",
        "{{ (1..100000) contains (1..100000) }}",
        "{% for i in 1..99999 %}{% set x = 1..99999 | rsort %}{% endfor %}",
        "{{ 'a' | regexMatch('(((a{999}){999}){999}){999}') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
        "{% block 'b' %}{{ block('b') }}{% endblock %}",
        "{{ render(again) }}",
        "{{ 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!' | regexMatch('(a|a|aa)+b$') }}",
        "{{ 'a' | indent(99999999) }}",
        "{{ yaml(bomb) }}",
        "{{ fromJson(deep) }}",
        "{{ " + "(" * 500 + "1" + ")" * 500 + " }}",
        "{{ " + "not " * 500 + "true }}",
        "{{ 1" + " + 1" * 500 + " }}",
        "{% if true %}" * 300,
        "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
    ],
)
def test_endless_and_greedy_templates_end(source: str) -> None:
    """Whatever would run or grow without end is stopped with an ExpressionError."""
    bomb = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1},*a{i - 1}]\n" for i in range(1, 60))
    scope = Scope(
        {"again": "{{ render(again) }}{{ render(again) }}", "bomb": bomb, "deep": "[" * 100_000},
        limits=Limits(regex_timeout=timedelta(milliseconds=50)),
        monotonic=ticking(),
    )
    with pytest.raises(ExpressionError):
        compile_template(source).render(scope)


@pytest.mark.parametrize(
    "program", ["last(range(1e18))", "[range(1e12)]", '"a" * 2000000000 | length', "repeat(1)"]
)
def test_jq_programs_end(program: str) -> None:
    """A jq program that would run for ever is stopped by its time or memory limit."""
    scope = Scope({"m": {}}, limits=Limits(time_budget=timedelta(seconds=1)))
    with pytest.raises(ExpressionError):
        compile_template("{{ m | jq('" + program + "') }}").render(scope)


def test_output_is_limited() -> None:
    """Text beyond the limit is refused, whether it is printed in a loop or at once."""
    scope = Scope({"s": "x" * 100}, limits=Limits(output_characters=1000))
    for source in ("{% for i in 1..20 %}{{ s }}{% endfor %}", "{{ s }}" * 20):
        with pytest.raises(ExpressionError, match="longer than 1000"):
            compile_template(source).render(scope)


_WORDS = """
{{ }} {% %} {# #} if else elseif endif for in endfor set = filter endfilter raw endraw macro endmacro block
endblock not is and or ?? ??? .. ~ | + - * / % ( ) [ ] { } , : ? . x s m l n z 1 2.5 'a' "b" "#{ true null
upper date jq default first join split replace render range loop contains isIn defined empty \\
"""
_FRAGMENTS = st.sampled_from([*_WORDS.split(), "\n"])


@settings(max_examples=400, deadline=None)
@given(st.lists(_FRAGMENTS, max_size=25).map(" ".join))
def test_words_of_the_language_in_any_order(source: str) -> None:
    """Any sequence of the language's words compiles and renders, or raises an ExpressionError."""
    with suppress(ExpressionError):
        compile_template(source).render(Scope(VARIABLES, monotonic=ticking()))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["@", "{{ @ }}", "{% @ %}", "{{ '@' | date('@') }}"]))
def test_arbitrary_text(text: str, frame: str) -> None:
    """Arbitrary text, bare or between delimiters, raises nothing but ExpressionError."""
    with suppress(ExpressionError):
        compile_template(frame.replace("@", text)).evaluate(Scope(VARIABLES))


_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_filters_and_functions_with_any_values(data: st.DataObject) -> None:
    """A filter, test or function given any values answers or raises an ExpressionError."""
    from flowtide.expressions.filters import FILTERS
    from flowtide.expressions.functions import FUNCTIONS

    variables = {name: data.draw(_VALUES) for name in "abc"}
    if data.draw(st.booleans()):
        name, (parameters, _) = data.draw(st.sampled_from(sorted(FILTERS.items(), key=lambda item: item[0])))
        needed = len(parameters.names) - len(parameters.defaults)
        source = f"{{{{ a | {name}({', '.join('bcabc'[:needed])}) }}}}"
    else:
        name, (parameters, _) = data.draw(
            st.sampled_from(sorted(FUNCTIONS.items(), key=lambda item: item[0]))
        )
        needed = len(parameters.names) - len(parameters.defaults)
        source = f"{{{{ {name}({', '.join('abcabc'[:needed])}) }}}}"
    with suppress(ExpressionError):
        compile_template(source).render(Scope(variables, monotonic=ticking()))
    operator = data.draw(
        st.sampled_from(["+", "-", "*", "/", "%", "==", "<", "~", "contains", "isIn", "..", "and", "??"])
    )
    with suppress(ExpressionError):
        compile_template("{{ a " + operator + " b }}").render(Scope(variables, monotonic=ticking()))
