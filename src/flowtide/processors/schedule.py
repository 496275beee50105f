"""When a schedule is due: a calendar of dates and conditions in, dates out; no state.

Also what becomes of dates that were missed, and what `{{ trigger.* }}` gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any

from flowtide.errors import FlowtideError
from flowtide.model.triggers.dated import Calendar

_SEARCHED = 10_000  # dates on which conditions are tried before the search goes on another time
_TICK = timedelta(microseconds=1)

Holds = Callable[[datetime], bool]


class Recover(StrEnum):
    """What becomes of dates that passed while nobody watched (SCH-07)."""

    ALL = "ALL"
    LAST = "LAST"
    NONE = "NONE"


class Timetable:
    """The dates of a calendar on which conditions hold.

    `holds` tells for a date whether all conditions hold; what it raises is raised from here only by
    `holds_at`: while dates are searched, a date whose conditions fail counts, so that the failure shows
    when it is due (TRG-08).
    """

    def __init__(self, calendar: Calendar, holds: Holds | None = None) -> None:
        self._calendar = calendar
        self._holds = holds

    @property
    def zone(self) -> tzinfo:
        """The time zone in which the dates are meant."""
        return self._calendar.zone

    def holds_at(self, date: datetime) -> bool:
        """Whether the conditions hold at `date`; raises what they raise."""
        return self._holds is None or self._holds(date)

    def due_after(self, moment: datetime) -> datetime | None:
        """The next date to look at: one on which the conditions hold, or the last of very many on
        which none did.
        """
        date: datetime | None = None
        for tried, date in enumerate(self._calendar.after(moment), start=1):
            if self._counts(date) or tried >= _SEARCHED:
                break
        return date

    def next_after(self, moment: datetime) -> datetime | None:
        """The next date on which the conditions hold; None when the next 10,000 are all refused."""
        return self._first(self._calendar.after(moment))

    def previous_before(self, moment: datetime) -> datetime | None:
        """The last date before `moment` on which the conditions hold; None when the last 10,000
        are all refused.
        """
        return self._first(self._calendar.before(moment))

    def variables(self, date: datetime) -> dict[str, Any]:
        """What `{{ trigger.* }}` gives for a firing at `date`: ISO dates in the schedule's zone (SCH-05)."""
        found = {"date": date, "next": self.next_after(date), "previous": self.previous_before(date)}
        return {name: iso(each, self.zone) for name, each in found.items() if each is not None}

    def recovered(self, due: datetime, until: datetime, recover: Recover) -> datetime | None:
        """Which date to go on with when dates before `until`, from `due` on, were missed; it may be later."""
        if due >= until or recover is Recover.ALL:
            return due
        if recover is Recover.LAST:
            last = self.previous_before(until)
            return due if last is None else max(due, last)
        return self.due_after(until - _TICK)

    def in_time(self, due: datetime, now: datetime, delay: timedelta | None) -> datetime | None:
        """Which date to go on with when a date that is later than `delay` is skipped; None is no limit."""
        if delay is None or now - due <= delay:
            return due
        return self.due_after(now - delay - _TICK)

    def _first(self, dates: Iterator[datetime]) -> datetime | None:
        for tried, date in enumerate(dates, start=1):
            if self._counts(date):
                return date
            if tried >= _SEARCHED:
                break
        return None

    def _counts(self, date: datetime) -> bool:
        if self._holds is None:
            return True
        try:
            return self._holds(date)
        except FlowtideError:
            return True


def iso(date: datetime, zone: tzinfo) -> str:
    """A date as `{{ trigger.date }}` gives it: ISO-8601 with the offset of `zone`, `Z` for UTC."""
    return date.astimezone(zone).isoformat().replace("+00:00", "Z")
