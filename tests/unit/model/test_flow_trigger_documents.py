"""Flow triggers and conditions in documents: what is refused, with its path, and former names."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from flowtide.model.source import parse_flow
from flowtide.services.plugins import discover_plugins

REGISTRY = discover_plugins()
CORE = "io.kestra.plugin.core"
PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def violations(trigger: str) -> list[str]:
    """What is wrong with a flow with this trigger, a YAML map in one line; without it, nothing is."""
    source = f"""
id: b
namespace: company.team
tasks: [{{id: t, type: {CORE}.log.Log, message: hello}}]
triggers:
  - {{id: up, {trigger}}}
"""
    parsed = parse_flow(source, REGISTRY)
    return [f"{each.path}: {each.message}" for each in parsed.violations]


def condition(name: str, more: str = "") -> str:
    return f"{{type: {CORE}.condition.{name}{', ' if more else ''}{more}}}"


FLOW = f"type: {CORE}.trigger.Flow"
SCHEDULE = f"type: {CORE}.trigger.Schedule, cron: '* * * * *'"
WEBHOOK = f"type: {CORE}.trigger.Webhook, key: abc"
UPSTREAM = condition("ExecutionFlow", "namespace: a, flowId: b")
MULTIPLE = condition("MultipleCondition", f"id: m, conditions: {{one: {UPSTREAM}}}")


@pytest.mark.parametrize(
    ("trigger", "path", "message"),
    [
        (f"{SCHEDULE}, conditions: [{UPSTREAM}]", "triggers[0].conditions[0].type", "upstream"),
        (
            f"{SCHEDULE}, scheduleConditions: [{MULTIPLE}]",
            "triggers[0].scheduleConditions[0].type",
            "upstream",
        ),
        (f"{WEBHOOK}, conditions: [{MULTIPLE}]", "triggers[0].conditions[0].type", "Flow trigger"),
        (
            f"{WEBHOOK}, conditions: [{condition('Not', f'conditions: [{UPSTREAM}]')}]",
            "triggers[0].conditions[0].conditions[0].type",
            "upstream",
        ),
        (
            f"{FLOW}, conditions: [{condition('Or', f'conditions: [{MULTIPLE}]')}]",
            "triggers[0].conditions[0].conditions[0].type",
            "directly among the conditions",
        ),
        (
            f"{FLOW}, conditions: [{condition('MultipleCondition', f'id: m, conditions: {{x: {MULTIPLE}}}')}]",
            "triggers[0].conditions[0].conditions.x.type",
            "directly among the conditions",
        ),
        (f"{FLOW}, preconditions: {{id: p}}", "triggers[0].preconditions", "need `flows`, `where` or both"),
    ],
)
def test_a_condition_that_cannot_be_decided_is_refused(trigger: str, path: str, message: str) -> None:
    """CND-16, CND-18: with the path of what is wrong."""
    (violation,) = violations(trigger)
    assert violation.startswith(f"{path}: ")
    assert message in violation


@pytest.mark.parametrize(
    "trigger",
    [
        f"{SCHEDULE}, conditions: [{condition('Weekend')}, {condition('PublicHoliday', 'country: FR')}]",
        f"{WEBHOOK}, conditions: [{condition('Expression', 'expression: x')}]",
        f"{FLOW}, conditions: [{MULTIPLE}, {condition('Not', f'conditions: [{UPSTREAM}]')}]",
        f"{FLOW}, states: [RUNNING]",
        FLOW,
    ],
)
def test_conditions_stand_where_they_can_be_decided(trigger: str) -> None:
    """Trap 11: neither conditions nor preconditions are required either."""
    assert violations(trigger) == []


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ("{type: DAILY_TIME_DEADLINE}", "a DAILY_TIME_DEADLINE needs `deadline`"),
        ("{type: DAILY_TIME_DEADLINE, deadline: '09:00:00'}", "needs an offset"),
        ("{type: DAILY_TIME_DEADLINE, deadline: 'nine'}", "must be an ISO-8601 time"),
        ("{type: DAILY_TIME_WINDOW, startTime: '09:00:00'}", "a DAILY_TIME_WINDOW needs `endTime`"),
        ("{type: SLIDING_WINDOW, windowAdvance: PT1H}", "a SLIDING_WINDOW has no `windowAdvance`"),
        ("{window: PT0S}", "must be longer than nothing"),
        ("{type: SOMETIMES}", "must be"),
    ],
)
def test_a_window_says_what_it_lacks(window: str, message: str) -> None:
    """FTR-04, FTR-05: what a window of its type needs, and what it does not have."""
    precondition = f"{{id: p, flows: [{{namespace: a}}], timeWindow: {window}}}"
    (violation,) = violations(f"{FLOW}, preconditions: {precondition}")
    assert violation.startswith("triggers[0].preconditions.timeWindow")
    assert message in violation


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("{field: NAMESPACE, type: IN, value: a}", "needs `values`"),
        ("{field: NAMESPACE, type: STARTS_WITH}", "needs a `value`"),
        ("{field: NAMESPACE, type: REGEX, value: '('}", "is not a regular expression"),
        ("{field: EXPRESSION, type: IS_TRUE}", "needs an expression"),
        ("{field: EXPRESSION, type: EQUAL_TO, value: '{{ x }}'}", "nothing to compare with"),
    ],
)
def test_a_filter_says_what_it_lacks(filter_: str, message: str) -> None:
    """FTR-03: a comparison without what it compares with is refused."""
    (violation,) = violations(f"{FLOW}, preconditions: {{id: p, where: [{{id: w, filters: [{filter_}]}}]}}")
    assert message in violation


def test_every_former_name_of_a_condition_is_known() -> None:
    """CND-01, W.4: each condition's aliases are in the table by which they are found without importing it."""
    points = tomllib.loads(PROJECT.read_text())["project"]["entry-points"]
    names = points["flowtide.former_names"]
    for name in points["flowtide.conditions"]:
        plugin = REGISTRY.find("condition", name)
        assert plugin is not None
        assert plugin.aliases
        for alias in plugin.aliases:
            assert names[alias] == f"condition:{name}"


def test_former_names_are_accepted_with_a_warning() -> None:
    """CND-01, CND-17: the flow of page 185 as it was written before 0.17."""
    old = "io.kestra.core.models.conditions.types"
    parsed = parse_flow(
        f"""
id: b
namespace: company.team
tasks: [{{id: t, type: {CORE}.log.Log, message: hello}}]
triggers:
  - id: up
    type: io.kestra.core.models.triggers.types.Flow
    conditions:
      - {{type: {old}.ExecutionStatusCondition, in: [SUCCESS]}}
      - id: multiple
        type: {old}.MultipleCondition
        window: P1D
        windowAdvance: P0D
        conditions:
          a: {{type: {old}.ExecutionFlowCondition, namespace: x, flowId: a}}
""",
        REGISTRY,
    )
    assert parsed.violations == []
    assert (
        f"the type `{old}.MultipleCondition` is now called `{CORE}.condition.MultipleCondition`"
        in parsed.warnings
    )


def test_every_condition_shows_itself_in_a_flow_that_is_right() -> None:
    """Each has a title and an example, which is a valid flow and names it."""
    for name in [*REGISTRY.names("condition"), f"{CORE}.trigger.Flow"]:
        plugin = REGISTRY.find("trigger" if name.endswith("trigger.Flow") else "condition", name)
        assert plugin is not None
        assert plugin.title
        parsed = parse_flow(plugin.example, REGISTRY)
        assert parsed.violations == []
        assert bool(parsed.warnings) == bool(plugin.deprecated)
        assert name in plugin.example
