"""Conditions: what each looks at, and when it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from flowtide.model.condition import ConditionContext, ConditionPlugin
from flowtide.model.conditions.dates import DateTimeBetween, DayWeek, DayWeekInMonth, TimeBetween, Weekend
from flowtide.model.conditions.executions import (
    ExecutionFlow,
    ExecutionLabels,
    ExecutionNamespace,
    ExecutionOutputs,
    ExecutionStatus,
    HasRetryAttempt,
)
from flowtide.model.conditions.expression import Expression
from flowtide.model.conditions.flows import FlowCondition, FlowNamespaceCondition
from flowtide.model.conditions.holidays import PublicHoliday
from flowtide.model.conditions.logic import Not, Or
from flowtide.model.flow_commands import NoteExecutionState
from flowtide.model.plugin import PluginContext, Registry
from flowtide.model.records import Label
from flowtide.model.states import State

EXECUTION = NoteExecutionState(
    execution_id="e",
    namespace="company.team",
    flow_id="flow",
    flow_revision=1,
    state=State.FAILED,
    at=datetime(2024, 1, 1, tzinfo=UTC),
    labels=[Label(key="team", value="data"), Label(key="env", value="prod")],
    outputs={"count": 3},
    retry_states=[State.FAILED, State.SUCCESS],
)


@dataclass
class Context:
    """A context whose templates are the keys of a table."""

    execution: NoteExecutionState | None = EXECUTION
    table: Mapping[str, Any] = field(default_factory=dict)

    def render(self, template: Any) -> Any:
        """What the table says, else the template itself."""
        return self.table.get(template, template)


def holds(
    condition: type[ConditionPlugin], context: ConditionContext | None = None, **properties: Any
) -> bool:
    """Whether the condition with these YAML properties holds."""
    registry = Registry({("condition", "X"): ExecutionFlow, ("condition", "Expression"): Expression})
    parsed = condition.model_validate({"type": "T", **properties}, context=PluginContext(registry=registry))
    return parsed.holds(context or Context())


@pytest.mark.parametrize(
    ("condition", "properties", "expected"),
    [
        (ExecutionFlow, {"namespace": "company.team", "flowId": "flow"}, True),
        (ExecutionFlow, {"namespace": "company", "flowId": "flow"}, False),
        (ExecutionNamespace, {"namespace": "company.team"}, True),
        (ExecutionNamespace, {"namespace": "company"}, False),
        (ExecutionNamespace, {"namespace": "company", "prefix": True}, True),
        (ExecutionNamespace, {"namespace": "team", "comparison": "SUFFIX"}, True),
        (ExecutionNamespace, {"namespace": "company", "comparison": "EQUALS", "prefix": True}, False),
        (ExecutionStatus, {"in": ["FAILED", "WARNING"]}, True),
        (ExecutionStatus, {"in": ["SUCCESS"]}, False),
        (ExecutionStatus, {"notIn": ["FAILED"]}, False),
        (ExecutionStatus, {"notIn": ["SUCCESS"]}, True),
        (ExecutionLabels, {"labels": {"team": "data"}}, True),
        (ExecutionLabels, {"labels": {"team": "data", "env": "test"}}, False),
        (ExecutionOutputs, {"expression": "true"}, True),
        (ExecutionOutputs, {"expression": " "}, False),
        (HasRetryAttempt, {}, True),
        (HasRetryAttempt, {"in": ["FAILED"]}, True),
        (HasRetryAttempt, {"in": ["KILLED"]}, False),
        (HasRetryAttempt, {"in": ["FAILED"], "notIn": ["FAILED"]}, False),
        (HasRetryAttempt, {"notIn": ["FAILED"]}, True),
        (Expression, {"expression": "false"}, False),
        (Expression, {"expression": "yes"}, True),
        (Not, {"conditions": [{"type": "Expression", "expression": "false"}]}, True),
        (Not, {"conditions": [{"type": "Expression", "expression": "true"}]}, False),
        (
            Or,
            {"conditions": [{"type": "Expression", "expression": value} for value in ("false", "true")]},
            True,
        ),
        (Or, {"conditions": [{"type": "Expression", "expression": "false"}]}, False),
    ],
)
def test_conditions_on_executions(
    condition: type[ConditionPlugin], properties: dict[str, Any], expected: bool
) -> None:
    """Conditions on the upstream execution, on expressions, and their combinations (CND-08 to CND-14)."""
    assert holds(condition, **properties) is expected


@pytest.mark.parametrize(
    ("condition", "properties"),
    [
        (ExecutionFlow, {"namespace": "a", "flowId": "b"}),
        (ExecutionNamespace, {"namespace": "a"}),
        (ExecutionStatus, {"in": ["FAILED"]}),
        (ExecutionLabels, {"labels": {"a": "b"}}),
        (ExecutionOutputs, {"expression": "true"}),
        (HasRetryAttempt, {}),
    ],
)
def test_without_an_execution_they_do_not_hold(
    condition: type[ConditionPlugin], properties: dict[str, Any]
) -> None:
    """A schedule has no upstream execution: conditions on one are not met."""
    assert not holds(condition, Context(execution=None), **properties)


@pytest.mark.parametrize(
    ("condition", "properties", "date", "expected"),
    [
        (DayWeek, {"dayOfWeek": "MONDAY"}, "2024-01-01T10:00:00Z", True),
        (DayWeek, {"dayOfWeek": "MONDAY"}, "2024-01-01T23:30:00-05:00", True),
        (DayWeek, {"dayOfWeek": "TUESDAY"}, "2024-01-01T10:00:00Z", False),
        (DayWeekInMonth, {"dayOfWeek": "MONDAY", "dayInMonth": "FIRST"}, "2024-01-01T10:00:00Z", True),
        (DayWeekInMonth, {"dayOfWeek": "MONDAY", "dayInMonth": "SECOND"}, "2024-01-08T10:00:00Z", True),
        (DayWeekInMonth, {"dayOfWeek": "MONDAY", "dayInMonth": "LAST"}, "2024-01-22T10:00:00Z", False),
        (DayWeekInMonth, {"dayOfWeek": "MONDAY", "dayInMonth": "LAST"}, "2024-01-29T10:00:00Z", True),
        (DayWeekInMonth, {"dayOfWeek": "TUESDAY", "dayInMonth": "LAST"}, "2024-12-31T10:00:00Z", True),
        (Weekend, {}, "2024-01-06T10:00:00+01:00[Europe/Paris]", True),
        (Weekend, {}, "2024-01-05T10:00:00Z", False),
        (TimeBetween, {"after": "09:00:00Z", "before": "17:00:00Z"}, "2024-01-05T10:00:00Z", True),
        (TimeBetween, {"after": "09:00:00Z"}, "2024-01-05T09:00:00Z", False),
        (TimeBetween, {"after": "09:00:00+02:00"}, "2024-01-05T08:00:00Z", True),
        (TimeBetween, {"before": "09:00:00"}, "2024-01-05T08:00:00-08:00", True),
        (PublicHoliday, {"country": "DE"}, "2024-05-01T10:00:00Z", True),
        (PublicHoliday, {"country": "de"}, "2024-05-02T10:00:00Z", False),
        (PublicHoliday, {"country": "DE", "subDivision": "BY"}, "2024-01-06T10:00:00Z", True),
        (PublicHoliday, {"country": "DE", "subDivision": "HH"}, "2024-01-06T10:00:00Z", False),
        (DateTimeBetween, {"after": "2024-01-01T00:00:00Z"}, "2024-01-01T00:00:01Z", True),
        (DateTimeBetween, {"after": "2024-01-01T00:00:00Z"}, "2024-01-01T00:00:00Z", False),
        (DateTimeBetween, {"before": "2024-01-01T00:00:00Z"}, "2024-01-01T00:30:00+01:00", True),
    ],
)
def test_conditions_on_dates(
    condition: type[ConditionPlugin], properties: dict[str, Any], date: str, expected: bool
) -> None:
    """The schedule's date in its own offset is looked at; bounds are not included (CND-02 to CND-06)."""
    assert holds(condition, Context(table={"{{ trigger.date }}": date}), **properties) is expected


