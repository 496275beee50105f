"""Loops without values and batches: the thousandth costs what the first one cost, and the state does not grow."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec

from flowtide.model.events import BatchesCounted
from flowtide.model.jobs import RunTask
from flowtide.model.records import encode
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY

_LOOP = """
id: flow
namespace: test
tasks:
  - id: loop
    type: LoopUntil
    condition: "{{ outputs.loop.iterationCount == 1000 }}"
    checkFrequency: {interval: PT1S}
    tasks:
      - {id: one, type: Say, allowFailure: true}
      - id: each
        type: ForEach
        values: [a, b]
        tasks: [{id: two, type: Say}]
"""


def _work(job: RunTask) -> Outcome:
    if job.task_id == "each_split":
        return Outcome(outputs={"splits": "kestra:///x/splits.txt", "numberOfBatches": 1500})
    return Outcome(state=State.FAILED if job.task_id == "one" else State.SUCCESS)


def test_the_state_of_a_loop_does_not_grow() -> None:
    """FLO-21: 1,000 iterations leave as many pieces, and make as many events each, as ten."""
    world = FlowWorld([_LOOP], REGISTRY, work=_work, paranoid=False)
    execution_id = world.start()
    pieces: list[int] = []
    events: list[int] = []
    for _ in range(100):
        world.advance(timedelta(seconds=10))
        if world.executions[execution_id].is_over:
            break
        pieces.append(len(world._pieces[execution_id]))  # what the changelog holds
        events.append(len(world.events[execution_id]))
    assert max(pieces) == pieces[0]
    assert len({after - before for before, after in pairwise(events)}) == 1
    failed = world.executions[execution_id].runs_in_state("WARNING")
    assert len(failed) <= 2  # the task of the latest iteration, and the loop when it is over
    world.advance(timedelta(seconds=10))
    assert world.state(execution_id) is State.WARNING


_BATCHES = """
id: flow
namespace: test
tasks:
  - id: each
    type: ForEachItem
    items: "kestra:///f"
    namespace: test
    flowId: child
    inputs: {n: "{{ taskrun.iteration }}"}
"""
_CHILD = """
id: child
namespace: test
inputs: [{id: n, type: INT}]
tasks: [{id: two, type: Say}]
outputs: [{id: n, type: INT, value: "{{ inputs.n }}"}]
"""


class _Gatherers:
    """Workers that write portions to files, as far as the engine can tell."""

    def __init__(self) -> None:
        self.portions: list[dict[str, Any]] = []
        self.job_bytes = 0  # of the largest job
        self.lists: list[list[str]] = []
        self.merged: list[Any] = []

    def work(self, job: RunTask) -> Outcome:
        self.job_bytes = max(self.job_bytes, len(encode(job)))
        given = msgspec.json.decode(job.variables)
        if job.task_id == "each_merge":
            self.merged.append(given["gathered"])
        if job.task_id != "each_gather":
            return _work(job)
        uri = f"kestra:///portion{len(self.portions)}"
        self.portions.append(given["batches"])
        if "portions" not in given:
            return Outcome(outputs={"uri": uri})
        self.lists.append([*given["portions"], uri])
        return Outcome(outputs={"uri": uri, "listed": "kestra:///list"})


def test_batches_are_started_in_portions_and_gathered() -> None:
    """FLO-18: no decision starts more than 200 executions, and the last task gets what each of them gave."""
    gatherers = _Gatherers()
    world = FlowWorld([_BATCHES, _CHILD], REGISTRY, work=gatherers.work, paranoid=False)
    execution_id = world.start()
    most = 0
    before = 0
    while world.step():
        if execution_id in world.events:
            most = max(most, len(world.events[execution_id]) - before)
            before = len(world.events[execution_id])
    assert world.state(execution_id) is State.SUCCESS
    assert most <= 410  # two for each: the task run, and its execution
    found = {number: gave for portion in gatherers.portions for number, gave in portion.items()}
    assert found == {str(number): {"n": number} for number in range(1500)}
    assert gatherers.lists == [["kestra:///portion0", "kestra:///portion1"]]
    assert gatherers.merged == ["kestra:///list"]
    items = world.executions[execution_id].outputs["each_items"]
    assert items == {"iterations": {"SUCCESS": 1500}, "numberOfBatches": 1500, "uri": "kestra:///list"}


def test_what_batches_give_does_not_pile_up() -> None:
    """Decision 0021: of outputs of 1,500 KiB in all, a job carries a portion, and what is written goes."""
    child = _CHILD.replace('INT, value: "{{ inputs.n }}"', f"STRING, value: {'x' * 1024}")
    gatherers = _Gatherers()
    world = FlowWorld([_BATCHES, child], REGISTRY, work=gatherers.work, paranoid=False)
    execution_id = world.start()
    kept: list[int] = []
    while world.step():
        # Of what the changelog holds, what may contain outputs.
        pieces = world._pieces.get(execution_id, {}).items()
        kept.append(sum(len(value) for name, value in pieces if name.startswith(("g:", "r:"))))
    assert world.state(execution_id) is State.SUCCESS
    assert gatherers.job_bytes < 160 * 1024
    assert max(kept) > 1500 * 1024  # nobody wrote them yet
    assert kept[-2] < 800 * 1024  # mostly what a task run is
    assert sum(map(len, gatherers.portions)) == 1500
    assert len(gatherers.portions) < 15


def test_how_far_batches_are_is_told_a_hundred_times() -> None:
    """FLO-18: `iterations` is there while executions run, and telling it does not cost an event for each of many."""
    world = FlowWorld([_BATCHES, _CHILD], REGISTRY, work=_Gatherers().work, paranoid=False)
    execution_id = world.start()
    world.run()
    told = [event for event in world.events[execution_id] if isinstance(event, BatchesCounted)]
    assert len(told) <= 100
    assert all(sum(event.iterations.values()) == event.batches == 1500 for event in told)
    assert {state for event in told for state in event.iterations} == {"CREATED", "RUNNING", "SUCCESS"}


_CHANGING = """
id: flow
namespace: test
tasks:
  - id: loop
    type: LoopUntil
    condition: "{{ outputs.loop.iterationCount == 200 }}"
    checkFrequency: {interval: PT1S}
    tasks:
      - id: each
        type: ForEach
        values: ["{{ outputs.loop.iterationCount }}", b]
        tasks: [{id: two, type: Say}]
      - {id: seldom, type: Say, runIf: "{{ outputs.loop.iterationCount < 5 }}"}
"""


def test_values_that_change_with_every_iteration_do_not_pile_up() -> None:
    """FLO-21: what an iteration left is gone when the next one is over, whether or not something took its place."""
    world = FlowWorld([_CHANGING], REGISTRY, work=_work, paranoid=False)
    execution_id = world.start()
    world.run()
    pieces: list[int] = []
    while not world.executions[execution_id].is_over:
        pieces.append(len(world._pieces[execution_id]))  # what the changelog holds
        outputs = world.executions[execution_id].outputs
        assert len(outputs.get("two", {})) <= 3  # of this iteration and the one before, and `b` of both
        world.advance(timedelta(seconds=1))
    assert max(pieces) == max(pieces[:6])
    outputs = world.executions[execution_id].outputs
    assert outputs["two"].keys() == {"200", "b"}
    assert "seldom" not in outputs
