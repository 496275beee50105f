"""EvaluationRequested: workers evaluate expressions; what the flow will end as is kept until they answer."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import EvaluationRequested


def apply(execution: Execution, event: EvaluationRequested) -> None:
    run = execution.runs[event.run_id]
    if event.outcome is not None:
        run.outcome = event.outcome
    run.asked = event.properties
    execution.touch(run)
