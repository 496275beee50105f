"""Random flows that end somehow, and are restarted, replayed or told otherwise: state equals its replay throughout."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from flowtide.engine.execution import ROOT, Run
from flowtide.engine.reopening import Lost
from flowtide.model.commands import KillExecution
from flowtide.model.states import STOPPING, State
from tests.strategies import ACTIONS, ANSWERS, ENDS, flows
from tests.unit.engine.test_replay_property import History

_KINDS = st.lists(
    st.tuples(
        st.sampled_from(["restart", "restart", "to", "again", "replay", "replay from", "kill"]),
        st.integers(0, 50),
        st.sampled_from(["SUCCESS", "FAILED", "WARNING"]),
    ),
    min_size=1,
    max_size=4,
)
_FAILURES = st.lists(st.sampled_from(["SUCCESS", "FAILED", "SUCCESS", "stay"]), min_size=1, max_size=5)

_TRIED_TWICE = """\
id: flow
namespace: test
tasks:
  - id: tried
    type: If
    retry: {type: constant, interval: PT1M, maxAttempts: 2}
    condition: "true"
    then:
      - {id: first, type: Say}
      - {id: waits, type: Pause, pauseDuration: PT1M, behavior: FAIL}
    finally: [{id: last, type: Say}]
"""
"""What its second attempt left at the place of the first one is run again."""

_IN_TURN = """\
id: flow
namespace: test
tasks:
  - id: list
    type: Sequential
    tasks: [{id: first, type: Say}, {id: second, type: Say}]
    finally: [{id: last, type: Say}]
"""
"""When `first` is said to have failed, `second` is over all the same, and runs again only after it."""


class Lives(History):
    """A history whose execution goes on after its end."""

    def go_on(self, kind: str, number: int, state: str, ends: list[str]) -> None:
        """Let the execution that is over go on in one way, and everything come to its end again."""
        world = self.world
        self._ends = [*ends, "SUCCESS"]
        if kind == "kill":
            world.restart(self.main)
            for _ in range(number):
                world.step()
            world.send(self.main, KillExecution(at=world.now))
        elif kind == "restart":
            world.restart(self.main)
        elif kind == "replay":
            self.main = world.replay(self.main)
        else:
            run = self._some_run(number)
            if run is None:
                return
            try:
                if kind == "replay from":
                    self.main = world.replay(self.main, run.run_id)
                else:
                    becomes = State(state) if kind == "to" else None
                    world.restart(self.main, target=run.run_id, becomes=becomes)
            except Lost:  # of a handler, which runs by itself
                return
        for _ in range(number):
            world.step()
        self.finish()

    def _some_run(self, number: int) -> Run | None:
        runs = list(self.world.past(self.main).values())
        return runs[number % len(runs)] if runs else None


@pytest.mark.timeout(60)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    flow=flows(),
    ends=ENDS,
    answers=ANSWERS,
    actions=ACTIONS,
    lives=_KINDS,
    later=_FAILURES,
)
@example(
    flow=_TRIED_TWICE,
    ends=["FAILED"],
    answers=["value"],
    actions=[],
    lives=[("to", number, "SUCCESS") for number in range(4)],
    later=["SUCCESS"],
)
@example(
    flow=_IN_TURN,
    ends=["SUCCESS"],
    answers=["value"],
    actions=[],
    lives=[("to", 1, "FAILED"), ("restart", 0, ""), ("to", 1, "FAILED"), ("replay from", 2, "")],
    later=["SUCCESS"],
)
def test_an_execution_goes_on_after_its_end_and_ends_again(
    flow: str,
    ends: list[str],
    answers: list[str],
    actions: list[tuple[str, Any]],
    lives: list[tuple[str, int, str]],
    later: list[str],
) -> None:
    """Restarted, replayed or told otherwise, an execution ends again, and after every record the restored and the
    replayed state equal the live one.
    """
    history = Lives(flow, ends, answers)
    for action, argument in actions:
        history.do(action, argument)
    history.finish()
    for kind, number, state in lives:
        history.go_on(kind, number, state, later)
    for execution in history.world.executions.values():
        assert execution.progress.state.is_terminal
        assert list(execution.runs) == [ROOT], "task runs are left in an execution that is over"


@pytest.mark.timeout(60)
@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(flow=flows(), ends=ENDS)
@example(flow=_TRIED_TWICE, ends=["SUCCESS"])
def test_a_restart_runs_nothing_again_that_succeeded(flow: str, ends: list[str]) -> None:
    """After a restart in which everything succeeds, the task runs that had succeeded have not been opened again."""
    history = Lives(flow, ends, ["value"])
    history.finish()
    world = history.world
    assume(world.state(history.main) in STOPPING)
    before = {run.run_id for run in world.past(history.main).values() if run.state is State.SUCCESS}
    count = len(world.events[history.main])
    history.go_on("restart", 0, "SUCCESS", [])
    reopened = {
        getattr(event, "run_id", None)
        for event in world.events[history.main][count:]
        if type(event).__name__ == "TaskRunReopened"
    }
    assert not before & reopened
