"""The Flow trigger: fires when executions of other flows reach a state (page 482, FTR-01 to FTR-10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from flowtide.model.condition import ConditionContext, ConditionPlugin, UpstreamExecution
from flowtide.model.inputs import is_true
from flowtide.model.labels import Labels
from flowtide.model.plugin import Part
from flowtide.model.records import Label
from flowtide.model.states import TERMINAL, State
from flowtide.model.time_windows import TimeWindow
from flowtide.model.trigger import InputTrigger
from flowtide.model.upstream import EVERYTHING, Pattern, Patterns, Reach, all_of, any_of, of_flow

if TYPE_CHECKING:
    import regex

_REGEX_SECONDS = 0.5  # every other flow of the partition waits meanwhile
_DEFAULT_STATES = tuple(sorted({*TERMINAL, State.PAUSED} - {State.RESUBMITTED, State.SKIPPED}))
_WITHOUT_VALUE = ("IS_TRUE", "IS_FALSE", "IS_NULL", "IS_NOT_NULL")
_WITH_VALUES = ("IN", "NOT_IN")


class UpstreamFlow(Part):
    """Which executions count towards the preconditions; what is left out matches everything."""

    namespace: Annotated[str | None, Field(title="The namespace of the flow")] = None
    flow_id: Annotated[
        str | None, Field(title="The id of the flow; any flow of the namespace by default")
    ] = None
    states: Annotated[Sequence[State], Field(title="States of which the execution reached one")] = ()
    labels: Annotated[Labels, Field(title="Labels, all of which the execution carries")] = ()

    def holds(self, context: ConditionContext) -> bool:
        """Whether the execution upstream is meant."""
        execution = context.execution
        return (
            execution is not None
            and (self.namespace is None or execution.namespace == self.namespace)
            and (self.flow_id is None or execution.flow_id == self.flow_id)
            and (not self.states or execution.state in self.states)
            and set(self.labels) <= set(execution.labels)
        )

    def upstream(self) -> Patterns:
        """See `ConditionPlugin.upstream`."""
        return frozenset({of_flow(self.namespace, self.flow_id)})


class UpstreamFilter(Part):
    """One comparison with an execution (FTR-03)."""

    field: Annotated[Literal["FLOW_ID", "NAMESPACE", "STATE", "EXPRESSION"], Field(title="What is compared")]
    type: Literal[
        "EQUAL_TO", "NOT_EQUAL_TO", "IN", "NOT_IN", "IS_TRUE", "IS_FALSE", "IS_NULL", "IS_NOT_NULL",
        "STARTS_WITH", "ENDS_WITH", "REGEX", "CONTAINS",
    ]  # fmt: skip  # reads better as a paragraph
    value: Annotated[Any, Field(title="What it is compared with; of EXPRESSION the template")] = None
    values: Annotated[Sequence[Any] | None, Field(title="What it is compared with by IN and NOT_IN")] = None

    def holds(self, context: ConditionContext) -> bool:
        """Whether the comparison is true.  Raises ExpressionError."""
        execution = context.execution
        if execution is None:
            return False
        if self.field == "EXPRESSION":
            return self._compare(context.render(self.value), None)  # its `value` is the template
        return self._compare(_field(execution, self.field), self.value)

    def _compare(self, found: Any, value: Any) -> bool:
        match self.type:
            case "IS_TRUE":
                return is_true(found)
            case "IS_FALSE":
                return not is_true(found)
            case "IS_NULL":
                return found is None
            case "IS_NOT_NULL":
                return found is not None
            case "EQUAL_TO":
                return str(found) == str(value)
            case "NOT_EQUAL_TO":
                return str(found) != str(value)
            case "IN":
                return str(found) in map(str, self.values or ())
            case "NOT_IN":
                return str(found) not in map(str, self.values or ())
            case "STARTS_WITH":
                return str(found).startswith(str(value))
            case "ENDS_WITH":
                return str(found).endswith(str(value))
            case "CONTAINS":
                return str(value) in str(found)
            case "REGEX":
                return _matches(str(value), str(found))

    @model_validator(mode="after")
    def _can_be_compared(self) -> Self:
        name = f"a filter {self.type} of {self.field}"
        if self.field == "EXPRESSION":
            if not isinstance(self.value, str):
                raise PydanticCustomError(
                    "filter", "{name} needs an expression as its `value`", {"name": name}
                )
            if self.type not in (*_WITHOUT_VALUE, *_WITH_VALUES):
                allowed = ", ".join((*_WITHOUT_VALUE, *_WITH_VALUES))
                raise PydanticCustomError(
                    "filter", "{name} has nothing to compare with; there are {allowed}",
                    {"name": name, "allowed": allowed},
                )  # fmt: skip  # reads better as a paragraph
        if self.type in _WITH_VALUES:
            if not self.values:
                raise PydanticCustomError("filter", "{name} needs `values`", {"name": name})
        elif self.field != "EXPRESSION" and self.type not in _WITHOUT_VALUE and self.value is None:
            raise PydanticCustomError("filter", "{name} needs a `value`", {"name": name})
        if self.type == "REGEX":
            try:
                _pattern(str(self.value))
            except ValueError as error:
                raise PydanticCustomError("filter", "{reason}", {"reason": str(error)}) from None
        return self


class UpstreamFilters(Part):
    """A named group of filters."""

    id: Annotated[str, Field(title="A name")]
    operand: Annotated[Literal["AND", "OR"], Field(title="Whether all filters are met, or one of them")] = (
        "AND"
    )
    filters: Annotated[Sequence[UpstreamFilter], Field(title="The filters", min_length=1)]

    def holds(self, context: ConditionContext) -> bool:
        """Whether all filters are met, or one of them with OR.  Raises ExpressionError."""
        met = (each.holds(context) for each in self.filters)
        return all(met) if self.operand == "AND" else any(met)

    def upstream(self) -> Patterns:
        """See `ConditionPlugin.upstream`."""
        found = [_filtered(each) for each in self.filters]
        return all_of(found) if self.operand == "AND" else any_of(found)


class Preconditions(Part):
    """What must have happened upstream (FTR-02)."""

    id: Annotated[str, Field(title="The name under which it is kept what was met")]
    flows: Annotated[
        Sequence[UpstreamFlow], Field(title="Flows upstream, of each of which an execution is waited for")
    ] = ()
    where: Annotated[
        Sequence[UpstreamFilters],
        Field(title="Groups of filters, for each of which an execution is waited for"),
    ] = ()
    time_window: Annotated[
        TimeWindow | None, Field(title="Within which time all must be met; a day by default")
    ] = None
    reset_on_success: Annotated[
        bool,
        Field(title="Whether all begin anew once they were met; if not, each that is met again fires again"),
    ] = True

    @property
    def parts(self) -> Sequence[UpstreamFlow | UpstreamFilters]:
        """All that must be met, each by some execution."""
        return (*self.flows, *self.where)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.parts:
            raise PydanticCustomError("preconditions", "need `flows`, `where` or both")
        return self


class FlowTrigger(InputTrigger):
    """Fires when executions of other flows reach a state.

    `labels` select executions that carry them (page 472), and are given to those that are started.
    """

    gives: ClassVar[Mapping[str, tuple[str, str]]] = {
        "executionId": ("string", "The execution upstream"),
        "namespace": ("string", "Its namespace"),
        "flowId": ("string", "Its flow"),
        "flowRevision": ("integer", "The revision of its flow"),
        "state": ("string", "Its state"),
        "outputs": ("object", "Its outputs"),
    }
    title: ClassVar[str] = "Start the flow when others have run."
    aliases: ClassVar[tuple[str, ...]] = ("io.kestra.core.models.triggers.types.Flow",)
    example: ClassVar[str] = """\
