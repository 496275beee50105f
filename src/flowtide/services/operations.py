"""Kill switches and maintenance as a process sees them: saved settings come in, verdicts for the executor go out.

State: the switches that may be on, decoded.  `watch` tells executors and workers when something begins or ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import structlog

from flowtide.errors import LogUnavailable
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.log.keys import ResourceKey
from flowtide.model.instance import (
    KILL_SWITCH_DECODER,
    KILL_SWITCH_LABEL,
    MAINTENANCE,
    KillSwitch,
    SwitchType,
)
from flowtide.model.records import UNREADABLE, Label
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.services import ServiceState, ServiceType
from flowtide.model.states import State
from flowtide.processors.executions import ExecutionsPartition
from flowtide.processors.runtime import Partition
from flowtide.processors.switches import Verdict
from flowtide.services.catalog import Catalog
from flowtide.services.liveness import Heartbeat

_OUTCOMES: Final = {
    SwitchType.KILL: State.KILLED,
    SwitchType.CANCEL: State.CANCELLED,
    SwitchType.IGNORE: None,
}
_DRASTIC: Final = {SwitchType.IGNORE: 0, SwitchType.KILL: 1, SwitchType.CANCEL: 2}
"""Of several switches the most drastic one counts (GAP-11)."""

_LONGEST_WAIT_SECONDS = 5.0
_NONE: Final[Mapping[str, KillSwitch]] = MappingProxyType({})

logger = structlog.get_logger(__name__)


class Operations:
    """`flowtide.processors.executions.Switches` from the catalog."""

    def __init__(
        self, catalog: Catalog, *, clock: Callable[[], datetime], standing: Mapping[str, KillSwitch] = _NONE
    ) -> None:
        """`catalog` is started already; `standing` are switches that this process was started with, by their names."""
        self._catalog = catalog
        self._clock = clock
        self._standing = standing
        self._switches: list[tuple[str, KillSwitch, str | None]] = []
        self._maintenance = False
        self._changed = asyncio.Event()
        self._parts: Mapping[str, Any] = {}
        self._heartbeats: Mapping[ServiceType, Heartbeat] = {}
        self._end = catalog.on_change(self._on_change)
        self._task: asyncio.Task[None] | None = None
        self._read()

    @property
    def are_on(self) -> bool:
        """See Switches."""
        return self._maintenance or bool(self._switches)

    @property
    def maintenance(self) -> bool:
        """Whether the installation is in maintenance."""
        return self._maintenance

    def verdict(
        self, tenant: str, namespace: str, flow_id: str, execution_id: str, now: datetime
    ) -> Verdict | None:
        """See Switches."""
        for identifier, switch, by in self._switches:
            if switch.is_on(now) and switch.is_about(tenant, namespace, flow_id, execution_id):
                return Verdict(
                    state=_OUTCOMES[switch.evaluation_type],
                    label=Label(key=KILL_SWITCH_LABEL, value=identifier),
                    by=by,
                )
        return None

    def watch(self, parts: Mapping[str, Any], heartbeats: Mapping[ServiceType, Heartbeat]) -> None:
        """Begin to look at what changes, and at dates that come.

        `parts` are those of the process, of which `executions` reviews its executions and `worker` comes to rest.
        """
        self._parts, self._heartbeats = parts, heartbeats
        self._task = asyncio.create_task(self._watch(), name="operations")

    async def close(self) -> None:
        """Watch no more."""
        self._end()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _on_change(self, key: ResourceKey, resource: Resource | None) -> None:
        if key.tenant == SYSTEM_TENANT and (
            key.kind == ResourceKind.KILL_SWITCH
            or (key.kind == ResourceKind.SETTING and key.identifier == MAINTENANCE)
        ):
            self._read()
            self._changed.set()

    def _read(self) -> None:
        found: list[tuple[str, KillSwitch, str | None]] = [
            (name, switch, None) for name, switch in self._standing.items()
        ]
        for identifier, saved in self._catalog.list(ResourceKind.KILL_SWITCH, SYSTEM_TENANT):
            try:
                switch = KILL_SWITCH_DECODER.decode(saved.body)
            except UNREADABLE as error:
                logger.warning("a kill switch cannot be read", id=identifier, reason=str(error))
                continue
            past = switch.end_date is not None and switch.end_date <= self._clock()
            if (
                switch.enabled
                and not switch.deleted
                and not past
                and switch.evaluation_type is not SwitchType.PASS
            ):
                found.append((identifier, switch, saved.by))
        self._switches = sorted(
            found, key=lambda each: (_DRASTIC[each[1].evaluation_type], each[1].start_date)
        )
        setting = self._catalog.get(ResourceKind.SETTING, SYSTEM_TENANT, MAINTENANCE)
        self._maintenance = setting is not None and not setting.deleted

    async def _watch(self) -> None:
        seen: Any = None
        while True:
            now = self._clock()
            on = [identifier for identifier, switch, _ in self._switches if switch.is_on(now)]
            state = (self._maintenance, on, self._switches)
            if state != seen and (seen is not None or self.are_on):
                await self._tell()
            seen = state
            try:
                await asyncio.wait_for(self._changed.wait(), self._patience(now))
            except TimeoutError:
                if any(switch.end_date is not None for _, switch, _ in self._switches):
                    self._read()  # what is over costs nothing any more
            self._changed.clear()

    async def _tell(self) -> None:
        executions, worker = self._parts.get("executions"), self._parts.get("worker")
        if worker is not None:
            worker.draining = self._maintenance
        if executions is not None:
            executions.request(_review)
        for service in (ServiceType.EXECUTOR, ServiceType.WORKER):
            if service in self._heartbeats:
                await _show_maintenance(self._heartbeats[service], self._maintenance)

    def _patience(self, now: datetime) -> float | None:
        """How long nothing begins or ends by itself."""
        dates = [date for _, switch, _ in self._switches for date in (switch.start_date, switch.end_date)]
        coming = [(date - now).total_seconds() for date in dates if date is not None and date > now]
        # Waits are cut, because the clock of the system may be set.
        return min(min(coming) + 0.001, _LONGEST_WAIT_SECONDS) if coming else None


def _review(partition: Partition, now: datetime) -> None:
    assert isinstance(partition, ExecutionsPartition)
    partition.review()


async def _show_maintenance(heartbeat: Heartbeat, maintenance: bool) -> None:
    """Have a server's heartbeat tell whether it is in maintenance (MM-02)."""
    state = heartbeat.instance.state
    try:
        if maintenance and state is ServiceState.RUNNING:
            await heartbeat.become(ServiceState.MAINTENANCE)
        elif not maintenance and state is ServiceState.MAINTENANCE:
            await heartbeat.become(ServiceState.RUNNING)
    except LogUnavailable:
        return  # the next heartbeat tells it