@pytest.mark.parametrize(
    ("condition", "properties", "expected"),
    [
        (FlowCondition, {"namespace": "company.team", "flowId": "mine"}, True),
        (FlowCondition, {"namespace": "company.team", "flowId": "other"}, False),
        (FlowNamespaceCondition, {"namespace": "company.team"}, True),
        (FlowNamespaceCondition, {"namespace": "company"}, False),
        (FlowNamespaceCondition, {"namespace": "company", "prefix": True}, True),
        (FlowNamespaceCondition, {"namespace": "team", "comparison": "SUFFIX"}, True),
    ],
)
def test_conditions_on_the_flow_itself(
    condition: type[ConditionPlugin], properties: dict[str, Any], expected: bool
) -> None:
    """CND-17: they look at the flow with the trigger, with an execution upstream or without."""
    table = {"{{ flow.namespace }}": "company.team", "{{ flow.id }}": "mine"}
    assert holds(condition, Context(table=table), **properties) is expected
    assert holds(condition, Context(execution=None, table=table), **properties) is expected


def test_the_country_of_holidays_is_that_of_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    """CND-07: without `country`; a locale without one stands for the United States."""
    independence = Context(table={"{{ trigger.date }}": "2024-07-04T10:00:00Z"})
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert holds(PublicHoliday, independence)
    monkeypatch.setattr("locale.getlocale", lambda: ("de_DE", "UTF-8"))
    assert not holds(PublicHoliday, independence)


@pytest.mark.parametrize("properties", [{"country": "XX"}, {"country": "DE", "subDivision": "ZZ"}])
def test_a_country_without_a_calendar_is_refused(properties: dict[str, Any]) -> None:
    """When the flow is read, and for a template when the condition is decided."""
    with pytest.raises(ValueError, match="no calendar of public holidays"):
        holds(PublicHoliday, **properties)
    date = "2024-07-04T10:00:00Z"
    table = {"{{ trigger.date }}": date, "{{ country }}": "XX"}
    with pytest.raises(ValueError, match="no calendar of public holidays"):
        holds(PublicHoliday, Context(table=table), country="{{ country }}")


def test_labels_of_the_system_cannot_be_asked_for() -> None:
    """CND-12: only labels that people give."""
    with pytest.raises(ValueError, match=r"`system.correlationId` is a label of the system"):
        holds(ExecutionLabels, labels={"system.correlationId": "x"})


def test_what_is_no_date_is_a_value_error() -> None:
    """A condition on something else than a date with a zone says so."""
    with pytest.raises(ValueError, match="is not an ISO-8601 date"):
        holds(Weekend)
    with pytest.raises(ValueError, match="without a zone"):
        holds(Weekend, date="2024-01-01T00:00:00")
