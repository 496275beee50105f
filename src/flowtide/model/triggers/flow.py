"""The Flow trigger: fires when executions of other flows reach a state (page 482, FTR-01 to FTR-10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flowtide.model.durations import Duration
from flowtide.model.labels import Labels
from flowtide.model.plugin import Part
from flowtide.model.states import TERMINAL, State
from flowtide.model.trigger import InputTrigger

_DEFAULT_STATES = tuple(sorted({*TERMINAL, State.PAUSED} - {State.RESUBMITTED, State.SKIPPED}))


class UpstreamFlow(Part):
    """Which executions count towards the preconditions; what is left out matches everything."""

    namespace: str | None = None
    flow_id: str | None = None
    states: Sequence[State] = ()
    labels: Labels = ()


class UpstreamFilter(Part):
    """One comparison with an execution (FTR-03)."""

    field: Literal["FLOW_ID", "NAMESPACE", "STATE", "EXPRESSION"]
    type: Literal[
        "EQUAL_TO", "NOT_EQUAL_TO", "IN", "NOT_IN", "IS_TRUE", "IS_FALSE", "IS_NULL", "IS_NOT_NULL",
        "STARTS_WITH", "ENDS_WITH", "REGEX", "CONTAINS",
    ]  # fmt: skip  # reads better as a paragraph
    value: Any = None
    values: Sequence[Any] | None = None


class UpstreamFilters(Part):
    """A named group of filters."""

    id: str
    operand: Literal["AND", "OR"] = "AND"
    filters: Annotated[Sequence[UpstreamFilter], Field(min_length=1)]


class TimeWindow(Part):
    """Within which time all preconditions must be met (FTR-04)."""

    type: Literal["DURATION_WINDOW", "SLIDING_WINDOW", "DAILY_TIME_DEADLINE", "DAILY_TIME_WINDOW"] = (
        "DURATION_WINDOW"
    )
    window: Duration | None = None  # None: one day
    window_advance: Duration | None = None  # of windows, from midnight
    deadline: str | None = None
    start_time: str | None = None
    end_time: str | None = None


class Preconditions(Part):
    """What must have happened upstream (FTR-02)."""

    id: str
    flows: Sequence[UpstreamFlow] = ()
    where: Sequence[UpstreamFilters] = ()
    time_window: TimeWindow | None = None
    reset_on_success: bool = True


class FlowTrigger(InputTrigger):
    """Fires when executions of other flows reach a state."""

    title: ClassVar[str] = "Start the flow when others have run."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.triggers.types.Flow",)

    preconditions: Preconditions | None = None
    states: Sequence[State] = _DEFAULT_STATES  # the terminal ones and PAUSED
