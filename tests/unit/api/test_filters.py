"""Filters of query strings: text in, filters of the index out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from yarl import URL

from flowtide.api.filters import (
    EXECUTION_FIELDS,
    LOG_FIELDS,
    TRIGGER_FIELDS,
    FilterContext,
    bare_conditions,
    index_filter,
    read_filters,
    read_moment,
)
from flowtide.api.problems import Problem
from flowtide.index.queries import AllOf, AnyOf, HasLabel, Match, Operation, Words

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
CONTEXT = FilterContext(now=NOW)


def parsed(query: str) -> tuple[object, ...]:
    """The parts of the filter that a query string means."""
    pairs = URL("http://x/?" + query).query
    conditions = [*read_filters(pairs, EXECUTION_FIELDS), *bare_conditions(pairs, EXECUTION_FIELDS)]
    return index_filter(conditions, CONTEXT).parts


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("filters[namespace][EQUALS]=a.b", Match("namespace", Operation.EQUALS, "a.b")),
        ("filters%5Bnamespace%5D%5BEQUALS%5D=a.b", Match("namespace", Operation.EQUALS, "a.b")),
        ("filters[FLOW_ID][STARTS_WITH]=x", Match("flowId", Operation.STARTS_WITH, "x")),
        ("filters[state][IN]=FAILED,KILLED", Match("state", Operation.IN, ["FAILED", "KILLED"])),
        ("filters[state][EQUALS]=FAILED,KILLED", Match("state", Operation.IN, ["FAILED", "KILLED"])),
        ("filters[labels][EQUALS][env]=prod", HasLabel("env", "prod")),
        ("filters[labels][NOT_EQUALS]=env:a:b", HasLabel("env", "a:b", negated=True)),
        ("filters[q][EQUALS]=hello%20world", Words("hello world")),
        ("filters[q][EQUALS]=", AllOf(())),
        ("filters[scope][EQUALS]=SYSTEM", Match("namespace", Operation.EQUALS, "system")),
        ("filters[scope][NOT_EQUALS]=SYSTEM", Match("namespace", Operation.NOT_EQUALS, "system")),
        ("filters[scope][IN]=USER,SYSTEM", AllOf(())),
        ("filters[childFilter][EQUALS]=MAIN", Match("parentId", Operation.IS_NULL)),
        (
            "filters[timeRange][EQUALS]=PT24H",
            Match("startDate", Operation.GREATER_THAN_OR_EQUAL_TO, NOW - timedelta(days=1)),
        ),
        (
            "filters[endDate][LESS_THAN]=2026-01-01T00:00:00.5Z",
            Match("endDate", Operation.LESS_THAN, datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ),
        ("filters[parentId][IS_NULL]=", Match("parentId", Operation.IS_NULL)),
        ("filters[flowId][NOT_CONTAINS]=x", Match("flowId", Operation.NOT_CONTAINS, "x")),
        (
            "filters[or][0][namespace][EQUALS]=a&filters[or][1][flowId][EQUALS]=b",
            AnyOf((Match("namespace", Operation.EQUALS, "a"), Match("flowId", Operation.EQUALS, "b"))),
        ),
        (
            (
                "filters[and][0][namespace][EQUALS]=p&filters[and][1][or][0][flowId][EQUALS]=a"
                "&filters[and][1][or][1][labels][EQUALS][k]=v"
            ),
            AllOf(
                (
                    Match("namespace", Operation.EQUALS, "p"),
                    AnyOf((Match("flowId", Operation.EQUALS, "a"), HasLabel("k", "v"))),
                )
            ),
        ),
        ("namespace=a.b", Match("namespace", Operation.PREFIX, "a.b")),
        ("labels=k:v", HasLabel("k", "v")),
    ],
)
def test_a_filter_means(query: str, expected: object) -> None:
    """Each spelling of a filter has the meaning that the catalogue gives it."""
    assert parsed(query) == (expected,)


@pytest.mark.parametrize(
    "query",
    [
        "filters[nope][EQUALS]=x",
        "filters[namespace][IS]=x",
        "filters[namespace]=x",
        "filters=x",
        "filters[namespace][EQUALS][key]=x",
        "filters[labels][EQUALS]=nocolon",
        "filters[labels][REGEX][k]=x",
        "filters[or][0]=x",
        "filters[or][x][namespace][EQUALS]=x",
        "filters[or][0][and][0][or][0][namespace][EQUALS]=x",
        "filters[flowId][IS_NULL]=",
        "filters[startDate][EQUALS]=soon",
        "filters[timeRange][EQUALS]=P1Y",
        "filters[scope][EQUALS]=ALL",
        "filters[childFilter][EQUALS]=x",
        "filters[namespace][EQUALS]=%00",
        "&".join(["filters[namespace][EQUALS]=x"] * 60),
        "filters[namespace][EQUALS]=" + "x" * 20_000,
    ],
)
def test_what_is_no_filter_is_refused(query: str) -> None:
    """Anything else is a 400 with a sentence."""
    with pytest.raises(Problem) as refused:
        parsed(query)
    assert refused.value.status == 400
    assert refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T08:00:00+0000",
        "2026-01-31T08:00:00Z",
        "2026-01-31T08:00:00",
        "2026-01-31T09:00:00.000000123+01:00",
    ],
)
def test_moments_are_read_as_clients_write_them(text: str) -> None:
    """Offsets with and without colon, nanoseconds, and none at all, which means UTC."""
    assert read_moment(text, "x") == datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("filters[taskId][EQUALS]=say", Match("taskId", Operation.EQUALS, "say")),
        ("filters[TASK_RUN_ID][IN]=a,b", Match("taskRunId", Operation.IN, ["a", "b"])),
        ("filters[attemptNumber][GREATER_THAN]=1", Match("attemptNumber", Operation.GREATER_THAN, "1")),
    ],
)
def test_lines_are_found_by_the_task_that_wrote_them(query: str, expected: object) -> None:
    """The fields of tasks are filters of log lines, in both spellings (QueryFilterField)."""
    assert index_filter(read_filters(URL("http://x/?" + query).query, LOG_FIELDS), CONTEXT).parts == (
        expected,
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("filters[triggerState][EQUALS]=DISABLED", [True]),
        ("filters[TRIGGER_STATE][NOT_EQUALS]=disabled", [False]),
        ("filters[triggerState][IN]=ENABLED,DISABLED", [True, False]),
        ("filters[triggerState][NOT_IN]=ENABLED,DISABLED", []),
    ],
)
def test_triggers_are_found_by_their_state(query: str, expected: object) -> None:
    """Triggers are enabled or disabled (QueryFilterField TRIGGER_STATE)."""
    found = index_filter(read_filters(URL("http://x/?" + query).query, TRIGGER_FIELDS), CONTEXT).parts
    assert found == (Match("disabled", Operation.IN, expected),)


def test_another_state_of_triggers_is_refused() -> None:
    """A state that no trigger has is an error with the states that there are."""
    with pytest.raises(Problem, match="ENABLED or DISABLED"):
        index_filter(
            read_filters(URL("http://x/?filters[triggerState][EQUALS]=FAST").query, TRIGGER_FIELDS), CONTEXT
        )
