"""Cron expressions: the dates of one in a time zone (SCH-01 to SCH-04); no state but the parsed expression.

Dates are computed with cronsim (5 and 6 fields, `L`, names, day rules).  What it leaves open is settled
here: nicknames, and expressions with seconds on the days when clocks change.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from flowtide.errors import ScheduleInvalid

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_SHIFT = timedelta(hours=3)  # clocks are turned back by no more than this
_LONGEST_GAP = timedelta(hours=25)  # and forwards by no more than this: Samoa skipped a day in 2011
_SECOND = timedelta(seconds=1)


class Cron:
    """A cron expression in a time zone: its dates after and before a moment, in UTC.

    With `seconds` the expression has six fields, else five, or is a nickname (SCH-01, SCH-02).  An
    expression that names its hours and minutes fires once on a day when clocks change: a time that is
    skipped is made up for when the clocks have moved on, a time that comes twice fires the first time.  One
    that starts with a star in either field follows real time.  Raises ScheduleInvalid.
    """

    def __init__(self, expression: str, zone: str = "UTC", *, seconds: bool = False) -> None:
        text = expression.strip()
        if text.startswith("@"):
            plain = NICKNAMES.get(text.lower())
            if plain is None:
                raise ScheduleInvalid(
                    f"there is no nickname {text!r}; known are {', '.join(sorted(NICKNAMES))}"
                )
            fields = ["0", *plain.split()]
        else:
            fields = text.split()
            wanted = 6 if seconds else 5
            if len(fields) != wanted:
                hint = "with `withSeconds` it has six" if seconds else "set `withSeconds: true` for six"
                raise ScheduleInvalid(f"cron {expression!r} has {len(fields)} fields; five are usual, {hint}")
            if not seconds:
                fields.insert(0, "0")
        self._expression = " ".join(fields)
        self._zone = _zone(zone)
        # A fixed time of day is computed on the clock on the wall, everything else in real time.
        self._by_the_wall = (
            self._zone is not UTC and not fields[1].startswith("*") and not fields[2].startswith("*")
        )
        try:
            CronSim(self._expression, datetime(2000, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            reason = str(error)
            raise ScheduleInvalid(
                f"cron {expression!r} cannot be read: {reason[:1].lower()}{reason[1:]}"
            ) from error

    @property
    def zone(self) -> tzinfo:
        """The time zone in which the expression is meant."""
        return self._zone

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The dates after `moment`, ascending, without end unless the expression has none within 50 years."""
        last = moment.astimezone(UTC)
        local = moment.astimezone(self._zone)
        for date in self._simulate(local, reverse=False):
            if date > last:
                last = date
                yield date

    def before(self, moment: datetime) -> Iterator[datetime]:
        """The dates before `moment`, descending."""
        last = moment.astimezone(UTC)
        local = moment.astimezone(self._zone)
        if self._by_the_wall and local.utcoffset() != local.replace(fold=1 - local.fold).utcoffset():
            local = (moment.astimezone(UTC) + _LONGEST_SHIFT).astimezone(self._zone)
        for date in self._simulate(local, reverse=True):
            if date < last:
                last = date
                yield date

    def _simulate(self, local: datetime, *, reverse: bool) -> Iterator[datetime]:
        if not self._by_the_wall:
            for date in CronSim(self._expression, local, reverse=reverse):
                yield date.astimezone(UTC)
            return
        for date in CronSim(self._expression, local.replace(tzinfo=None), reverse=reverse):
            yield _on_the_wall(date, self._zone)


def _on_the_wall(local: datetime, zone: tzinfo) -> datetime:
    """The moment at which a clock in `zone` first shows `local`, or has just skipped it."""
    aware = local.replace(tzinfo=zone)
    back = aware.astimezone(UTC).astimezone(zone)
    if back.replace(tzinfo=None) == local:
        return aware.astimezone(UTC)
    # `local` was skipped.  Read with the offset of before the change it lies behind the gap by as much as
    # it lies in it.
    low, high = local - _LONGEST_GAP, local
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        exists = middle.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) == middle
        low, high = (middle, high) if exists else (low, middle)
    return high.replace(microsecond=0, tzinfo=zone).astimezone(UTC)


def _zone(name: str) -> tzinfo:
    if name in {"UTC", "Etc/UTC", "Z", "GMT"}:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ScheduleInvalid(
            f"there is no time zone {name!r}; it is one like Europe/Paris, or UTC"
        ) from error
