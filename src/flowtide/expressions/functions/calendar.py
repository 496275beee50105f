"""Functions that ask a date about its place in the calendar (C §8.6)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from flowtide.expressions import javadate
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind
from flowtide.expressions.runtime import Run

_DAYS: Final = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_POSITIONS: Final = ("FIRST", "SECOND", "THIRD", "FOURTH")


def _moment(run: Run, name: str, value: Any) -> datetime:
    """The date as it is written, without a change of zone."""
    if value is None:
        raise Fault(f"the function `{name}` needs a date")
    try:
        return javadate.to_datetime(value, run.scope.timezone)
    except Fault as fault:
        raise Fault(f"the function `{name}`: {fault.message}") from None


def _is_weekend(run: Run, value: Any) -> bool:
    return _moment(run, "isWeekend", value).isoweekday() >= 6


@lru_cache(maxsize=64)
def _holidays(country: str, subdivision: str | None, year: int) -> frozenset[date]:
    import holidays

    try:
        return frozenset(holidays.country_holidays(country, subdiv=subdivision, years=year))
    except (NotImplementedError, ValueError, KeyError):
        place = country if subdivision is None else f"{country}-{subdivision}"
        raise Fault(
            f"the function `isPublicHoliday` knows no country or subdivision '{place[:20]}'"
        ) from None


def _is_public_holiday(run: Run, value: Any, country: Any, subdivision: Any) -> bool:
    if not isinstance(country, str):
        raise Fault(f"the function `isPublicHoliday` needs a country code, not a {kind(country)}")
    if subdivision is not None and not isinstance(subdivision, str):
        raise Fault(
            f"the function `isPublicHoliday` needs a subdivision as a string, not a {kind(subdivision)}"
        )
    day = _moment(run, "isPublicHoliday", value).date()
    code = country.upper()
    part = None if subdivision is None else subdivision.upper().removeprefix(code + "-")
    return day in _holidays(code, part, day.year)


def _is_day_week_in_month(run: Run, value: Any, day_of_week: Any, position: Any) -> bool:
    day = _moment(run, "isDayWeekInMonth", value)
    weekday = day_of_week.upper() if isinstance(day_of_week, str) else ""
    place = position.upper() if isinstance(position, str) else ""
    if weekday not in _DAYS:
        raise Fault(f"the argument `dayOfWeek` must be one of {', '.join(_DAYS)}")
    if place not in (*_POSITIONS, "LAST"):
        raise Fault("the argument `position` must be FIRST, SECOND, THIRD, FOURTH or LAST")
    if _DAYS[day.weekday()] != weekday:
        return False
    if place == "LAST":
        return (day.date() + timedelta(days=7)).month != day.month
    return (day.day - 1) // 7 == _POSITIONS.index(place)


def _hour_of_day(run: Run, value: Any) -> int:
    if isinstance(value, str) and "T" not in value:
        raise Fault("the function `hourOfDay` needs a date with a time")
    return _moment(run, "hourOfDay", value).hour


_DATE: Final[tuple[str, ...]] = ("date",)
FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "isWeekend": (_is_weekend, _DATE, ()),
    "isPublicHoliday": (_is_public_holiday, ("date", "countryCode", "subDivision"), (None,)),
    "isDayWeekInMonth": (_is_day_week_in_month, ("date", "dayOfWeek", "position"), ()),
    "dayOfWeek": (lambda run, value: _DAYS[_moment(run, "dayOfWeek", value).weekday()], _DATE, ()),
    "dayOfMonth": (lambda run, value: _moment(run, "dayOfMonth", value).day, _DATE, ()),
    "monthOfYear": (lambda run, value: _moment(run, "monthOfYear", value).month, _DATE, ()),
    "hourOfDay": (_hour_of_day, _DATE, ()),
}
