"""Whether a command needs an executor of its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flowtide.cli.saving_services import executor_runs
from flowtide.model.services import ServiceInstance, ServiceState, ServiceType

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("kind", "state", "age_seconds", "runs"),
    [
        (ServiceType.EXECUTOR, ServiceState.RUNNING, 5, True),
        (ServiceType.EXECUTOR, ServiceState.MAINTENANCE, 5, True),
        (ServiceType.EXECUTOR, ServiceState.RUNNING, 600, False),
        (ServiceType.EXECUTOR, ServiceState.TERMINATED_GRACEFULLY, 5, False),
        (ServiceType.WORKER, ServiceState.RUNNING, 5, False),
    ],
)
def test_only_an_executor_at_work_counts(
    kind: ServiceType, state: ServiceState, age_seconds: int, runs: bool
) -> None:
    """One that was silent for longer than its liveness allows, or that ended, saves nothing."""
    instance = ServiceInstance(
        id="a",
        type=kind,
        state=state,
        host="h",
        version="1",
        started=_NOW,
        heartbeat=_NOW - timedelta(seconds=age_seconds),
    )

    assert executor_runs([instance], _NOW - timedelta(seconds=45)) is runs
