"""Filters on dates (C §7.3). What they return is text, or a number for the timestamps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from flowtide.expressions import javadate
from flowtide.expressions.faults import Fault
from flowtide.expressions.printing import kind
from flowtide.expressions.runtime import Run

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _text(name: str, value: Any, default: str) -> str:
    if value is None:
        return default
    if not isinstance(value, str):
        raise Fault(f"the argument `{name}` must be a string, not a {kind(value)}")
    return value


def format_value(run: Run, value: Any, format_: Any, zone_name: Any, existing: Any, locale: Any) -> Any:
    """The filter `date`; also used by now()."""
    if value is None:
        return None
    zone = javadate.zone_of(zone_name, run.scope.timezone)
    language = _text("locale", locale, "en")
    moment = javadate.to_datetime(value, zone, existing, language)
    return _write(moment, zone, format_, language)


def _write(moment: datetime, zone: Any, format_: Any, language: str) -> str:
    try:
        return javadate.format_date(moment.astimezone(zone), _text("format", format_, "iso"), language)
    except OverflowError:
        raise Fault("the date is out of range") from None


def _date_add(
    run: Run, value: Any, amount: Any, unit: Any, format_: Any, zone_name: Any, existing: Any, locale: Any
) -> Any:
    if value is None:
        return None
    if isinstance(amount, bool) or not isinstance(amount, int):
        raise Fault(
            f"the argument `amount` of the filter `dateAdd` must be a whole number, not a {kind(amount)}"
        )
    zone = javadate.zone_of(zone_name, run.scope.timezone)
    language = _text("locale", locale, "en")
    try:
        moment = javadate.to_datetime(value, zone, existing, language).astimezone(zone)
    except OverflowError:
        raise Fault("the date is out of range") from None
    return _write(javadate.add(moment, amount, _text("unit", unit, "").upper()), zone, format_, language)


def _timestamp(units_per_second: int) -> Callable[[Run, Any, Any, Any], Any]:
    def apply(run: Run, value: Any, zone_name: Any, existing: Any) -> Any:
        if value is None:
            return None
        moment = javadate.to_datetime(value, javadate.zone_of(zone_name, run.scope.timezone), existing)
        micros = (moment - _EPOCH) // timedelta(microseconds=1)
        if units_per_second <= 1_000_000:
            return micros // (1_000_000 // units_per_second)
        return micros * (units_per_second // 1_000_000)

    return apply


_STAMP: Final = (("timeZone", "existingFormat"), (None, None))
FILTERS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...], tuple[Any, ...]]]] = {
    "date": (format_value, ("format", "timeZone", "existingFormat", "locale"), (None, None, None, None)),
    "dateAdd": (
        _date_add,
        ("amount", "unit", "format", "timeZone", "existingFormat", "locale"),
        (None, None, None, None),
    ),
    "timestamp": (_timestamp(1), *_STAMP),
    "timestampMilli": (_timestamp(1000), *_STAMP),
    "timestampMicro": (_timestamp(1_000_000), *_STAMP),
    "timestampNano": (_timestamp(1_000_000_000), *_STAMP),
}
