"""The Schedule trigger: fires at the dates of a cron expression (page 485, SCH-01 to SCH-09)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import field_validator, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.durations import Duration
from flowtide.model.plugin import Condition
from flowtide.model.trigger import InputTrigger

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


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
    backfill: Mapping[str, Any] | None = None  # deprecated: backfills are started by the API

    @property
    def fields(self) -> str:
        """The cron expression with its nickname written out."""
        return _NICKNAMES.get(self.cron.strip().lower(), self.cron.strip())

    @property
    def all_conditions(self) -> Sequence[Condition]:
        """The conditions under both names."""
        return (*self.conditions, *self.schedule_conditions)

    @field_validator("backfill")
    @classmethod
    def _no_backfill(cls, value: Mapping[str, Any] | None) -> None:
        if value is not None:
            raise PydanticCustomError(
                "backfill",
                "a backfill is not part of a flow any more: remove it, and start it on the trigger",
            )

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise PydanticCustomError("timezone", "there is no time zone `{name}`", {"name": value}) from None
        return value

    @model_validator(mode="after")
    def _valid_cron(self) -> Self:
        expected = 6 if self.with_seconds else 5
        fields = self.fields
        if self.cron.strip().startswith("@"):
            if self.cron.strip().lower() not in _NICKNAMES:
                raise PydanticCustomError(
                    "cron",
                    "there is no cron nickname `{cron}`; there are {names}",
                    {"cron": self.cron, "names": ", ".join(_NICKNAMES)},
                )
            return self
        if len(fields.split()) != expected:
            raise PydanticCustomError(
                "cron",
                "the cron expression `{cron}` has {count} fields instead of {expected}",
                {"cron": self.cron, "count": len(fields.split()), "expected": expected},
            )
        try:
            croniter(fields, second_at_beginning=self.with_seconds)
        except (ValueError, KeyError) as error:
            raise PydanticCustomError(
                "cron",
                "`{cron}` is not a cron expression: {reason}",
                {"cron": self.cron, "reason": str(error)},
            ) from None
        return self
