"""Small changes to sources: the rest of the text stays as it was."""

from __future__ import annotations

import pytest
import yaml

from flowtide.model.source_edits import with_disabled, with_task


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("id: a\n", "id: a\ndisabled: true\n"),
        ("id: a", "id: a\ndisabled: true\n"),
        ("# ä\nid: a\ndisabled: false # why\ntasks: []\n", "# ä\nid: a\ndisabled: true # why\ntasks: []\n"),
        ("text: |+\n  x\n\n", "text: |+\n  x\n\ndisabled: true\n"),
        ("{id: a}", "{disabled: true, id: a}"),
        ("id: a\n...\n", "disabled: true\nid: a\n...\n"),
        ("  id: a\n  b: c\n", "  disabled: true\n  id: a\n  b: c\n"),
    ],
)
def test_a_flow_is_switched_off(before: str, after: str) -> None:
    """Where it was on or said nothing, whatever its style; it can be switched on again."""
    assert with_disabled(before, True) == after
    assert yaml.safe_load(with_disabled(after, False))["disabled"] is False


SOURCE = """# head
id: flow
inputs: [{id: one, type: STRING}]
tasks:
  - id: one  # first
    type: T
    script: |
      # a comment of the script

  # about two
  - {id: two, type: T}
  - id: loop
    type: L
    tasks:
    - id: three
      type: T
# tail
"""


def test_a_task_is_replaced_where_it_stands() -> None:
    """Comments around it stay, inputs of the same id are no tasks, and nested ones are found."""
    changed = with_task(SOURCE, "one", {"id": "one", "type": "T", "n": 1})
    assert "inputs: [{id: one, type: STRING}]" in changed
    assert "  - id: one\n    type: T\n    n: 1\n" in changed
    assert "  # about two\n  - {id: two, type: T}" in changed
    nested = with_task(SOURCE, "three", {"id": "three", "type": "T", "text": "a\nb\n"})
    assert nested.endswith("# tail\n")
    assert yaml.safe_load(nested)["tasks"][2]["tasks"][0]["text"] == "a\nb\n"
    flow_style = with_task(SOURCE, "two", {"id": "two", "type": "T", "list": [1, {"a": "ä"}]})
    assert "  - {id: two, type: T, list: [1, {a: ä}]}\n" in flow_style


def test_a_script_that_ends_with_a_comment_is_replaced_whole() -> None:
    """What looks like a comment in a text belongs to the text."""
    source = "tasks:\n- id: a\n  type: T\n  script: |\n    x\n    # y\n- id: b\n  type: T\n"
    task = {"id": "a", "type": "T", "script": "z\n"}
    assert yaml.safe_load(with_task(source, "a", task))["tasks"] == [task, {"id": "b", "type": "T"}]


def test_a_task_in_a_case_that_is_a_number_is_replaced() -> None:
    """Keys of maps need not be texts."""
    source = "tasks:\n- id: s\n  type: S\n  cases:\n    1:\n    - id: a\n      type: T\n"
    task = {"id": "a", "type": "U"}
    assert yaml.safe_load(with_task(source, "a", task))["tasks"][0]["cases"] == {1: [task]}


def test_an_unknown_task_is_said() -> None:
    """Also one that only an input is called."""
    with pytest.raises(LookupError):
        with_task("inputs: [{id: a, type: STRING}]\ntasks: [{id: b, type: T}]", "a", {"id": "a", "type": "T"})
