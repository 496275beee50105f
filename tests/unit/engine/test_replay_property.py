"""Random flows with random histories: state equals its replay after every record, and everything comes to its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings

from flowtide.engine.execution import ROOT
from flowtide.engine.outgoing import ToFlow
from flowtide.errors import ExpressionError
from flowtide.model.commands import (
    AnswerSlot,
    KillExecution,
    PauseExecution,
    ReportEvaluation,
    ResumeExecution,
)
from flowtide.model.flow_commands import AcquireSlot, ReleaseSlot
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY
from tests.strategies import ACTIONS, ANSWERS, ENDS, flows

CHILD = """
id: child
namespace: test
tasks:
  - {id: inner, type: Say}
  - {id: wait, type: Pause, pauseDuration: PT1M}
afterExecution:
  - {id: after, type: Say}
"""

_THE_SAME_TWICE = """\
id: flow
namespace: test
tasks:
  - id: each
    type: EachParallel
    value: [a, a]
    tasks:
      - {id: items, type: ForEachItem, items: "kestra:///f", namespace: test, flowId: child}
"""
"""The first of two that share a place tells how far it is, the second one is over already."""


class History:
    """A world in which things happen to the executions of one flow."""

    def __init__(self, flow: str, ends: list[str], answers: list[str]) -> None:
        self._ends = ends
        self._answers = answers
        self._taken = 0
        self.world = FlowWorld([flow, CHILD], REGISTRY, work=self._work, evaluate=self._evaluate)
        self.main = self.world.start("flow")

    def _next(self, choices: list[str]) -> str:
        self._taken += 1
        return choices[self._taken % len(choices)]

    def _work(self, job: RunTask) -> Outcome | None:
        end = self._next(self._ends)
        outputs: dict[str, Any] = {"value": job.task_id}
        if job.task_id.endswith("_split"):
            outputs = {"splits": "kestra:///x/splits.txt", "numberOfBatches": self._taken % 4}
        if job.task_id.endswith("_gather"):
            outputs = {"uri": f"kestra:///x/{job.run_id}", "listed": "kestra:///x/list"}
        return None if end == "stay" else Outcome(state=State(end), outputs=outputs)

    def _evaluate(self, job: Evaluate) -> dict[str, Any] | None:
        answer = self._next(self._answers)
        if answer == "stay":
            return None
        if answer == "bad":
            raise ExpressionError("the store is away")
        return _values(job, "false" if answer == "false" else None)

    def do(self, action: str, argument: Any) -> None:
        """Let one thing happen."""
        world, now = self.world, self.world.now
        match action:
            case "step":
                for _ in range(argument):
                    world.step()
            case "advance":
                world.advance(timedelta(seconds=argument))
            case "report":
                for key in list(world.running)[:1]:
                    world.report(*key, Outcome(state=State(argument)))
            case "kill":
                world.send(self.main, KillExecution(at=now, cascade=argument))
            case "pause":
                world.send(self.main, PauseExecution(at=now))
            case "resume":
                to = State(argument) if argument is not None else None
                world.send(self.main, ResumeExecution(at=now, to=to))
            case "again":
                if world.decided:
                    world.send(*world.decided[argument % len(world.decided)])
            case "lose":
                world.lose_worker(resubmit=argument)
            case "slot":
                world.send(self.main, AnswerSlot(at=now, state=State(argument)))
            case "evaluated":
                for job in world.evaluating[:1]:
                    world.evaluating.remove(job)
                    self._answer(job)
            case "shuffle":
                world.waiting.rotate(argument)  # commands of several executions come in any order

    def _answer(self, job: Evaluate) -> None:
        report = ReportEvaluation(at=self.world.now, run_id=job.run_id, values=_values(job, None))
        self.world.send(job.execution_id, report)

    def finish(self) -> None:
        """Let every answer come that is owed, until all executions are closed."""
        world = self.world
        self._ends, self._answers = ["SUCCESS"], ["value"]
        for _ in range(200):
            world.run()
            if all(execution.is_closed for execution in world.executions.values()):
                return
            for key in list(world.running):
                world.report(*key, Outcome())
            for job in world.evaluating:
                self._answer(job)
            world.evaluating.clear()
            for execution_id, execution in world.executions.items():
                if execution.is_closed:
                    continue
                waits = execution.progress.started is None or execution.progress.restarted
                if execution.progress.slot and waits:
                    world.send(execution_id, AnswerSlot(at=world.now, state=State.RUNNING))
                if execution.progress.held or any(
                    run.state is State.PAUSED for run in execution.runs.values()
                ):
                    world.send(execution_id, ResumeExecution(at=world.now))
            world.run()
            world.advance(timedelta(days=1))
        open_ones = {
            world.state(execution_id): world.runs(execution_id)
            for execution_id, execution in world.executions.items()
            if not execution.is_closed
        }
        raise AssertionError(f"these never end: {open_ones}")


def _values(job: Evaluate, text: str | None) -> dict[str, Any]:
    known: dict[str, Any] = {
        "values": ["a", "b"],
        "pauseDuration": "PT1M",
        "inputs": {},
        "labels": [],
        "scheduleDate": None,
    }
    known |= {
        name: "2" if "maxIterations" in name else "PT1M" if "max" in name else "true"
        for name in job.expressions
        if "(iteration" in name
    }
    return {
        name: text
        if text is not None and name in ("condition", "runIf", "value")
        else known.get(name, value if "{" not in str(value) else "one")
        for name, value in job.expressions.items()
    }


@pytest.mark.timeout(300)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(flow=flows(), ends=ENDS, answers=ANSWERS, actions=ACTIONS)
@example(flow=_THE_SAME_TWICE, ends=["SUCCESS"], answers=["value"], actions=[])
def test_every_history_can_be_replayed_and_ends(
    flow: str, ends: list[str], answers: list[str], actions: list[tuple[str, Any]]
) -> None:
    """Whatever happens, after every record the restored and the replayed state equal the live one; all executions
    end once, leave no piece behind, and give back the slot that they asked for.
    """
    history = History(flow, ends, answers)
    for action, argument in actions:
        history.do(action, argument)
    history.finish()
    for execution in history.world.executions.values():
        assert execution.progress.state.is_terminal
        assert list(execution.runs) == [ROOT], "task runs are left in an execution that is over"
        assert not execution.timers
        assert not execution.loops
    commands = [sent.command for sent in history.world.sent if isinstance(sent, ToFlow)]
    asked = [command.execution_id for command in commands if isinstance(command, AcquireSlot)]
    released = [command.execution_id for command in commands if isinstance(command, ReleaseSlot)]
    assert asked == released or sorted(asked) == sorted(released)
    assert len(set(asked)) == len(asked)
