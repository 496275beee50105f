"""Heartbeats and liveness of servers, on the topic `services` (pages 015 and 076, catalogue A §5)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from flowtide.model.records import Value


class ServiceType(StrEnum):
    """What a server does (ARCH-18)."""

    WEBSERVER = "WEBSERVER"
    EXECUTOR = "EXECUTOR"
    WORKER = "WORKER"
    SCHEDULER = "SCHEDULER"
    INDEXER = "INDEXER"


class ServiceState(StrEnum):
    """Where a server is in its life (LIFE-2, LIFE-3)."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    MAINTENANCE = "MAINTENANCE"
    TERMINATING = "TERMINATING"
    TERMINATED_GRACEFULLY = "TERMINATED_GRACEFULLY"
    TERMINATED_FORCED = "TERMINATED_FORCED"
    DISCONNECTED = "DISCONNECTED"
    NOT_RUNNING = "NOT_RUNNING"
    INACTIVE = "INACTIVE"


class ServiceInstance(Value, frozen=True):
    """A server as it last said, or as another one found it to be; the record's key is `id`."""

    id: str  # unique per process start and type
    type: ServiceType
    state: ServiceState
    host: str
    version: str
    started: datetime
    heartbeat: datetime  # when this was said
    reported_by: str | None = None  # the id of the server that found it, None: itself
    reason: str | None = None
    properties: dict[str, str] = {}  # e.g. worker group, threads, management port


SERVICE_DECODER: msgspec.json.Decoder[ServiceInstance] = msgspec.json.Decoder(ServiceInstance)
