"""Pages of small lists that are in memory: entries of a list come in, what the query string asks for goes out.

For what an installation has some hundreds of: secrets, credentials, worker groups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from multidict import MultiMapping

from flowtide.api.filters import Condition, read_conditions
from flowtide.api.parameters import page, sorting
from flowtide.api.problems import Problem
from flowtide.index.queries import Operation

_LONGEST_VALUE: Final = 10_000
_OPERATIONS: Final = frozenset(
    {
        Operation.EQUALS,
        Operation.NOT_EQUALS,
        Operation.IN,
        Operation.NOT_IN,
        Operation.CONTAINS,
        Operation.STARTS_WITH,
        Operation.ENDS_WITH,
        Operation.PREFIX,
    }
)


def listed(
    request: web.Request, entries: Iterable[Mapping[str, Any]], *, words: Sequence[str], fields: Sequence[str]
) -> tuple[list[Mapping[str, Any]], int]:
    """The page of entries that is asked for, and how many there are in all.

    `words` are the fields that `q` is looked for in, `fields` those that filters and `sort` may name.  Raises
    Problem 400, 422.
    """
    wanted = page(request)
    known = {"q": {Operation.EQUALS}, **dict.fromkeys(fields, _OPERATIONS)}
    conditions = read_conditions(request.query, known) + plain_conditions(request.query, ("q", *fields))
    found = [entry for entry in entries if all(_fits(entry, each, words) for each in conditions)]
    for each in reversed(sorting(request)):
        if each.field not in fields:
            raise Problem(400, f"there is no sorting by `{each.field}` here; known are {', '.join(fields)}")
        found.sort(key=lambda entry, name=each.field: str(entry.get(name) or ""), reverse=each.descending)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
    return found[wanted.offset : wanted.offset + wanted.size], len(found)


def plain_conditions(query: MultiMapping[str], fields: Collection[str]) -> list[Condition]:
    """The conditions in the plain spelling, such as `type=WORKER`; repeated ones are a list.  Raises Problem 400."""
    conditions = []
    for name in fields:
        values = [value for value in query.getall(name, []) if value]
        if any("\0" in value or len(value) > _LONGEST_VALUE for value in values):
            raise Problem(400, f"`{name}` is too long or has NUL characters")
        if len(values) > 1:
            conditions.append(Condition(field=name, operation=Operation.IN, value=",".join(values)))
        elif values:
            conditions.append(Condition(field=name, operation=Operation.EQUALS, value=values[0]))
    return conditions


_TESTS: Mapping[Operation, Callable[[str, str], bool]] = {
    Operation.EQUALS: lambda value, wanted: value == wanted,
    Operation.NOT_EQUALS: lambda value, wanted: value != wanted,
    Operation.IN: lambda value, wanted: value in wanted.split(","),
    Operation.NOT_IN: lambda value, wanted: value not in wanted.split(","),
    Operation.CONTAINS: lambda value, wanted: wanted in value,
    Operation.STARTS_WITH: lambda value, wanted: value.startswith(wanted),
    Operation.ENDS_WITH: lambda value, wanted: value.endswith(wanted),
    Operation.PREFIX: lambda value, wanted: value == wanted or value.startswith(f"{wanted}."),
}


def _fits(entry: Mapping[str, Any], condition: Condition, words: Sequence[str]) -> bool:
    if condition.field == "q":
        text = condition.value.casefold()
        return any(text in str(entry.get(name) or "").casefold() for name in words)
    return _TESTS[condition.operation](str(entry.get(condition.field) or ""), condition.value)
