"""ExecutionRestarted: an execution that was over goes on; nothing runs before all that failed is reopened."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import ExecutionRestarted
from flowtide.model.labels import RESTARTED
from flowtide.model.records import Label
from flowtide.model.states import State


def apply(execution: Execution, event: ExecutionRestarted) -> None:
    progress = execution.progress
    progress.closed = False
    progress.error = None
    progress.killing = None
    progress.held = True
    progress.reopening = True
    progress.target = event.target
    progress.becomes = event.becomes
    progress.resumes = event.resumes
    root = progress.root
    root.entered = "tasks"
    root.outcome = None
    root.evaluated = None
    root.open = 0
    root.opened = event.opened
    root.worst = event.worst
    execution.clear_timer("flow:")
    if event.automatic:
        progress.flow_retries += 1
        return
    progress.state = State.RESTARTED
    progress.restarted = True
    progress.slot = False
    progress.flow_retries = 0
    progress.paused_runs = 0
    head = execution.head
    if event.flow_revision is not None:
        head.flow_revision = event.flow_revision
    head.labels = [label for label in head.labels if label.key != RESTARTED]
    head.labels.append(Label(key=RESTARTED, value="true"))
    execution.touch_head()
