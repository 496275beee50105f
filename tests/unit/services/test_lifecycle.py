"""The life of servers, row by row (page 015, LIFE-1 to LIFE-15)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.services.lifecycle import Finding, LivenessRules, RestartStrategy, heard, judge

START = datetime(2025, 1, 1, tzinfo=UTC)
LATE = START + timedelta(hours=1)  # when the initial delay of a server is long over
RULES = LivenessRules()
GRACE = RestartStrategy.AFTER_TERMINATION_GRACE_PERIOD


def server(
    state: ServiceState, type_: ServiceType = ServiceType.EXECUTOR, **other: object
) -> ServiceInstance:
    instance = ServiceInstance(
        id="one", type=type_, state=state, host="h", version="1", started=START, heartbeat=START
    )
    for name, value in other.items():
        object.__setattr__(instance, name, value)
    return instance


def found(
    state: ServiceState,
    silent: timedelta,
    *,
    type_: ServiceType = ServiceType.EXECUTOR,
    strategy: RestartStrategy = GRACE,
) -> tuple[ServiceState | None, bool] | None:
    """What a check finds of a server that was last heard of (or came to its state) `silent` ago."""
    rules = LivenessRules(restart_strategy=strategy)
    finding = judge(server(state, type_), since=LATE - silent, now=LATE, rules=rules)
    return None if finding is None else (finding.state, finding.hand_over)


@pytest.mark.parametrize("state", ["CREATED", "RUNNING", "MAINTENANCE", "TERMINATING"])
@pytest.mark.parametrize("type_", list(ServiceType))
def test_a_living_server_is_disconnected_after_the_timeout(state: str, type_: ServiceType) -> None:
    """LIFE-2, LIFE-11: 45 s without a heartbeat, not before."""
    assert found(ServiceState(state), timedelta(seconds=45), type_=type_) is None
    assert found(ServiceState(state), timedelta(seconds=46), type_=type_) == (
        ServiceState.DISCONNECTED,
        False,
    )


def test_a_young_server_is_not_judged() -> None:
    """LIFE-11: the initial delay counts from its start."""
    young = server(ServiceState.CREATED)
    at = START + RULES.initial_delay
    long_ago = START - timedelta(hours=1)
    assert judge(young, since=long_ago, now=at - timedelta(seconds=1), rules=RULES) is None
    assert judge(young, since=long_ago, now=at, rules=RULES) is not None


@pytest.mark.parametrize("type_", [each for each in ServiceType if each is not ServiceType.WORKER])
def test_other_servers_than_workers_are_dead_at_the_next_check(type_: ServiceType) -> None:
    """LIFE-4: DISCONNECTED, then NOT_RUNNING, whatever the strategy."""
    assert found(ServiceState.DISCONNECTED, timedelta(0), type_=type_) == (ServiceState.NOT_RUNNING, False)


@pytest.mark.parametrize(
    ("strategy", "silent", "expected"),
    [
        (GRACE, timedelta(minutes=5) - timedelta(seconds=1), None),
        (GRACE, timedelta(minutes=5), (ServiceState.NOT_RUNNING, True)),
        (RestartStrategy.IMMEDIATELY, timedelta(0), (ServiceState.NOT_RUNNING, True)),
        (RestartStrategy.NEVER, timedelta(0), (ServiceState.NOT_RUNNING, True)),
    ],
)
def test_a_disconnected_worker_is_dead_when_the_strategy_says_so(
    strategy: RestartStrategy, silent: timedelta, expected: tuple[ServiceState, bool] | None
) -> None:
    """LIFE-8: after one more grace period, or at once."""
    assert found(ServiceState.DISCONNECTED, silent, type_=ServiceType.WORKER, strategy=strategy) == expected


@pytest.mark.parametrize("state", ["TERMINATED_GRACEFULLY", "TERMINATED_FORCED"])
def test_a_server_that_ended_is_not_running_at_the_next_check(state: str) -> None:
    """LIFE-2."""
    assert found(ServiceState(state), timedelta(0)) == (ServiceState.NOT_RUNNING, False)


def test_what_a_worker_left_behind_is_taken_over_at_once_unless_it_reported_all() -> None:
    """What it reported is read before anybody looks whether something of it is left."""
    over = (ServiceState.NOT_RUNNING, True)
    assert found(ServiceState.TERMINATED_FORCED, timedelta(0), type_=ServiceType.WORKER) == over
    graceful = ServiceState.TERMINATED_GRACEFULLY
    assert found(graceful, timedelta(seconds=1), type_=ServiceType.WORKER) is None
    assert found(graceful, timedelta(hours=1), type_=ServiceType.WORKER) == over


def test_a_dead_server_becomes_inactive_and_is_forgotten_after_a_week() -> None:
    """LIFE-2, LIFE-15."""
    assert found(ServiceState.NOT_RUNNING, timedelta(0)) == (ServiceState.INACTIVE, False)
    assert found(ServiceState.INACTIVE, timedelta(days=6)) is None
    assert found(ServiceState.INACTIVE, timedelta(days=7)) == (None, False)


@pytest.mark.parametrize(
    ("before", "said", "after"),
    [
        ("CREATED", "RUNNING", "RUNNING"),
        ("RUNNING", "MAINTENANCE", "MAINTENANCE"),
        ("RUNNING", "DISCONNECTED", "DISCONNECTED"),
        ("DISCONNECTED", "RUNNING", "RUNNING"),  # LIFE-3: it may recover
        ("DISCONNECTED", "NOT_RUNNING", "NOT_RUNNING"),
        ("NOT_RUNNING", "RUNNING", "NOT_RUNNING"),  # LIFE-5: no resurrection
        ("NOT_RUNNING", "TERMINATED_FORCED", "NOT_RUNNING"),
        ("NOT_RUNNING", "INACTIVE", "INACTIVE"),
        ("INACTIVE", "RUNNING", "INACTIVE"),
        ("INACTIVE", "NOT_RUNNING", "INACTIVE"),
        ("TERMINATING", "TERMINATED_GRACEFULLY", "TERMINATED_GRACEFULLY"),
        ("TERMINATED_GRACEFULLY", "RUNNING", "TERMINATED_GRACEFULLY"),
        ("TERMINATED_GRACEFULLY", "DISCONNECTED", "TERMINATED_GRACEFULLY"),
        ("TERMINATED_FORCED", "NOT_RUNNING", "NOT_RUNNING"),
    ],
)
def test_what_is_heard_leads_from_state_to_state(before: str, said: str, after: str) -> None:
    """LIFE-2, LIFE-3, LIFE-5."""
    assert heard(server(ServiceState(before)), server(ServiceState(said))).state == after


def test_a_server_that_is_heard_of_for_the_first_time_is_as_it_says() -> None:
    """Whatever it says."""
    assert heard(None, server(ServiceState.INACTIVE)).state is ServiceState.INACTIVE


def test_the_defaults_are_the_documented_ones() -> None:
    """LIFE-8, LIFE-10, LIFE-11, LIFE-15 and, for the interval, page 076 (LIFE-13)."""
    assert (RULES.interval, RULES.timeout, RULES.initial_delay, RULES.heartbeat_interval) == (
        timedelta(seconds=5),
        timedelta(seconds=45),
        timedelta(seconds=45),
        timedelta(seconds=3),
    )
    assert RULES.termination_grace_period == timedelta(minutes=5)
    assert RULES.purge_retention == timedelta(days=7)
    assert RULES.restart_strategy is GRACE


def test_rules_that_would_kill_the_living_are_refused() -> None:
    """LIFE-12: the heartbeat interval is strictly less than the timeout."""
    with pytest.raises(ValueError, match="must be less than the liveness timeout"):
        LivenessRules(heartbeat_interval=timedelta(seconds=45))
    with pytest.raises(ValueError, match="longer than nothing"):
        LivenessRules(interval=timedelta(0))


def test_a_finding_says_why() -> None:
    """The reason travels with the state, for people who look at the list of servers."""
    finding = judge(server(ServiceState.RUNNING), since=START, now=LATE, rules=RULES)
    assert finding == Finding(state=ServiceState.DISCONNECTED, reason="no heartbeat for 0:00:45")
