"""How attempts of retried task runs ended: what Flow triggers may ask of an execution (CND-15)."""

from __future__ import annotations

from flowtide.engine.execution import Execution
from flowtide.model.states import State


def note_retry(execution: Execution, state: State) -> None:
    """Note that an attempt of a task run that was retried ended so."""
    known = execution.progress.retry_states
    if state not in known:
        execution.progress.retry_states = [*known, state]
