"""Templates of blueprints: what is an argument, what is left as it is, and what becomes of the lines (page 108)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.errors import FlowInvalid
from flowtide.expressions import Scope, compile_template
from flowtide.model.blueprints import given_arguments, included_types, restored, template_of, without_extend

_SOURCE = """id: ingest
namespace: company.team

# what to fill in
extend:
  templateArguments:
    - id: domains
      displayName: Domains
      type: MULTISELECT
      values: [Online Shop, HR]
    - id: target
      type: SELECT
      values:
        - Postgres
        - Oracle

tasks:
  <% for domain in arg.domains %>
  - id: load_<< domain | slugify >>
    type: io.kestra.plugin.core.log.Log
    message: "{{ inputs.day }} {%raw%}{# x #} << arg.target | lower >> < domain | slugify >> a >> b <>"
  <% if arg.target == 'Oracle' %>
    disabled: true
  <% endif %>
  <% endfor %>
"""


def _filled(source: str, **arguments: Any) -> str:
    template = template_of(source)
    assert template is not None
    return restored(compile_template(template.expression).render(Scope({"arg": arguments})))


def test_a_template_is_filled_in() -> None:
    """Loops follow the order of the choice, `extend` is gone, `{{ }}` and what is no delimiter stay (E168 to E170)."""
    task = """  - id: load_{name}
    type: io.kestra.plugin.core.log.Log
    message: "{{{{ inputs.day }}}} {{%raw%}}{{# x #}} {target} < domain | slugify >> a >> b <>"
"""
    head = "id: ingest\nnamespace: company.team\n\n# what to fill in\ntasks:\n"
    assert _filled(_SOURCE, domains=["HR", "Online Shop"], target="Postgres") == (
        head + task.format(name="hr", target="postgres") + task.format(name="online-shop", target="postgres")
    )
    assert _filled(_SOURCE, domains=["HR"], target="Oracle") == (
        head + task.format(name="hr", target="oracle") + "    disabled: true\n"
    )


def test_an_argument_is_text_and_no_template() -> None:
    """Braces in a value go into the flow and are not evaluated."""
    source = "extend:\n  templateArguments:\n    - {id: a, type: STRING}\nmessage: << arg.a >>\n"
    assert _filled(source, a="{{ secret('X') }} << arg.a >>") == "message: {{ secret('X') }} << arg.a >>\n"


def test_what_is_no_template() -> None:
    """Without arguments there is nothing to fill in, whatever else `extend` says; `<<` is YAML's own then."""
    assert template_of("id: a\nx: << b >>\n") is None
    source = "id: a\nextend:\n  title: Mine\ntasks: []\n"
    assert template_of(source) is None
    assert without_extend(source) == ("extend:\n  title: Mine\n", "id: a\ntasks: []\n")


def test_wrong_arguments_are_refused_with_their_lines() -> None:
    """The declaration is that of inputs; its lines are those of the whole source."""
    source = "id: a\nnamespace: b\nextend:\n  templateArguments:\n    - id: x\n      type: STRNG\n"
    with pytest.raises(FlowInvalid) as refused:
        template_of(source)
    [violation] = refused.value.violations
    assert (violation.path, violation.line) == ("extend.templateArguments[0].type", 6)
    with pytest.raises(FlowInvalid, match=r"line 2, extend\.templateArguments: must be a list"):
        template_of("extend:\n  templateArguments: 3\n")
    with pytest.raises(FlowInvalid, match="is not YAML"):
        template_of("extend:\n  a: [\nid: x\n")


def test_types_are_found_without_reading_yaml() -> None:
    """Once each, in the order of the text."""
    assert included_types(_SOURCE * 2) == ["io.kestra.plugin.core.log.Log"]
    assert included_types("") == []


def test_arguments_as_clients_send_them() -> None:
    """Plain or wrapped."""
    assert given_arguments({"a": {"value": 1}, "b": 2, "c": {"value": 1, "x": 2}}) == {
        "a": 1,
        "b": 2,
        "c": {"value": 1, "x": 2},
    }
