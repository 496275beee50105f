"""What an attempt is after a restart: another one whenever workers may hold a job of the one before, asked anew."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from flowtide.errors import ExpressionError
from flowtide.model.commands import KillExecution
from flowtide.model.jobs import Evaluate, RunTask
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, Outcome
from tests.language import REGISTRY

ONE = """
id: one
namespace: test
tasks:
  - {id: only, type: Say}
"""

ASKED = """
id: asked
namespace: test
tasks:
  - {id: only, type: Say, runIf: "{{ kv('wanted') }}", retry: {type: constant, interval: PT1M, maxAttempts: 3}}
"""


def test_a_job_that_no_worker_took_yet_is_not_handed_out_twice() -> None:
    """Killed while its job waits for a worker, and restarted, a task run has another attempt: both jobs may come."""
    world = FlowWorld([ONE], REGISTRY)
    execution_id = world.start()
    world.step()
    world.send(execution_id, KillExecution(at=world.now))
    world.step()
    assert world.state(execution_id) is State.KILLED
    world.restart(execution_id)
    while world.waiting:
        world.step()
    jobs = [(job.run_id, job.attempt) for job in world.jobs if isinstance(job, RunTask)]
    assert len(jobs) == 2
    assert len(set(jobs)) == 2
    world.run()
    assert world.runs(execution_id) == ["only SUCCESS"]


class _Store:
    """A store that is away at first, and then gives what is `wanted`."""

    def __init__(self, wanted: str) -> None:
        self.away = True
        self.asked = 0
        self._wanted = wanted

    def evaluate(self, job: Evaluate) -> Mapping[str, Any]:
        self.asked += 1
        if self.away:
            raise ExpressionError("the store is away")
        return dict.fromkeys(job.expressions, self._wanted)


def test_a_run_if_that_failed_is_asked_again_by_the_next_attempt() -> None:
    """A task whose `runIf` could not be evaluated does not run before it holds."""
    store = _Store("false")
    world = FlowWorld([ASKED], REGISTRY, evaluate=store.evaluate)
    execution_id = world.start()
    world.run()
    store.away = False
    world.advance(timedelta(minutes=1))
    assert world.runs(execution_id) == ["only SKIPPED"]
    assert store.asked == 2


def test_a_run_if_that_held_is_not_asked_again_by_the_next_attempt() -> None:
    """What was recorded is not evaluated again."""
    store = _Store("true")
    store.away = False
    ends = iter([State.FAILED, State.SUCCESS])
    world = FlowWorld([ASKED], REGISTRY, evaluate=store.evaluate, work=lambda job: Outcome(state=next(ends)))
    execution_id = world.start()
    world.run()
    world.advance(timedelta(minutes=1))
    assert world.runs(execution_id) == ["only SUCCESS"]
    assert store.asked == 1


def test_a_restart_asks_run_if_anew() -> None:
    """A task that failed because its `runIf` could not be evaluated does not run after a restart unless it holds."""
    source = ONE.replace("type: Say}", 'type: Say, runIf: "{{ outputs.none.value }}"}')
    world = FlowWorld([source], REGISTRY)
    execution_id = world.start()
    world.run()
    assert world.runs(execution_id) == ["only FAILED"]
    world.save(source.replace("{{ outputs.none.value }}", "{{ false }}"), REGISTRY)
    world.restart(execution_id, flow_revision=2)
    world.run()
    assert world.runs(execution_id) == ["only SKIPPED"]


LOOPED = """
id: looped
namespace: test
tasks:
  - id: loop
    type: EachParallel
    value: [a, b]
    tasks: [{id: inner, type: Say}]
  - {id: last, type: Say}
"""


def test_a_task_run_in_a_loop_that_a_replay_took_over_can_be_told_otherwise() -> None:
    """A replay knows the values of the loops that it took over, so that their task runs can run again in it."""
    world = FlowWorld([LOOPED], REGISTRY)
    execution_id = world.start()
    world.run()
    last = next(run for run in world.past(execution_id).values() if run.task_id == "last")
    replayed = world.replay(execution_id, last.run_id)
    world.run()
    inner = next(run for run in world.past(replayed).values() if run.task_id == "inner")
    world.restart(replayed, target=inner.run_id)
    world.run()
    assert world.state(replayed) is State.SUCCESS


def test_a_loop_that_was_told_otherwise_keeps_its_values() -> None:
    """A loop whose end was changed, and one that was killed before it ran again, can still have a task run changed."""
    for becomes in (State.SUCCESS, None):
        world = FlowWorld([LOOPED], REGISTRY)
        execution_id = world.start()
        world.run()
        loop, inner = (
            next(run for run in world.past(execution_id).values() if run.task_id == task_id)
            for task_id in ("loop", "inner")
        )
        world.restart(execution_id, target=loop.run_id, becomes=becomes)
        if becomes is None:
            world.send(execution_id, KillExecution(at=world.now))
        world.run()
        ids = {run.run_id for run in world.past(execution_id).values() if run.task_id == "inner"}
        world.restart(execution_id, target=inner.run_id if becomes is not None else sorted(ids)[-1])
        world.run()
        assert world.executions[execution_id].is_closed
