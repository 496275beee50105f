"""A condition on public holidays (CND-07); the calendars are those of the library `holidays`."""

from __future__ import annotations

import locale
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, example_on_schedule
from flowtide.model.conditions.dates import OnDate

if TYPE_CHECKING:
    from holidays import HolidayBase

_OLD = "io.kestra.core.models.conditions.types."
_FORMER = "io.kestra.plugin.core.condition."
_FALLBACK = "US"  # where the server's locale names no country, as in most containers


class PublicHoliday(OnDate):
    """The date is a public holiday of a country, or of a part of it."""

    title: ClassVar[str] = "Public holidays."
    example: ClassVar[str] = example_on_schedule(
        "{type: io.kestra.plugin.core.condition.PublicHoliday, country: FR}"
    )
    aliases: ClassVar[tuple[str, ...]] = (f"{_OLD}PublicHolidayCondition", f"{_FORMER}PublicHolidayCondition")

    country: Annotated[
        str | None,
        Field(title="The country, ISO 3166-1 alpha-2; that of the server's locale by default, else `US`"),
    ] = None
    sub_division: Annotated[
        str | None, Field(title="A part of the country, ISO 3166-2 without the country, such as `BY`")
    ] = None

    @model_validator(mode="after")
    def _has_calendar(self) -> Self:
        if self.country and not any("{" in text for text in (self.country, self.sub_division or "")):
            try:
                _calendar(self.country.upper(), self.sub_division.upper() if self.sub_division else None)
            except ValueError as error:
                raise PydanticCustomError("country", "{reason}", {"reason": str(error)}) from None
        return self

    def holds(self, context: ConditionContext) -> bool:
        country = self.country and str(context.render(self.country))
        part = self.sub_division and str(context.render(self.sub_division))
        calendar = _calendar((country or _country()).upper(), part.upper() if part else None)
        return self._moment(context).date() in calendar


@lru_cache(maxsize=256)
def _calendar(country: str, part: str | None) -> HolidayBase:
    """The calendar, which adds years as they are asked for.  Raises ValueError."""
    from holidays import country_holidays  # half a second that only flows with this condition pay

    try:
        return country_holidays(country, subdiv=part)
    except NotImplementedError:
        where = f"`{country}`" if part is None else f"`{part}` in `{country}`"
        raise ValueError(f"no calendar of public holidays is known of {where}") from None


def _country() -> str:
    language = locale.getlocale()[0] or ""
    country = language.partition("_")[2].partition(".")[0]
    return country if len(country) == 2 else _FALLBACK
