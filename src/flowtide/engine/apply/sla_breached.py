"""SlaBreached: the execution gets the labels of the agreement, which is not looked at again."""

from __future__ import annotations

from flowtide.engine.apply.labels_set import merged
from flowtide.engine.execution import Execution
from flowtide.model.events import SlaBreached


def apply(execution: Execution, event: SlaBreached) -> None:
    execution.progress.breached = [*execution.progress.breached, event.sla_id]
    execution.clear_timer(f"sla:{event.sla_id}")
    if event.labels:
        execution.head.labels = merged(execution.head.labels, event.labels)
        execution.touch_head()
