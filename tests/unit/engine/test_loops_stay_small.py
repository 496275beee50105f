"""Loops without values and batches: the thousandth costs what the first one cost, and the state does not grow."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec

from flowtide.model.jobs import RunTask
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


def test_batches_are_started_in_portions_and_gathered() -> None:
    """FLO-18: no decision starts more than 200 executions, and the last task gets what each of them gave."""
    gathered: list[Any] = []

    def work(job: RunTask) -> Outcome:
        if job.task_id == "each_merge":
            gathered.append(msgspec.json.decode(job.variables)["batches"])
        return _work(job)

    world = FlowWorld([_BATCHES, _CHILD], REGISTRY, work=work, paranoid=False)
    execution_id = world.start()
    most = 0
    before = 0
    while world.step():
        if execution_id in world.events:
            most = max(most, len(world.events[execution_id]) - before)
            before = len(world.events[execution_id])
    assert world.state(execution_id) is State.SUCCESS
    assert most <= 410  # two for each: the task run, and its execution
    assert gathered == [{str(number): {"n": number} for number in range(1500)}]
    items = world.executions[execution_id].outputs["each_items"]
    assert items == {"iterations": {"SUCCESS": 1500}, "numberOfBatches": 1500}


def test_too_much_to_gather_is_told() -> None:
    """Decision 0017: what the batches gave must fit into a job; else the task fails, and says what to do."""
    child = _CHILD.replace('INT, value: "{{ inputs.n }}"', f"STRING, value: {'x' * 1000}")
    world = FlowWorld([_BATCHES, child], REGISTRY, work=_work, paranoid=False)
    execution_id = world.start()
    world.run()
    assert world.state(execution_id) is State.FAILED
    assert any("let their flow write it to a file" in line for line in world.messages())
