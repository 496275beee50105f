"""Conditions on a date, by default that of the schedule (CND-02 to CND-06).

The day of a date is the one in its own offset.  Bounds are not included.
"""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, ConditionPlugin, example_on_schedule

_OLD = "io.kestra.core.models.conditions.types."
_FORMER = "io.kestra.plugin.core.condition."
_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")

DayOfWeek = Literal["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"]


class OnDate(ConditionPlugin):
    """Looks at a date: the schedule's, unless another one is named."""

    date: Annotated[
        str, Field(title="The date that is looked at, with its offset; that of the schedule by default")
    ] = "{{ trigger.date }}"

    def _moment(self, context: ConditionContext) -> datetime:
        return _as_moment(context.render(self.date))


class _Between(OnDate):
    after: Annotated[str | None, Field(title="The bound after which it holds, itself not included")] = None
    before: Annotated[str | None, Field(title="The bound before which it holds, itself not included")] = None

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if self.after is None and self.before is None:
            raise PydanticCustomError("bounds", "needs `after`, `before` or both")
        return self


class DateTimeBetween(_Between):
    """The date is after one moment and before another."""

    title: ClassVar[str] = "Dates between two moments."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.DateTimeBetween, after: '2030-01-01T00:00:00Z'}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}DateTimeBetweenCondition",
        f"{_FORMER}DateTimeBetweenCondition",
    )

    def holds(self, context: ConditionContext) -> bool:
        moment = self._moment(context)
        if self.after is not None and moment <= _as_moment(context.render(self.after)):
            return False
        return self.before is None or moment < _as_moment(context.render(self.before))


class TimeBetween(_Between):
    """The date's time of day is after one time and before another; both have an offset."""

    title: ClassVar[str] = "Times of day between two times."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.TimeBetween, after: '08:00:00Z', before: '18:00:00Z'}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}TimeBetweenCondition", f"{_FORMER}TimeBetweenCondition")

    def holds(self, context: ConditionContext) -> bool:
        moment = self._moment(context)
        if self.after is not None and moment <= _at_time(moment, context.render(self.after)):
            return False
        return self.before is None or moment < _at_time(moment, context.render(self.before))


class DayWeek(OnDate):
    """The date is on a day of the week."""

    title: ClassVar[str] = "One day of the week."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.DayWeek, dayOfWeek: MONDAY}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}DayWeekCondition", f"{_FORMER}DayWeekCondition")

    day_of_week: Annotated[DayOfWeek, Field(title="The day of the week")]

    def holds(self, context: ConditionContext) -> bool:
        return _DAYS[self._moment(context).weekday()] == self.day_of_week


class DayWeekInMonth(OnDate):
    """The date is the first, second, third, fourth or last of such a weekday in its month."""

    title: ClassVar[str] = "A day of the week, counted within the month."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.DayWeekInMonth, dayOfWeek: MONDAY, dayInMonth: FIRST}"
    )
    aliases: ClassVar[tuple[str, ...]] = (
        f"{_OLD}DayWeekInMonthCondition",
        f"{_FORMER}DayWeekInMonthCondition",
    )

    day_of_week: Annotated[DayOfWeek, Field(title="The day of the week")]
    day_in_month: Annotated[
        Literal["FIRST", "SECOND", "THIRD", "FOURTH", "LAST"], Field(title="Which of these days of the month")
    ]

    def holds(self, context: ConditionContext) -> bool:
        day = self._moment(context).date()
        if _DAYS[day.weekday()] != self.day_of_week:
            return False
        if self.day_in_month == "LAST":
            return day.day + 7 > _days_in_month(day)
        return ("FIRST", "SECOND", "THIRD", "FOURTH").index(self.day_in_month) == (day.day - 1) // 7


class Weekend(OnDate):
    """The date is a Saturday or a Sunday."""

    title: ClassVar[str] = "Saturdays and Sundays."
    example: ClassVar[str] = example_on_schedule("{type: io.kestra.plugin.core.condition.Weekend}")
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}WeekendCondition", f"{_FORMER}WeekendCondition")

    def holds(self, context: ConditionContext) -> bool:
        return self._moment(context).weekday() >= 5


def _as_moment(value: Any) -> datetime:
    if isinstance(value, datetime):
        moment = value
    else:
        text = str(value).strip().partition("[")[0]  # Java adds a zone's name in brackets to the offset
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"`{value}` is not an ISO-8601 date and time") from None
    if moment.tzinfo is None:
        raise ValueError(f"`{value}` is a date without a zone or an offset")
    return moment


def _at_time(moment: datetime, value: Any) -> datetime:
    """The time on the moment's day, as that day is at the time's offset."""
    try:
        clock = value if isinstance(value, time) else time.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError(f"`{value}` is not an ISO-8601 time") from None
    if clock.tzinfo is None:
        return datetime.combine(moment.date(), clock, moment.tzinfo)
    return datetime.combine(moment.astimezone(clock.tzinfo).date(), clock)


def _days_in_month(day: date) -> int:
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1) if day.year < 9999 else None
    return 31 if following is None else (following - day.replace(day=1)).days
