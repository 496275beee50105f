"""The deprecated `outputs` of Subflow: evaluated by the child, where the operator lets them (SUB-03, G06)."""

from __future__ import annotations

from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld
from tests.language import REGISTRY

_PARENT = """
id: parent
namespace: test
tasks:
  - {id: sub, type: Subflow, namespace: test, flowId: child, outputs: {final: "{{ outputs.inner.value }}!"}}
"""
_CHILD = """
id: child
namespace: test
tasks: [{id: inner, type: Say}]
"""


def _outputs(parent: str, child: str, *, enabled: bool) -> tuple[FlowWorld, dict[str, object]]:
    world = FlowWorld([parent, child], REGISTRY, subflow_outputs=enabled)
    execution_id = world.start("parent")
    world.run()
    outputs: dict[str, object] = world.executions[execution_id].outputs["sub"]
    return world, outputs


def test_the_child_evaluates_them() -> None:
    """G06: with the child's variables; the child itself has no outputs by that."""
    world, outputs = _outputs(_PARENT, _CHILD, enabled=True)
    assert outputs["outputs"] == {"final": "inner!"}
    child = outputs["executionId"]
    assert isinstance(child, str)
    assert world.outputs(child) is None


def test_the_outputs_of_the_flow_win() -> None:
    """G06: the new way is taken where the flow declares outputs."""
    child = f"{_CHILD}outputs: [{{id: own, type: STRING, value: mine}}]\n"
    assert _outputs(_PARENT, child, enabled=True)[1]["outputs"] == {"own": "mine"}


def test_they_have_no_effect_unless_enabled() -> None:
    """SUB-03: which a line of the log says."""
    world, outputs = _outputs(_PARENT, _CHILD, enabled=False)
    assert outputs["outputs"] == {}
    assert any("`outputs` has no effect" in line for line in world.messages())


def test_what_cannot_be_evaluated_fails_the_child() -> None:
    """And the parent with it; the reason names the place."""
    world, outputs = _outputs(_PARENT.replace("outputs.inner", "outputs.none"), _CHILD, enabled=True)
    assert outputs["state"] == State.FAILED
    assert any("outputs that the parent execution asks for" in line for line in world.messages())
