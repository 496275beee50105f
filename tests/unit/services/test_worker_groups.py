"""Which worker groups have workers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flowtide.model.services import ServiceInstance, ServiceState, ServiceType
from flowtide.services.worker_groups import WorkerGroups

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def server(service: ServiceType, state: ServiceState, group: str | None) -> ServiceInstance:
    """A server that said so."""
    return ServiceInstance(
        id="one",
        type=service,
        state=state,
        host="here",
        version="1",
        started=NOW,
        heartbeat=NOW,
        properties={} if group is None else {"workerGroup": group},
    )


@pytest.mark.parametrize(
    ("service", "state", "group", "expected"),
    [
        (ServiceType.WORKER, ServiceState.RUNNING, "gpu", True),
        (ServiceType.WORKER, ServiceState.CREATED, "gpu", True),
        (ServiceType.WORKER, ServiceState.TERMINATING, "gpu", False),
        (ServiceType.WORKER, ServiceState.DISCONNECTED, "gpu", False),
        (ServiceType.WORKER, ServiceState.RUNNING, "cpu", False),
        (ServiceType.WORKER, ServiceState.RUNNING, None, False),
        (ServiceType.EXECUTOR, ServiceState.RUNNING, "gpu", False),
    ],
)
def test_a_group_has_workers_when_one_of_it_takes_jobs(
    service: ServiceType, state: ServiceState, group: str | None, expected: bool
) -> None:
    """WG-08: what counts is a live worker that was started for the group."""
    instance = server(service, state, group)
    assert WorkerGroups(lambda: {"one": instance})("gpu") is expected


def test_before_anything_was_heard_nothing_is_given_up() -> None:
    """An executor that has just started does not fail what another one would have run."""
    assert WorkerGroups(lambda: None)("gpu")
    assert not WorkerGroups(dict)("gpu")
