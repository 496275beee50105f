"""What the management port looks at: filled in by a process while it starts, read by `flowtide.services.management`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flowtide.index.port import Index
from flowtide.log.port import Log
from flowtide.model.jobs import RunTask
from flowtide.model.services import ServiceType
from flowtide.processors.runtime import Runtime
from flowtide.settings import Settings
from flowtide.telemetry import Metrics


class Jobs(Protocol):
    """What is asked of a worker."""

    @property
    def running(self) -> int:
        """Attempts and evaluations that run now."""

    @property
    def pending(self) -> int:
        """Jobs that wait for a slot."""

    @property
    def is_consuming(self) -> bool:
        """Whether it takes jobs."""

    @property
    def jobs(self) -> Sequence[RunTask]:
        """What runs now."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A consumer group of this process."""

    group: str
    topics: tuple[str, ...]
    runtime: Runtime | None = None  # None: it keeps no partitions that could be shown


@dataclass(kw_only=True)
class Watched:
    """What the endpoints look at; the process fills it in while it starts."""

    settings: Settings
    metrics: Metrics
    services: frozenset[ServiceType]
    is_ready: Callable[[], bool]
    log: Log | None = None
    index: Index | None = None
    worker: Jobs | None = None
    triggers: Runtime | None = None
    streams: list[Stream] = field(default_factory=list)
