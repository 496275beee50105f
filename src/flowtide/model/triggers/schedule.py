"""The Schedule trigger: fires at the dates of a cron expression (page 485, SCH-01 to SCH-09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from flowtide.errors import ScheduleInvalid
from flowtide.model.cron import Cron
from flowtide.model.durations import Duration
from flowtide.model.plugin import Condition
from flowtide.model.trigger import InputTrigger


class Schedule(InputTrigger):
    """Fires at the dates of a cron expression."""

    title: ClassVar[str] = "Start the flow on a schedule."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.triggers.types.Schedule",)

    cron: str  # five fields, six with seconds first when `withSeconds`, or a nickname such as `@daily`
    timezone: str = "Etc/UTC"
    with_seconds: bool = False
    recover_missed_schedules: Literal["ALL", "LAST", "NONE"] | None = None  # None: as configured, else ALL
    late_maximum_delay: Duration | None = None  # a date that is later than this is skipped
    schedule_conditions: Sequence[Condition] = ()  # deprecated: `conditions`
    backfill: Mapping[str, Any] | None = None  # deprecated, no effect: backfills are started by the API

    @cached_property
    def dates(self) -> Cron:
        """The dates at which it fires, conditions left aside."""
        return Cron(self.cron, self.timezone, seconds=self.with_seconds)

    @property
    def all_conditions(self) -> Sequence[Condition]:
        """The conditions under both names."""
        return (*self.conditions, *self.schedule_conditions)

    @model_validator(mode="after")
    def _has_dates(self) -> Self:
        try:
            _ = self.dates
        except ScheduleInvalid as error:
            raise PydanticCustomError("cron", "{reason}", {"reason": error.message}) from None
        return self
