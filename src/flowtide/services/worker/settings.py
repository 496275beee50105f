"""What a worker is handed by the service that wires it: a clock, and what the operator configured as one value."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from flowtide.expressions import Limits
from flowtide.model.offload import DEFAULT_LIMIT_BYTES


class Clock(Protocol):
    """The time of day, and waiting for it to pass."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        """Wait on the event loop."""
        await asyncio.sleep(duration.total_seconds())


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What an operator may have configured; the defaults are those of the settings table."""

    threads: int = 16  # attempts that run at the same time, without the inline ones (`worker.threads`)
    group: str | None = None  # the worker group (`worker.group`)
    topic: str = "worker_jobs"  # where the jobs of this group are
    working_folder: Path | None = (
        None  # parent of working directories (`tasks.tmp-dir.path`); None: the system's
    )
    environment: Mapping[str, str] = field(
        default_factory=dict
    )  # of the server, inherited by processes (PR2)
    variables_prefix: str = "ENV_"  # `variables.env-vars-prefix`
    global_variables: Mapping[str, Any] = field(default_factory=dict)  # `variables.globals`
    environment_name: str | None = None  # `environment.name`, seen as `kestra.environment`
    url: str | None = None  # `url`, seen as `kestra.url`
    recursive_rendering: bool = False  # `variables.recursive-rendering`
    plugin_configurations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by type (PLUG-4)
    outputs_limit_bytes: int = DEFAULT_LIMIT_BYTES  # of a task run's outputs as JSON; larger ones are stored
    limits: Limits = field(default_factory=Limits)  # what one rendering may use: time, text, elements
    batch: int = 200  # records taken at once

    def base_variables(self) -> dict[str, Any]:
        """The roots that every template sees: `envs`, `globals`, `kestra` (C V28 to V31)."""
        prefix = self.variables_prefix
        envs = {
            name[len(prefix) :].lower(): value
            for name, value in self.environment.items()
            if name.startswith(prefix) and name != prefix
        }
        about = {"environment": self.environment_name, "url": self.url}
        return {
            "envs": envs,
            "globals": dict(self.global_variables),
            "kestra": {name: value for name, value in about.items() if value is not None},
        }
