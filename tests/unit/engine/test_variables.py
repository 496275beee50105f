"""What of the root variables is handed to workers."""

from __future__ import annotations

from flowtide.engine.variables import selected
from flowtide.expressions import references_of


def test_with_what_a_subflow_gave_goes_whose_execution_it_was() -> None:
    """FIL-04, page 474: its worker reads the files that the outputs of a subflow name, in a loop too, by that id."""
    told = {"executionId": "e7", "state": "SUCCESS", "outputs": {"file": "kestra:///a", "other": "b"}}
    kept = {"executionId": "e7", "state": "SUCCESS", "outputs": {"file": "kestra:///a"}}
    roots = {
        "outputs": {"call": told, "loop": {"a": told, "b": told}, "plain": {"value": 1}},
        "taskrun": {"value": "b"},
    }
    text = "{{ outputs.call.outputs.file }}{{ outputs.loop[taskrun.value].outputs.file }}{{ outputs.plain.value }}"
    assert selected(roots, references_of(text))["outputs"] == {
        "call": kept,
        "loop": {"b": kept},
        "plain": {"value": 1},
    }
