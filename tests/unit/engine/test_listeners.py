"""The deprecated listeners of a flow: after its executions, on conditions, without consequence (FLW-16, G03)."""

from __future__ import annotations

import pytest

from flowtide.engine.plan import Plan
from flowtide.model.conditions.executions import ExecutionStatus
from flowtide.model.plugin import Registry
from flowtide.model.source import parse_flow
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY

_FLOW = """
id: flow
namespace: test
tasks: [{id: main, type: Say}]
listeners:
  - conditions: [{type: Status, in: [FAILED, WARNING]}]
    tasks:
      - id: both
        type: Parallel
        tasks: [{id: alert, type: Say}, {id: bad, type: Say}]
  - tasks: [{id: always, type: Say}]
afterExecution:
  - {id: after, type: Say}
"""
_WITH_CONDITION = Registry(
    {("condition", "Status"): ExecutionStatus, **{(kind, name): each for kind, name, each in REGISTRY}}
)


class _World(FlowWorld):
    """A world in which listeners run, or not."""

    listeners = True

    def plan(self, namespace: str, flow_id: str, revision: int | None = None) -> Plan | None:
        plan = super().plan(namespace, flow_id, revision)
        assert plan is not None
        return Plan(plan.flow, tenant=self.tenant, revision=plan.revision, listeners=self.listeners)


def _run(end: State, *, enabled: bool = True) -> tuple[State, list[str]]:
    ends = {"main": end, "bad": State.FAILED}
    world = _World(
        [_FLOW], _WITH_CONDITION, work=lambda job: Outcome(state=ends.get(job.task_id, State.SUCCESS))
    )
    world.listeners = enabled
    execution_id = world.start()
    world.run()
    assert world.executions[execution_id].is_closed
    return world.state(execution_id), world.runs(execution_id)


@pytest.mark.parametrize(
    ("end", "runs"),
    [
        (State.SUCCESS, ["listeners_0 SKIPPED"]),
        (State.FAILED, ["listeners_0 WARNING", "both FAILED", "alert SUCCESS", "bad FAILED"]),
    ],
)
def test_a_listener_runs_when_its_conditions_hold(end: State, runs: list[str]) -> None:
    """G03: on the final state; what becomes of it keeps neither the others back nor changes the execution."""
    rest = ["listeners_1 SUCCESS", "always SUCCESS", "after SUCCESS"]
    assert _run(end) == (end, [f"main {end}", *runs, *rest])


def test_listeners_do_not_run_unless_enabled() -> None:
    """FLW-16: off by default."""
    assert _run(State.SUCCESS, enabled=False) == (State.SUCCESS, ["main SUCCESS", "after SUCCESS"])


def test_ids_are_unique_in_the_whole_flow() -> None:
    """G03: those of listeners too; and a warning tells that they are deprecated."""
    parsed = parse_flow(_FLOW.replace("always", "main"), _WITH_CONDITION)
    assert [violation.path for violation in parsed.violations] == ["listeners[1].tasks[0].id"]
    assert any("`listeners.enabled`" in warning for warning in parsed.warnings)
