"""EvaluationRecorded: what the workers evaluated is kept and never evaluated again."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.events import EvaluationRecorded


def apply(execution: Execution, event: EvaluationRecorded) -> None:
    run = execution.runs[event.run_id]
    run.evaluated = {**(run.evaluated or {}), **event.values}
    run.asked = None
    execution.touch(run)
