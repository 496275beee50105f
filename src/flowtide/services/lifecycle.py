"""The life of servers, judged by others: pure functions from what was heard to what is found (LIFE-1 to 15).

No clock and no input or output; `flowtide.services.liveness` brings both.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.settings import Settings

DEFAULT_HEARTBEAT_INTERVAL = timedelta(seconds=3)


class RestartStrategy(StrEnum):
    """What becomes of the task runs of a dead worker (LIFE-8)."""

    IMMEDIATELY = "IMMEDIATELY"
    AFTER_TERMINATION_GRACE_PERIOD = "AFTER_TERMINATION_GRACE_PERIOD"
    NEVER = "NEVER"


@dataclass(frozen=True, kw_only=True, slots=True)
class LivenessRules:
    """The settings of liveness (LIFE-10, LIFE-11, LIFE-15); they must be the same on all executors (LIFE-12).

    Raises ValueError when a live server could be taken for a dead one.
    """

    interval: timedelta = timedelta(seconds=5)  # between two checks
    timeout: timedelta = timedelta(seconds=45)  # without a heartbeat a server is DISCONNECTED
    initial_delay: timedelta = timedelta(seconds=45)  # a young server is not judged, and does not judge
    heartbeat_interval: timedelta = DEFAULT_HEARTBEAT_INTERVAL
    termination_grace_period: timedelta = timedelta(minutes=5)
    restart_strategy: RestartStrategy = RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD
    purge_retention: timedelta = timedelta(days=7)  # how long a dead server is remembered

    def __post_init__(self) -> None:
        if self.heartbeat_interval >= self.timeout:
            raise ValueError(
                f"the heartbeat interval ({self.heartbeat_interval}) must be less than the liveness timeout"
                f" ({self.timeout}), or servers that live are taken for dead"
            )
        if min(self.interval, self.heartbeat_interval) <= timedelta(0):
            raise ValueError("the intervals of liveness and heartbeats must be longer than nothing")


def liveness_rules(settings: Settings) -> LivenessRules:
    """What the settings say about liveness.  Raises ValueError as the rules do."""
    server = settings.server
    return LivenessRules(
        interval=server.liveness.interval,
        timeout=server.liveness.timeout,
        initial_delay=server.liveness.initial_delay,
        heartbeat_interval=server.liveness.heartbeat_interval,
        termination_grace_period=server.termination_grace_period,
        restart_strategy=RestartStrategy(server.worker_task_restart_strategy.value),
        purge_retention=server.service_retention,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found: the state that the server is in from now on, or that it can be forgotten."""

    state: ServiceState | None  # None: remove what is known of it
    reason: str
    hand_over: bool = False  # before the state is told, what the worker was running is taken from it (LIFE-4)


DEAD = frozenset({ServiceState.NOT_RUNNING, ServiceState.INACTIVE})
_ENDED = frozenset({ServiceState.TERMINATED_GRACEFULLY, ServiceState.TERMINATED_FORCED})


def judge(
    instance: ServiceInstance, *, since: datetime, now: datetime, rules: LivenessRules
) -> Finding | None:
    """What becomes of a server at a check; None when it stays as it is.

    `since` is when it was last heard of (while it lives), or when it came to its state (DISCONNECTED and
    later).
    """
    worker = instance.type is ServiceType.WORKER
    match instance.state:
        case ServiceState.INACTIVE:
            if now - since >= rules.purge_retention:
                return Finding(state=None, reason=f"inactive for {rules.purge_retention}")
        case ServiceState.NOT_RUNNING:
            return Finding(state=ServiceState.INACTIVE, reason="not running")
        case ServiceState.TERMINATED_GRACEFULLY if worker and now - since < rules.timeout:
            # It reported how all that it ran ended.  An executor that is just taking partitions over has these
            # reports still before it, and would hand out again what is over.
            return None
        case ServiceState.TERMINATED_GRACEFULLY | ServiceState.TERMINATED_FORCED:
            # It said itself that it is over, so nothing has to be waited for; work that it left is taken
            # over.
            return Finding(state=ServiceState.NOT_RUNNING, reason="stopped", hand_over=worker)
        case ServiceState.DISCONNECTED:
            waits = worker and rules.restart_strategy is RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD
            if not waits or now - since >= rules.termination_grace_period:
                return Finding(state=ServiceState.NOT_RUNNING, reason="disconnected", hand_over=worker)
        case _:
            if now - instance.started >= rules.initial_delay and now - since > rules.timeout:
                return Finding(state=ServiceState.DISCONNECTED, reason=f"no heartbeat for {rules.timeout}")
    return None


def heard(before: ServiceInstance | None, said: ServiceInstance) -> ServiceInstance:
    """What is known of a server after a record about it.

    A server that was found dead stays dead, whatever it says later (LIFE-5); one that was only disconnected
    comes back with its next heartbeat (LIFE-3), and what others found before that heartbeat no longer
    counts.
    """
    if before is None:
        return said
    if before.state in DEAD and said.state not in DEAD:
        return before
    if before.state is ServiceState.INACTIVE and said.state is ServiceState.NOT_RUNNING:
        return before
    if before.state in _ENDED and said.state not in DEAD | _ENDED:
        return before
    return said
