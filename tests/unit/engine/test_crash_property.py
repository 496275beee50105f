"""Random flows with everything at once: agreements, breakpoints, retries of the flow, restarts, and executors that die.

When an executor dies, its successor goes on from the pieces of state alone.  Whatever a state knows beside what
`snapshot` compares must not matter, so the same claims hold when that is lost between any two records.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtide.engine.execution import ROOT
from flowtide.model.encrypted import encrypted_value
from flowtide.model.offload import offloaded
from flowtide.model.records import Breakpoint
from flowtide.testing.flows import Outcome
from tests import strategies
from tests.unit.engine import test_agreement_property as agreements
from tests.unit.engine.test_restart_property import Lives

_RETRIES = st.sampled_from(
    [
        None,
        {"type": "constant", "interval": "PT1M", "maxAttempts": 2},
        {"type": "constant", "interval": "PT1S", "maxAttempts": 3, "behavior": "CREATE_NEW_EXECUTION"},
        {"type": "exponential", "interval": "PT1S", "maxInterval": "PT1M", "maxDuration": "PT30S"},
    ]
)
_LIVES = st.lists(
    st.tuples(
        st.sampled_from(["restart", "to", "again", "replay", "replay from", "kill"]),
        st.integers(0, 30),
        st.sampled_from(["SUCCESS", "FAILED", "WARNING"]),
    ),
    max_size=3,
)
_CRASHES = st.lists(st.booleans(), min_size=1, max_size=7)


@st.composite
def flows(draw: st.DrawFn) -> str:
    """A random flow with an agreement and tasks that change the execution, which may be retried as a whole."""
    flow = yaml.safe_load(draw(agreements.flows()))
    retry = draw(_RETRIES)
    if retry is not None:
        flow["retry"] = retry
    return str(yaml.safe_dump(flow, sort_keys=False))


class Dying(agreements.Changed, Lives):
    """A history in which the executor dies after some decisions, told by `crashes`, which is repeated."""

    def __init__(
        self,
        flow: str,
        ends: list[str],
        answers: list[str],
        breakpoints: list[Breakpoint],
        crashes: list[bool],
    ) -> None:
        super().__init__(flow, ends, answers)
        self.begin(breakpoints)
        self._crashes = crashes
        self._decided = 0
        decide = self.world.decide

        def decide_and_die(execution_id: str, command: Any) -> None:
            decide(execution_id, command)
            self._decided += 1
            if self._crashes[self._decided % len(self._crashes)]:
                self.world.crash(execution_id)

        self.world.decide = decide_and_die  # type: ignore[method-assign]  # of this world only

    def _work(self, job: Any) -> Outcome | None:
        outcome = super()._work(job)
        if outcome is None or "value" not in outcome.outputs:
            return outcome
        special = {3: offloaded("kestra:///large.json", 1_000_000), 4: {"value": encrypted_value("c2VjcmV0")}}
        return Outcome(state=outcome.state, outputs=special.get(self._taken % 5, outcome.outputs))


@pytest.mark.timeout(120)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    flow=flows(),
    breakpoints=agreements._BREAKPOINTS,
    ends=strategies.ENDS,
    answers=strategies.ANSWERS,
    actions=agreements._ACTIONS,
    lives=_LIVES,
    later=strategies.ENDS,
    crashes=_CRASHES,
)
def test_executions_end_whatever_is_done_to_them_and_wherever_executors_die(
    flow: str,
    breakpoints: list[Breakpoint],
    ends: list[str],
    answers: list[str],
    actions: list[tuple[str, Any]],
    lives: list[tuple[str, int, str]],
    later: list[str],
    crashes: list[bool],
) -> None:
    """State, pieces and fold agree after every record, and every execution ends and leaves nothing behind."""
    history = Dying(flow, ends, answers, breakpoints, crashes)
    for action, argument in actions:
        history.do(action, argument)
    history.finish()
    for kind, number, state in lives:
        history.go_on(kind, number, state, later)
    for execution in history.world.executions.values():
        assert execution.progress.state.is_terminal
        assert list(execution.runs) == [ROOT], "task runs are left in an execution that is over"
        assert not execution.timers
        assert not execution.loops
