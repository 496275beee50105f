"""The Schedule trigger: fires at the dates of a cron expression (page 485, SCH-01 to SCH-09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.errors import ScheduleInvalid
from flowtide.model.cron import Cron
from flowtide.model.durations import Duration
from flowtide.model.plugin import Condition
from flowtide.model.triggers.dated import DatedTrigger


class Schedule(DatedTrigger):
    """Fires at the dates of a cron expression."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "date": ("date-time", "The date of this execution"),
        "next": ("date-time", "The following date"),
        "previous": ("date-time", "The date before"),
    }
    title: ClassVar[str] = "Start the flow on a schedule."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.triggers.types.Schedule",)
    example: ClassVar[str] = """\
id: daily
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "for {{ trigger.date ?? execution.startDate }}"
triggers:
  - id: every_morning
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "0 9 * * *"
    timezone: Europe/Paris
"""

    cron: Annotated[
        str,
        Field(
            title="The cron expression",
            description="Five fields, six with the seconds first when `withSeconds`, or a nickname such as `@daily`.",
        ),
    ]
    timezone: Annotated[str, Field(title="The time zone in which it is meant")] = "Etc/UTC"
    with_seconds: Annotated[bool, Field(title="Whether the expression has six fields")] = False
    late_maximum_delay: Annotated[
        Duration | None, Field(title="Dates that are later than this are skipped")
    ] = None
    schedule_conditions: Annotated[Sequence[Condition], Field(title="Deprecated: `conditions`")] = ()
    backfill: Annotated[
        Mapping[str, Any] | None,
        Field(title="Deprecated, without effect", description="Backfills are started by the API."),
    ] = None

    @cached_property
    def calendar(self) -> Cron:
        """The dates at which it fires, conditions left aside."""
        return Cron(self.cron, self.timezone, seconds=self.with_seconds)

    @property
    def all_conditions(self) -> Sequence[Condition]:
        """The conditions under both names."""
        return (*self.conditions, *self.schedule_conditions)

    @model_validator(mode="after")
    def _has_dates(self) -> Self:
        try:
            _ = self.calendar
        except ScheduleInvalid as error:
            raise PydanticCustomError("cron", "{reason}", {"reason": error.message}) from None
        return self
