"""The ScheduleOnDates trigger: fires at the dates of a list (SCH-11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Annotated, ClassVar, Self
from zoneinfo import ZoneInfo

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.triggers.dated import DatedTrigger


class DateList:
    """Given dates, in order, each once."""

    def __init__(self, dates: Sequence[datetime], zone: tzinfo) -> None:
        self._zone = zone
        aware = (date if date.tzinfo is not None else date.replace(tzinfo=zone) for date in dates)
        self._dates = sorted({date.astimezone(UTC) for date in aware})

    @property
    def zone(self) -> tzinfo:
        """See `Calendar.zone`."""
        return self._zone

    def after(self, moment: datetime) -> Iterator[datetime]:
        """See `Calendar.after`."""
        return (date for date in self._dates if date > moment)

    def before(self, moment: datetime) -> Iterator[datetime]:
        """See `Calendar.before`."""
        return (date for date in reversed(self._dates) if date < moment)


class ScheduleOnDates(DatedTrigger):
    """Fires at the dates of a list."""

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "date": ("date-time", "The date of this execution"),
        "next": ("date-time", "The following date"),
        "previous": ("date-time", "The date before"),
    }
    title: ClassVar[str] = "Start the flow on given dates."
    example: ClassVar[str] = """\
id: on_some_days
namespace: company.team
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "for {{ trigger.date ?? execution.startDate }}"
triggers:
  - id: releases
    type: io.kestra.plugin.core.trigger.ScheduleOnDates
    timezone: Europe/Paris
    dates:
      - "2031-01-01T09:00:00+01:00"
      - "2031-07-01T09:00:00"
"""

    dates: Annotated[
        Sequence[datetime],
        Field(
            title="The dates",
            description="ISO-8601; those without an offset are in `timezone`.",
            min_length=1,
        ),
    ]
    timezone: Annotated[
        str, Field(title="The time zone of dates without an offset, and of `trigger.date`")
    ] = "Etc/UTC"

    @cached_property
    def calendar(self) -> DateList:
        """The dates in order."""
        zone = UTC if self.timezone in {"UTC", "Etc/UTC", "Z", "GMT"} else ZoneInfo(self.timezone)
        return DateList(self.dates, zone)

    @model_validator(mode="after")
    def _has_a_zone(self) -> Self:
        try:
            _ = self.calendar
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError(
                "timezone",
                "there is no time zone `{zone}`; it is one like Europe/Paris, or UTC",
                {"zone": self.timezone},
            ) from None
        return self
