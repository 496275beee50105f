"""BatchesCounted: expressions see how far the batches are."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import BatchesCounted


def apply(execution: Execution, event: BatchesCounted) -> None:
    run = execution.runs[event.run_id]
    gathering = execution.gathering(run.run_id)
    gathering.tell(run.opened + gathering.ended)
    run.outputs = {"iterations": dict(event.iterations), "numberOfBatches": event.batches}
    execution.show(run)
    execution.touch(run)
