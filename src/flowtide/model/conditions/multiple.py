"""Several conditions that different executions meet within a window of time (CND-16, page 185); deprecated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Self

from pydantic import AliasChoices, Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, ConditionPlugin, example_on_executions
from flowtide.model.durations import Duration, Shift
from flowtide.model.plugin import Condition
from flowtide.model.time_windows import TimeWindow
from flowtide.model.upstream import Patterns, any_of

_NAMES = "io.kestra.plugin.core.condition."


class MultipleCondition(ConditionPlugin):
    """Every one of the conditions was met by some execution within the window.

    Whether that is so only the *flows* processor knows, which keeps what was met; `preconditions` of a Flow trigger
    replace it.
    """

    title: ClassVar[str] = "Several conditions, met by different executions within a window of time."
    deprecated: ClassVar[str] = "use `preconditions` of the Flow trigger"
    example: ClassVar[str] = example_on_executions(
        f"{{type: {_NAMES}MultipleCondition, id: both, conditions: {{"
        f"a: {{type: {_NAMES}ExecutionFlow, namespace: company.team, flowId: a}}, "
        f"b: {{type: {_NAMES}ExecutionFlow, namespace: company.team, flowId: b}}}}}}"
    )
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.conditions.types.MultipleCondition",)
    needs_execution: ClassVar[bool] = True

    id: Annotated[str, Field(title="The name under which it is kept what was met", min_length=1)]
    window: Annotated[
        Duration | None, Field(title="How long a window is, one day by default; `timeWindow` replaces it")
    ] = None
    window_advance: Annotated[Shift | None, Field(title="How much later than midnight windows begin")] = None
    time_window: Annotated[
        TimeWindow | None,
        Field(title="The window of time", validation_alias=AliasChoices("timeWindow", "sla", "time_window")),
    ] = None
    conditions: Annotated[
        Mapping[str, Condition], Field(title="The conditions, by names of your own", min_length=1)
    ]
    reset_on_success: Annotated[
        bool,
        Field(title="Whether all begin anew once they were met; if not, each that is met again fires again"),
    ] = True

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
