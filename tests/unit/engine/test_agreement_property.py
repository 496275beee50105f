"""Random flows with agreements, breakpoints, and tasks that change the execution, to which things happen.

The world folds every history anew after each decision and compares it with the live state, so a fold that is not the
decision's twin shows here.
"""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowtide.model.commands import ForceRunExecution, ResumeFromBreakpoint, SetLabels, UnqueueExecution
from flowtide.model.records import Breakpoint, Label
from flowtide.model.states import State
from tests import strategies
from tests.unit.engine.test_replay_property import History

_CHANGES: list[dict[str, Any]] = [
    {"type": "Labels", "labels": {"a": "{{ taskrun.id }}", "b.c": "fixed"}},
    {"type": "Labels", "labels": {"system.a": "refused"}},
    {"type": "Labels", "labels": {"a": "{{ kv('x') }}"}},
    {"type": "SetVariables", "variables": {"n": {"x": "{{ taskrun.id }}"}, "m": [1]}},
    {"type": "SetVariables", "variables": {"n": {"x": 1}}, "overwrite": False},
    {"type": "UnsetVariables", "variables": ["n.x", "m"], "ignoreMissing": True},
    {"type": "UnsetVariables", "variables": ["n"]},
]
_AGREEMENTS = st.fixed_dictionaries(
    {
        "id": st.just("sla"),
        "behavior": st.sampled_from(["FAIL", "CANCEL", "NONE"]),
        "labels": st.just({"sla": "miss"}),
    }
)
_ASSERTIONS = [
    "{{ outputs.t0.value == 'x' }}",
    "{{ vars.m is defined }}",
    "{{ 1 / 0 }}",
    "{{ labels.a is null }}",
]
_BREAKPOINTS = st.lists(
    st.builds(
        Breakpoint,
        id=st.sampled_from([f"t{number}" for number in range(6)]),
        value=st.sampled_from([None, "a"]),
    ),
    max_size=3,
)


@st.composite
def flows(draw: st.DrawFn) -> str:
    """A random flow, some of whose plain tasks change the execution, and which may have an agreement."""
    flow = yaml.safe_load(draw(strategies.flows()))

    def change(found: Any) -> None:
        if isinstance(found, list):
            for each in found:
                change(each)
        elif isinstance(found, dict):
            if found.get("type") == "Say" and draw(st.booleans()):
                found |= draw(st.sampled_from(_CHANGES))
            for each in list(found.values()):
                change(each)

    change(flow["tasks"])
    kind = draw(st.sampled_from(["none", "MAX_DURATION", "EXECUTION_ASSERTION"]))
    if kind != "none":
        sla = {**draw(_AGREEMENTS), "type": kind}
        if kind == "MAX_DURATION":
            sla["duration"] = "PT1M"
        else:
            sla["assert"] = draw(st.sampled_from(_ASSERTIONS))
        flow["sla"] = [sla]
    return str(yaml.safe_dump(flow, sort_keys=False))


class Changed(History):
    """A history with breakpoints, in which people also force and label."""

    def begin(self, breakpoints: list[Breakpoint]) -> None:
        """Start the execution that is looked at, with breakpoints."""
        self.main = self.world.start("flow", breakpoints=breakpoints)

    def do(self, action: str, argument: Any) -> None:
        """Let one thing happen."""
        now = self.world.now
        match action:
            case "force":
                self.world.send(self.main, ForceRunExecution(at=now))
            case "unqueue":
                self.world.send(self.main, UnqueueExecution(at=now, state=State(argument)))
            case "go on":
                self.world.send(self.main, ResumeFromBreakpoint(at=now, breakpoints=argument))
            case "label":
                self.world.send(
                    self.main, SetLabels(at=now, labels=[Label(key="by", value="hand")], replace=argument)
                )
            case _:
                super().do(action, argument)

    def finish(self) -> None:
        """Let every answer come that is owed, and go on from every breakpoint, until all executions are closed."""
        for _ in range(10):
            self.world.run()
            self.world.send(self.main, ResumeFromBreakpoint(at=self.world.now, breakpoints=[]))
            self.world.run()
            try:
                super().finish()
            except AssertionError as error:
                if "BREAKPOINT" not in str(error):
                    raise
            else:
                return


_MORE = st.one_of(
    st.tuples(st.just("force"), st.none()),
    st.tuples(st.just("unqueue"), st.sampled_from(["RUNNING", "CANCELLED"])),
    st.tuples(st.just("go on"), st.one_of(st.none(), _BREAKPOINTS)),
    st.tuples(st.just("label"), st.booleans()),
)
_ACTIONS = st.tuples(strategies.ACTIONS, st.lists(_MORE, max_size=6)).flatmap(
    lambda both: st.permutations([*both[0], *both[1]])
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(
    flow=flows(),
    breakpoints=_BREAKPOINTS,
    ends=strategies.ENDS,
    answers=strategies.ANSWERS,
    actions=_ACTIONS,
)
def test_folding_gives_the_live_state_and_every_execution_ends(
    flow: str,
    breakpoints: list[Breakpoint],
    ends: list[str],
    answers: list[str],
    actions: list[tuple[str, Any]],
) -> None:
    """Whatever happens, state and fold agree, each agreement is breached at most once, and all executions end."""
    history = Changed(flow, ends, answers)
    history.begin(breakpoints)
    for action, argument in actions:
        history.do(action, argument)
    history.finish()
    breaches = [
        event for event in history.world.events[history.main] if type(event).__name__ == "SlaBreached"
    ]
    assert len(breaches) <= 1
