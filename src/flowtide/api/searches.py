"""What lists and searches ask for: a request comes in, a filter of the index or a test of saved flows goes out.

Every handler that lists executions, logs, metrics or flows, or acts on all that a query finds, takes its filter from
here; so what a caller must not see is left out at one place.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import regex
from aiohttp import web

from flowtide.api.access import authorized_namespaces, namespace_filter
from flowtide.api.filters import (
    EXECUTION_FIELDS,
    FLOW_FIELDS,
    LOG_FIELDS,
    TRIGGER_FIELDS,
    Condition,
    FilterContext,
    bare_conditions,
    fields_of,
    index_filter,
    read_filters,
    tested,
)
from flowtide.api.flow_texts import FLOW_TEXTS, FlowTexts
from flowtide.api.keys import CATALOG, CLOCK, SITE
from flowtide.api.parameters import Sorting, tenant
from flowtide.api.problems import Problem
from flowtide.index.queries import AllOf, Filter, Match, Operation
from flowtide.services.catalog import SavedFlow

_REGEX_SECONDS = 0.1
NORMAL = Match("kind", Operation.NOT_IN, ["TEST", "PLAYGROUND"])
"""What searches find unless they ask for a kind: runs of the playground and of tests are no production (E068, E099)."""


# --- what the index is asked -------------------------------------------------------------------------------------


def executions_filter(request: web.Request, *, every_kind: bool = False) -> AllOf:
    """The executions that the query string asks for; without `kind` only normal ones.  Raises Problem 400."""
    parts, wanted = _read(request, EXECUTION_FIELDS)
    if every_kind or "kind" in parts:
        return wanted
    return AllOf((*wanted.parts, NORMAL))


def logs_filter(request: web.Request) -> AllOf:
    """The log lines that the query string asks for.  Raises Problem 400."""
    return _read(request, LOG_FIELDS)[1]


def triggers_filter(request: web.Request) -> AllOf:
    """The triggers that the query string asks for.  Raises Problem 400."""
    return _read(request, TRIGGER_FIELDS)[1]


def of_flow(namespace: str, flow_id: str, *further: Filter) -> AllOf:
    """What belongs to one flow, and fulfils the further conditions."""
    named = (Match("namespace", Operation.EQUALS, namespace), Match("flowId", Operation.EQUALS, flow_id))
    return AllOf((*named, *further))


def filter_context(request: web.Request) -> FilterContext:
    """What the meaning of some filters depends on."""
    return FilterContext(now=request.app[CLOCK](), system_namespace=request.app[SITE].system_namespace)


def _read(request: web.Request, fields: Mapping[str, Collection[Operation]]) -> tuple[set[str], AllOf]:
    parts = [*read_filters(request.query, fields), *bare_conditions(request.query, fields)]
    return fields_of(parts), visible(request, index_filter(parts, filter_context(request)))


def visible(request: web.Request, wanted: Filter) -> AllOf:
    """A filter without what the caller must not see."""
    limit = namespace_filter(request)
    parts = wanted.parts if isinstance(wanted, AllOf) else (wanted,)
    return AllOf(parts if limit is None else (*parts, limit))


def within(namespace: str, allowed: frozenset[str] | None) -> bool:
    """Whether a namespace stands at or below one of those that are allowed; None allows all."""
    return allowed is None or any(namespace == each or namespace.startswith(f"{each}.") for each in allowed)


# --- saved flows -------------------------------------------------------------------------------------------------


def flows_of(
    request: web.Request, namespace: str | None = None, *, below: bool = False
) -> Iterator[SavedFlow]:
    """The saved flows of the tenant that the caller may see, or of a namespace, `below` with those below it."""
    allowed = authorized_namespaces(request)
    found = request.app[CATALOG].flows(tenant(request), namespace, below=below)
    return found if allowed is None else (each for each in found if within(each.key.namespace, allowed))


async def found_flows(request: web.Request) -> list[SavedFlow]:
    """The saved flows that the query string asks for, by namespace and id.  Raises Problem 400."""
    parts = [*read_filters(request.query, FLOW_FIELDS), *bare_conditions(request.query, FLOW_FIELDS)]
    system_namespace = request.app[SITE].system_namespace
    texts = request.app[FLOW_TEXTS]
    found = list(flows_of(request))
    tests = [tested(part, lambda condition: _test(condition, system_namespace, texts)) for part in parts]
    if fields_of(parts) & {"q", "labels"}:
        await texts.prepare(found)
    for test in tests:
        found = [saved for saved in found if test(saved)]
    return found


def _test(condition: Condition, system_namespace: str, texts: FlowTexts) -> Callable[[SavedFlow], bool]:
    value, operation = condition.value, condition.operation
    if condition.field == "q":
        words = value.casefold().split()
        return lambda saved: all(word in texts.of(saved).words for word in words)
    if condition.field == "scope":
        scopes = {scope.upper() for scope in condition.values}
        if not scopes <= {"USER", "SYSTEM"}:
            raise Problem(400, "`scope` must be USER or SYSTEM")
        if operation in (Operation.NOT_EQUALS, Operation.NOT_IN):
            scopes = {"USER", "SYSTEM"} - scopes
        return lambda saved: ("SYSTEM" if saved.key.namespace == system_namespace else "USER") in scopes
    if condition.field == "labels":
        key, colon, text = (condition.key, ":", value) if condition.key else value.partition(":")
        if not key or not colon:
            raise Problem(400, "a filter by label is filters[labels][EQUALS][key]=value")
        wanted = operation is Operation.EQUALS
        return lambda saved: (texts.of(saved).labels.get(key) == text) is wanted
    compare = _comparison(condition)
    if condition.field == "namespace":
        return lambda saved: compare(saved.key.namespace)
    return lambda saved: compare(saved.key.flow_id)


def _comparison(condition: Condition) -> Callable[[str], bool]:
    value, values = condition.value, frozenset(condition.values)
    match condition.operation:
        case Operation.EQUALS:
            return lambda text: text == value
        case Operation.NOT_EQUALS:
            return lambda text: text != value
        case Operation.IN:
            return lambda text: text in values
        case Operation.NOT_IN:
            return lambda text: text not in values
        case Operation.CONTAINS:
            return lambda text: value.casefold() in text.casefold()
        case Operation.NOT_CONTAINS:
            return lambda text: value.casefold() not in text.casefold()
        case Operation.STARTS_WITH:
            return lambda text: text.startswith(value)
        case Operation.ENDS_WITH:
            return lambda text: text.endswith(value)
        case Operation.PREFIX:
            return lambda text: text == value or text.startswith(f"{value}.")
        case Operation.REGEX:
            return _pattern(value)
        case operation:
            raise Problem(400, f"{operation.value} cannot be used here")


def _pattern(value: str) -> Callable[[str], bool]:
    try:
        pattern = regex.compile(value)
    except regex.error as error:
        raise Problem(400, f"the filter is not a regular expression: {error}") from None

    def matches(text: str) -> bool:
        try:
            return pattern.fullmatch(text, timeout=_REGEX_SECONDS) is not None
        except TimeoutError:
            raise Problem(400, "the regular expression takes too long") from None

    return matches


_SORT_KEYS: Mapping[str, Callable[[SavedFlow], Any]] = {
    "id": lambda saved: (saved.key.flow_id, saved.key.namespace),
    "flowId": lambda saved: (saved.key.flow_id, saved.key.namespace),
    "namespace": lambda saved: (saved.key.namespace, saved.key.flow_id),
    "revision": lambda saved: saved.revision,
    "updated": lambda saved: saved.updated,
}


def sort_flows(found: list[SavedFlow], sortings: Iterable[Sorting]) -> None:
    """Sort flows by what a request names.  Raises Problem 400 for what they cannot be sorted by."""
    for each in reversed(list(sortings)):
        key = _SORT_KEYS.get(each.field)
        if key is None:
            raise Problem(
                400, f"flows can be sorted by {', '.join(sorted(_SORT_KEYS))}, not by `{each.field}`"
            )
        found.sort(key=key, reverse=each.descending)


# --- tables ------------------------------------------------------------------------------------------------------


def csv_line(values: Sequence[Any]) -> bytes:
    """A line of a CSV document; what is no text is JSON, and nothing is an empty field."""
    line = io.StringIO()
    shown = [
        json.dumps(each) if isinstance(each, dict | list | bool) else "" if each is None else str(each)
        for each in values
    ]
    # A text that a spreadsheet would take for a formula is marked as text; a number below zero is none.
    csv.writer(line).writerow(
        [
            f"'{text}" if text[:1] in ("=", "+", "-", "@") and not isinstance(value, int | float) else text
            for value, text in zip(values, shown, strict=True)
        ]
    )
    return line.getvalue().encode(errors="replace")


async def csv_response(request: web.Request, name: str, columns: Sequence[str]) -> web.StreamResponse:
    """Begin a CSV document that is sent as it is made; its first line is written."""
    response = web.StreamResponse(headers={"Content-Type": "text/csv; charset=utf-8"})
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    await response.prepare(request)
    await response.write(csv_line(columns))
    return response
