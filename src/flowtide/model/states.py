"""The states of executions and task runs, and what each means for the rest of the flow (page 473, catalogue B §8)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Every state that an execution, a task run or an attempt can have; the names are the wire contract (STA-03)."""

    CREATED = "CREATED"
    SUBMITTED = "SUBMITTED"  # task runs: handed to a worker, not started
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    RESTARTED = "RESTARTED"
    KILLING = "KILLING"
    SUCCESS = "SUCCESS"
    WARNING = "WARNING"
    FAILED = "FAILED"
    KILLED = "KILLED"  # ended by a person
    CANCELLED = "CANCELLED"  # ended by the system
    QUEUED = "QUEUED"  # executions: no free slot of the flow's concurrency limit
    RETRYING = "RETRYING"
    RETRIED = "RETRIED"
    SKIPPED = "SKIPPED"
    BREAKPOINT = "BREAKPOINT"
    RESUBMITTED = "RESUBMITTED"  # attempts: the worker that ran it died, another attempt follows

    @property
    def is_terminal(self) -> bool:
        """Whether nothing follows by itself."""
        return self in TERMINAL


TERMINAL = frozenset(
    {
        State.SUCCESS,
        State.WARNING,
        State.FAILED,
        State.KILLED,
        State.CANCELLED,
        State.RETRIED,
        State.SKIPPED,
        State.RESUBMITTED,
    }
)
STOPPING = frozenset({State.FAILED, State.KILLED, State.CANCELLED})

_SEVERITY = {
    State.SKIPPED: 0,
    State.SUCCESS: 1,
    State.WARNING: 2,
    State.FAILED: 3,
    State.CANCELLED: 4,
    State.KILLED: 5,
}


def worst(first: State, second: State) -> State:
    """The graver of two terminal states, by which a parent judges its children."""
    return first if _SEVERITY.get(first, 0) >= _SEVERITY.get(second, 0) else second
