"""Executions that are over and go on: known again in portions, restarted, amended, or forgotten."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from flowtide.engine.apply import fold
from flowtide.engine.execution import Execution, whole_pieces
from flowtide.model.commands import COMMAND_DECODER as COMMANDS
from flowtide.model.commands import (
    AmendExecution,
    ExecutionCommand,
    ReportChildEnded,
    RestartExecution,
    RestoreExecution,
)
from flowtide.model.records import Label
from flowtide.model.states import State
from flowtide.processors.arrivals import RESTORED_RETENTION
from flowtide.processors.executions import MARKER_RETENTION
from tests.unit.processors.test_executions import Box


def _ended(box: Box) -> None:
    """An execution whose second task failed."""
    box.create("e1")
    first = box.jobs()[-1]
    box.started("e1", first)
    box.report("e1", first)
    second = box.jobs()[-1]
    box.started("e1", second)
    box.report("e1", second, State.FAILED)
    while (due := box.partition.next_due()) is not None and box.names()[-1] != "ExecutionEnded":
        box.advance(due - box.now)  # the retries of the task
        again = box.jobs()[-1]
        box.started("e1", again)
        box.report("e1", again, State.FAILED)
    assert box.names()[-1] == "ExecutionEnded"


def _folded(box: Box) -> Execution:
    execution: Execution | None = None
    for event in box.events():
        execution = fold(execution, event)
    assert execution is not None
    return execution


def _portions(box: Box) -> tuple[list[RestoreExecution], RestartExecution]:
    execution = _folded(box)
    number = execution.progress.next_event
    pieces = whole_pieces(execution)
    portions = [
        RestoreExecution(at=box.now, next_event=number, pieces={name: msgspec.Raw(piece)})
        for name, piece in pieces.items()
    ]
    return portions, RestartExecution(at=box.now, next_event=number, pieces=len(pieces))


@pytest.fixture
def box() -> Box:
    box = Box()
    _ended(box)
    return box


@pytest.mark.parametrize("reopen", [False, True], ids=["one server", "another server after each command"])
@pytest.mark.parametrize(
    "later", [timedelta(0), MARKER_RETENTION + timedelta(seconds=1)], ids=["soon", "late"]
)
def test_what_came_in_portions_is_restarted(box: Box, later: timedelta, reopen: bool) -> None:
    """The failed task runs again as another attempt; numbers go on, and at the end nothing is left but a marker."""
    box.advance(later)
    portions, restart = _portions(box)
    number = restart.next_event
    commands: list[ExecutionCommand] = [*portions, restart]
    for command in commands:
        box.send("e1", command)
        box.commit()
        if reopen:
            box.open()
    job = box.jobs()[-1]
    assert job.attempt > 0
    box.started("e1", job)
    box.report("e1", job)
    events = box.events()
    assert [event.number for event in events] == list(range(len(events)))
    assert type(events[number or 0]).__name__ == "ExecutionRestarted"
    assert getattr(events[-1], "state", None) is State.SUCCESS
    assert [name for name in box.state if not name.endswith("|x")] == []
    box.advance(2 * MARKER_RETENTION)
    assert box.state == {}


def _again(box: Box, portions: list[RestoreExecution], restart: RestartExecution) -> None:
    commands: list[ExecutionCommand] = [*portions, restart]
    for command in commands:
        box.send("e1", command)
        box.commit()


def test_a_second_restart_that_knows_less_changes_nothing(box: Box) -> None:
    """Two people restart at the same time: the second one finds it running, or over with other numbers."""
    portions, restart = _portions(box)
    _again(box, portions, restart)
    count = len(box.events())
    _again(box, portions, restart)
    assert len(box.events()) == count
    job = box.jobs()[-1]
    box.started("e1", job)
    box.report("e1", job)
    count = len(box.events())
    _again(box, portions, restart)
    assert len(box.events()) == count
    assert [name for name in box.state if not name.endswith("|x")] == []


@pytest.mark.parametrize("change", [lambda box: None, lambda box: box.open()], ids=["kept", "restored"])
def test_what_nobody_restarts_is_forgotten(box: Box, change: Callable[[Box], None]) -> None:
    """Pieces whose restart never came leave the state after a while."""
    for portion in _portions(box)[0]:
        box.send("e1", portion)
    box.commit()
    assert any("|r:" in name for name in box.state)
    change(box)
    assert box.partition.next_due() is not None
    box.advance(2 * RESTORED_RETENTION)
    assert box.state == {}


def test_an_incomplete_restart_changes_nothing(box: Box) -> None:
    """When a portion is missing nothing is restarted, and what came is forgotten."""
    portions, restart = _portions(box)
    _again(box, portions[1:], restart)
    assert box.names()[-1] == "ExecutionEnded"
    assert [name for name in box.state if not name.endswith("|x")] == []


def test_a_parent_is_told_that_its_child_cannot_be_restarted(box: Box) -> None:
    """A child whose state did not come ends for its parent as FAILED, so that it does not wait for ever."""
    box.send("e1", RestartExecution(at=box.now, run_id="r", parent_id="above"))
    box.commit()
    told = COMMANDS.decode(box.of_topic("execution_commands")[-1])
    assert isinstance(told, ReportChildEnded)
    assert told.state is State.FAILED


def test_a_parent_is_told_when_the_flow_of_its_child_is_gone(box: Box) -> None:
    """A child whose flow was deleted while its parent waited for a slot ends for it as FAILED, and is forgotten."""
    for portion in _portions(box)[0]:
        box.send("e1", portion)
    box.commit()
    box.plans.clear()
    box.send("e1", RestartExecution(at=box.now, run_id="r", parent_id="above"))
    box.commit()
    told = COMMANDS.decode(box.of_topic("execution_commands")[-1])
    assert isinstance(told, ReportChildEnded)
    assert told.state is State.FAILED
    assert [name for name in box.state if not name.endswith("|x")] == []


def test_labels_and_state_of_what_is_over_are_changed_once(box: Box) -> None:
    """An event follows the last one; a command that does not know it is refused."""
    number = len(box.events())
    labels = [Label(key="team", value="core")]
    for _ in range(2):
        box.send("e1", AmendExecution(at=box.now, next_event=number, labels=labels))
        box.commit()
    assert box.names()[number:] == ["LabelsSet"]
    box.send("e1", AmendExecution(at=box.now, next_event=number + 1, state=State.WARNING))
    box.commit()
    assert box.names()[number:] == ["LabelsSet", "ExecutionStateChanged"]
    execution = _folded(box)
    assert execution.progress.state is State.WARNING
    assert execution.is_closed
    _again(box, *_portions(box))
    assert box.names()[number + 2] == "ExecutionRestarted"


def test_a_running_execution_is_not_amended(box: Box) -> None:
    """What runs keeps its numbers: a restore, a restart or an amendment of it means nothing."""
    box.create("e2")
    count = len(box.events())
    box.send("e2", AmendExecution(at=box.now, next_event=3, state=State.SUCCESS))
    box.send("e2", RestartExecution(at=box.now, next_event=3))
    box.send("e2", RestoreExecution(at=box.now, next_event=3, pieces={}))
    box.commit()
    assert len(box.events()) == count
