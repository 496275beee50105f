"""Several conditions that different executions meet within a window of time (CND-16, page 185); deprecated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.durations import Duration
from flowtide.model.plugin import Condition
from flowtide.model.time_windows import TimeWindow
from flowtide.model.upstream import Patterns, any_of


class MultipleCondition(ConditionPlugin):
    """Every one of the conditions was met by some execution within the window.

    Whether that is so only the *flows* processor knows, which keeps what was met; `preconditions` of a Flow trigger
    replace it.
    """

    title: ClassVar[str] = "Several conditions, met by different executions within a window of time."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.conditions.types.MultipleCondition",)
    needs_execution: ClassVar[bool] = True

    id: Annotated[str, Field(min_length=1)]
    window: Duration | None = None  # deprecated for `timeWindow`; None: one day
    window_advance: Duration | None = None  # from midnight
    time_window: Annotated[
        TimeWindow | None, Field(validation_alias=AliasChoices("timeWindow", "sla", "time_window"))
    ] = None
    conditions: Annotated[Mapping[str, Condition], Field(min_length=1)]
    reset_on_success: bool = True  # False: once all are met, each that is met again fires again

    @property
    def within(self) -> TimeWindow:
        """The window, under whichever name it was given."""
        if self.time_window is not None:
            return self.time_window
        return TimeWindow(window=self.window, window_advance=self.window_advance or timedelta())

    def parts(self) -> Sequence[ConditionPlugin]:
        return [each for each in self.conditions.values() if isinstance(each, ConditionPlugin)]

    def upstream(self) -> Patterns:
        return any_of(each.upstream() for each in self.parts())

    def holds(self, context: ConditionContext) -> bool:
        """Raises ValueError: one execution alone does not tell."""
        raise ValueError("a MultipleCondition stands directly among the conditions of a Flow trigger")

    @model_validator(mode="after")
    def _one_window(self) -> Self:
        if self.time_window is not None and (self.window, self.window_advance) != (None, None):
            raise PydanticCustomError(
                "time_window", "give either `timeWindow` or `window` and `windowAdvance`, not both"
            )
        if self.window is not None and self.window <= timedelta():
            raise PydanticCustomError("window", "`window` must be longer than nothing")
        return self