id: silver_layer
namespace: company.team
tasks:
  - id: transform
    type: io.kestra.plugin.core.log.Log
    message: "{{ trigger.flowId }} ended {{ trigger.state }}"
triggers:
  - id: bronze_layer_done
    type: io.kestra.plugin.core.trigger.Flow
    preconditions:
      id: upstream
      flows:
        - namespace: company.team
          flowId: bronze_layer
          states: [SUCCESS]
"""

    preconditions: Annotated[Preconditions | None, Field(title="What must have happened upstream")] = None
    states: Annotated[
        Sequence[State],
        Field(title="States of an execution that fire it: the final ones and PAUSED by default"),
    ] = _DEFAULT_STATES

    def listens_to(self) -> frozenset[State]:
        """The states that may fire it: those of `states`, and where that is not given, those of each upstream flow."""
        if "states" in self.model_fields_set or self.preconditions is None:
            return frozenset(self.states)
        named = {state for flow in self.preconditions.flows for state in flow.states}
        return frozenset(self.states) | named

    def upstream(self) -> Patterns:
        """The executions that may fire it."""
        parts = [each.upstream() for each in self.conditions if isinstance(each, ConditionPlugin)]
        if self.preconditions is not None:
            parts.append(any_of(each.upstream() for each in self.preconditions.parts))
        return all_of(parts)

    def selecting_labels(self) -> Iterator[Label]:
        """The labels that an execution must carry; those with a template are only given to what is started."""
        return (label for label in self.labels if "{{" not in label.value)


@lru_cache(maxsize=256)
def _pattern(text: str) -> regex.Pattern[str]:
    import regex  # costs a start much, and few flows need it

    try:
        return regex.compile(text, regex.V1)
    except regex.error as error:
        raise ValueError(f"`{text}` is not a regular expression: {error}") from None


def _matches(pattern: str, text: str) -> bool:
    try:
        return _pattern(pattern).fullmatch(text, timeout=_REGEX_SECONDS) is not None
    except TimeoutError:
        raise ValueError(f"the regular expression `{pattern}` takes too long on `{text}`") from None


def _field(execution: UpstreamExecution, name: str) -> Any:
    if name == "FLOW_ID":
        return execution.flow_id
    return execution.namespace if name == "NAMESPACE" else execution.state.value


def _filtered(each: UpstreamFilter) -> Patterns:
    if each.field != "NAMESPACE":
        return EVERYTHING
    match each.type:
        case "EQUAL_TO":
            return frozenset({Pattern(Reach.NAMESPACE, str(each.value))})
        case "IN":
            return frozenset(Pattern(Reach.NAMESPACE, str(value)) for value in each.values or ())
        case "STARTS_WITH":
            return frozenset({Pattern(Reach.PREFIX, str(each.value))})
        case _:
            return EVERYTHING
