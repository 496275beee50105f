"""What triggers that fire at dates have in common, Schedule and ScheduleOnDates (page 485, SCH-07, SCH-11)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Annotated, Literal, Protocol

from pydantic import Field

from flowtide.model.plugin import Condition
from flowtide.model.trigger import InputTrigger


class Calendar(Protocol):
    """Dates in a time zone."""

    @property
    def zone(self) -> tzinfo:
        """The time zone in which they are meant."""
        ...

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The dates after `moment`, ascending, in UTC."""
        ...

    def before(self, moment: datetime) -> Iterator[datetime]:
        """The dates before `moment`, descending, in UTC."""
        ...


class DatedTrigger(InputTrigger):
    """A trigger whose dates are known beforehand."""

    recover_missed_schedules: Annotated[
        Literal["ALL", "LAST", "NONE"] | None,
        Field(
            title="What becomes of missed dates", description="As configured, else ALL, when it is left out."
        ),
    ] = None

    @property
    def calendar(self) -> Calendar:
        """The dates at which it fires, conditions left aside."""
        raise NotImplementedError

    @property
    def all_conditions(self) -> Sequence[Condition]:
        """What must hold on a date."""
        return self.conditions

    @property
    def maximum_delay(self) -> timedelta | None:
        """Dates that are later than this are skipped; None: no date is."""
        return getattr(self, "late_maximum_delay", None)
