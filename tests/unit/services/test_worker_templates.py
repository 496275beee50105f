"""Which templates may be rendered on the event loop, and rendering with types."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.expressions import Scope
from flowtide.services.worker.templates import is_cheap, render_typed


@pytest.mark.parametrize(
    "template",
    [
        "plain {text} }}",
        "{{ inputs.a }}-{{ outputs['x-y'].b[0] ?? 'none' }}",
        "{{- a ? 'b }}' : \"c\" -}}",
        "{{ a | upper | default('x') }}",
        "{{ execution.startDate | date('yyyy-MM-dd') }}",
        {"a": ["{{ b }}", 1, None]},
    ],
)
def test_cheap(template: Any) -> None:
    """References, operators and a few linear functions."""
    assert is_cheap(template)


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in b %}{% endfor %}",
        "{{ range(1, 9) }}",
        "{{ 1..900000 }}",
        "{{ secret('A') }}",
        "{{ render(vars.a) }}",
        "{{ a | jq('.') }}",
        "{{ a matches '(a+)+' }}",
        "{{ a | replace({'a': 'b'}) }}",
        "{{ unfinished",
        "{{ '" + "x" * 20_000 + "' }}",
        ["fine", {"deep": "{{ read('x') }}"}],
        {"{{ read('x') }}": 1},
    ],
)
def test_not_cheap(template: Any) -> None:
    """Loops, ranges, patterns, input and output, recursion, and whatever is not recognised."""
    assert not is_cheap(template)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ n }}", 5),
        (" {{ l }} ", [1]),
        ("PT{{ n }}S", "PT5S"),
        ("{{ n }}{{ n }}", "55"),
        ({"{{ n }}": ["{{ b }}", "x{{ b }}"]}, {"5": [True, "xtrue"]}),
        (7, 7),
    ],
)
def test_types_are_kept_for_single_expressions(template: Any, value: Any) -> None:
    """A text that is one expression becomes its value; any other text is text."""
    assert render_typed(template, Scope({"n": 5, "l": [1], "b": True})) == value
