"""What a template is found to need: never less than it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowtide.errors import ExpressionError
from flowtide.expressions import Ref, Scope, compile_template, references_of

VALUE = Ref(("taskrun", "value"))
TASK_VALUE = ("taskrun", "value")


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        ("no template", set()),
        ("{{ outputs.concatenate.values.message }}", {("outputs", "concatenate", "values", "message")}),
        ("{{ outputs['a-b'].x }}", {("outputs", "a-b", "x")}),
        ("{{ outputs.sib[taskrun.value].v }}", {("outputs", "sib", VALUE, "v"), TASK_VALUE}),
        (
            "{{ outputs.a[outputs.b[taskrun.value]].v }}",
            {("outputs", "a"), ("outputs", "b", VALUE), TASK_VALUE},
        ),
        ("{{ outputs.list[0].v }}", {("outputs", "list")}),
        ("{{ outputs.list['x' ~ flow.id] }}", {("outputs", "list"), ("flow", "id")}),
        ("{{ outputs.files.size }}", {("outputs", "files")}),
        ("{{ outputs.files.get('a') }}", {("outputs", "files")}),
        (
            "{{ currentEachOutput(outputs.x).v }}",
            {("outputs", "x", VALUE), TASK_VALUE, ("parents",)},
        ),
        (
            "{{ trigger.date ?? (execution.startDate | date('x')) }}",
            {("trigger", "date"), ("execution", "startDate")},
        ),
        ("{% set o = outputs %}{{ o.a.b }}", {("outputs",)}),
        (
            "{% for x in outputs.list %}{{ x.y }}{{ loop.index }}{% endfor %}{{ x }}",
            {("outputs", "list"), ("x",)},
        ),
        ("{% if a %}{% set x = 1 %}{% endif %}{{ x }}", {("a",), ("x",)}),
        ("{% if a %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", {("a",)}),
        ("{{ x }}{% set x = 1 %}{{ x }}", {("x",)}),
        ("{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m(outputs.z) }}", {("outputs", "z")}),
        ("{{ a is defined and b | default(c) }}", {("a",), ("b",), ("c",)}),
        (
            '{{ "#{inputs.x}" }}{{ [inputs.y, {"k": inputs.z}] }}',
            {("inputs", "x"), ("inputs", "y"), ("inputs", "z")},
        ),
        (
            "{% filter replace({'a': inputs.q}) %}{{ inputs.w }}{% endfilter %}",
            {("inputs", "q"), ("inputs", "w")},
        ),
        ("{{ iterationOutput('t') }}", {("outputs", "t"), ("taskrun",), ("task",), ("parents",)}),
    ],
)
def test_paths(source: str, paths: set[tuple[str | Ref, ...]]) -> None:
    """The paths of a template are those that it reads from root variables; locals are none."""
    assert compile_template(source).references == paths


@pytest.mark.parametrize(
    "source",
    [
        "{{ render(vars.x) }}",
        "{{ printContext() }}",
        "{{ renderOnce('a') }}",
        "{% macro m(c) %}{% endmacro %}{{ m(_context) }}",
    ],
)
def test_unknowable_needs_are_dynamic(source: str) -> None:
    """Whatever may read any variable makes the needs of a template dynamic."""
    assert references_of({"a": ["plain", source]}).dynamic


def test_nested_values_are_joined() -> None:
    """references_of is the union over all strings of a value, keys of maps included."""
    found = references_of({"{{ a }}": ["{{ b.c }}", {"d": "{{ secret('K') }}{{ now() }}"}], "n": 1})
    assert found.paths == {("a",), ("b", "c")}
    assert found.functions == {"secret", "now"}
    assert not found.dynamic


class Recorder(Mapping[str, Any]):
    """A map that answers every key with another one and notes the paths read."""

    def __init__(self, reads: list[tuple[str, ...]], path: tuple[str, ...] = ()) -> None:
        self.reads = reads
        self.path = path

    def __getitem__(self, key: str) -> Recorder:
        path = (*self.path, key)
        self.reads.append(path)
        return Recorder(self.reads, path)

    def __iter__(self) -> Iterator[str]:
        return iter(("k",))

    def __len__(self) -> int:
        return 1


_NAMES = st.sampled_from(["outputs", "inputs", "x", "loop", "a"])
_PATHS = st.builds(
    lambda root, rest: ".".join([root, *rest]),
    _NAMES,
    st.lists(st.sampled_from(["a", "b", "size"]), max_size=3),
)
_EXPRESSIONS = st.recursive(
    _PATHS,
    lambda inner: st.one_of(
        st.builds("({} ?? {})".format, inner, inner),
        st.builds("({} is null ? {} : {})".format, inner, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("({} | default({}))".format, inner, inner),
    ),
    max_leaves=6,
)
_BODIES = st.recursive(
    st.one_of(
        st.builds("{{{{ {} is null }}}}".format, _EXPRESSIONS),
        st.builds("{{% set x = {} %}}".format, _EXPRESSIONS),
    ),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("{{% for x in [{}] %}}{}{{% endfor %}}".format, _PATHS, inner),
        st.builds("{{% if {} is null %}}{}{{% else %}}{}{{% endif %}}".format, _PATHS, inner, inner),
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(_BODIES)
def test_no_read_is_missed(source: str) -> None:
    """Every path that a rendering reads is covered: by a path that is its prefix, or on the way to one."""
    template = compile_template(source)
    reads: list[tuple[str, ...]] = []
    with suppress(ExpressionError):
        template.render(Scope(Recorder(reads)))
    for read in reads:
        assert any(read[: len(path)] == path or path[: len(read)] == read for path in template.references), (
            read
        )
