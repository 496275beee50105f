"""Labels of executions, set by people: of those that are over (LAB-03), and of those that run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from flowtide.api.answers import raw_answer
from flowtide.api.bodies import read_json
from flowtide.api.ended_executions import effect, execution_key, for_ids, for_query, send, watched
from flowtide.api.keys import CLOCK, LIVE_VIEW
from flowtide.api.parameters import user
from flowtide.api.problems import Problem
from flowtide.api.restarts import amended
from flowtide.log.keys import ExecutionKey
from flowtide.model.commands import SetLabels
from flowtide.model.labels import SYSTEM_PREFIX, read_labels
from flowtide.model.records import Label
from flowtide.model.states import TERMINAL

_MOST_LABELS = 1_000


async def set_labels(request: web.Request) -> web.StreamResponse:
    """Add labels to an execution, or give them other values."""
    return await _labelled(request, execution_key(request), _read(await read_json(request)))


async def set_labels_by_ids(request: web.Request) -> web.StreamResponse:
    """Set labels on the executions of these ids."""
    body = await read_json(request)
    ids = body.get("executionsId") if isinstance(body, dict) else None
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise Problem(422, "the body must have `executionsId`, a list of ids, and `executionLabels`")
    return await for_ids(
        request, _action(_read(body.get("executionLabels"))), allowed=lambda state: True, refusal="", ids=ids
    )


async def set_labels_by_query(request: web.Request) -> web.StreamResponse:
    """Set labels on the executions that filters find."""
    labels = _read(await read_json(request))
    return await for_query(request, _action(labels), allowed=lambda state: True)


def _action(labels: Sequence[Label]) -> Any:
    async def label(request: web.Request, key: ExecutionKey) -> None:
        await _labelled(request, key, labels)

    return label


async def _labelled(request: web.Request, key: ExecutionKey, labels: Sequence[Label]) -> web.StreamResponse:
    async with watched(request, key, over=False) as live:
        if live.is_over:
            return await amended(request, key, labels=labels)
        before = live.causes["SetLabels"]
        request.app[LIVE_VIEW].keep(live)
        await send(request, key, [SetLabels(at=request.app[CLOCK](), by=user(request), labels=list(labels))])
        if not await effect(request, live, "SetLabels", before) and live.state in TERMINAL:
            return await amended(request, key, labels=labels)  # it ended meanwhile
        return raw_answer(live.body or b"{}")


def _read(given: Any) -> tuple[Label, ...]:
    """The labels of a body.  Raises Problem 422."""
    if not isinstance(given, list | dict) or not given:
        raise Problem(422, "labels must be a list of mappings with `key` and `value`, with one at least")
    if len(given) > _MOST_LABELS:
        raise Problem(422, f"at most {_MOST_LABELS} labels can be set at once")
    try:
        # the Python client sends its `additional_properties` beside them
        labels = read_labels([_pair(each) for each in given] if isinstance(given, list) else given)
    except ValueError as error:
        raise Problem(422, str(error)) from None
    for label in labels:
        if label.key.startswith(SYSTEM_PREFIX):
            raise Problem(422, f"the label `{label.key}` is set by the system only")
        if len(label.key) > 256 or len(label.value) > 10_000 or "\0" in label.key + label.value:
            raise Problem(422, "a label's key has at most 256 characters, its value 10000, none of them NUL")
    return labels


def _pair(entry: Any) -> Any:
    """What counts of an entry that has both a key and a value; else the entry, for the error."""
    if isinstance(entry, dict) and {"key", "value"} <= entry.keys():
        return {"key": entry["key"], "value": entry["value"]}
    return entry
