"""What concerns very many task runs at once is done in portions, so that no decision becomes a huge batch."""

from __future__ import annotations

from flowtide.model.commands import KillExecution, PauseExecution, ResumeExecution
from flowtide.model.states import State
from flowtide.testing.flows import FlowWorld, succeed
from tests.language import REGISTRY

_WIDE = """
id: wide
namespace: test
tasks:
  - id: loop
    type: ForEach
    values: "{{ range(1, 3000) }}"
    concurrencyLimit: 0
    tasks:
      - {id: one, type: Say}
"""
_MOST = 2_100  # events of one decision


def _largest(world: FlowWorld, execution_id: str) -> int:
    """The most events that one command led to after everything was opened."""
    most = 0
    while world.waiting or world.jobs:
        before = len(world.events[execution_id])
        world.step()
        most = max(most, len(world.events[execution_id]) - before)
    return most


def test_a_wide_loop_is_killed_in_portions() -> None:
    """3,000 running task runs are ended by several decisions, with one control to the workers, and none is left."""
    world = FlowWorld([_WIDE], REGISTRY, work=lambda _: None, paranoid=False)
    execution_id = world.start()
    world.run()
    assert len(world.running) == 3000
    world.send(execution_id, KillExecution(at=world.now))
    assert _largest(world, execution_id) <= _MOST
    assert world.state(execution_id) is State.KILLED
    assert [kill.run_id for kill in world.kills] == [""]
    assert world.executions[execution_id].is_closed


def test_what_was_held_is_handed_out_in_portions() -> None:
    """A loop whose iterations came up while a person held the execution goes on completely when it is resumed."""
    world = FlowWorld([_WIDE], REGISTRY, paranoid=False)
    execution_id = world.start()
    world.step()
    world.send(execution_id, PauseExecution(at=world.now))
    world.run()
    assert world.state(execution_id) is State.PAUSED
    world.send(execution_id, ResumeExecution(at=world.now))
    assert _largest(world, execution_id) <= _MOST
    assert world.state(execution_id) is State.SUCCESS


def test_a_wide_loop_is_restarted_in_portions() -> None:
    """3,000 killed task runs are opened again and handed out by several decisions."""
    world = FlowWorld([_WIDE], REGISTRY, work=lambda _: None, paranoid=False)
    execution_id = world.start()
    world.run()
    world.send(execution_id, KillExecution(at=world.now))
    world.run()
    world.work = succeed
    world.restart(execution_id)
    assert _largest(world, execution_id) <= _MOST
    assert world.state(execution_id) is State.SUCCESS
    assert len(world.events[execution_id]) < 30_000
