"""Triggers that the scheduler handles: read, search, and what people ask of them (pages 057 and 481, G_endpoints).

An item is `{abstractTrigger, triggerContext}`: the trigger as the flow declares it, and its state.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiDict
from pydantic_core import PydanticCustomError

from flowtide.api.access import authorize
from flowtide.api.answers import json_answer, page_answer
from flowtide.api.bodies import read_json
from flowtide.api.filters import TRIGGER_FIELDS, index_filter, read_filters, read_moment
from flowtide.api.flows import find_flow
from flowtide.api.keys import CATALOG, CLOCK, INDEX, NEW_IDENTIFIER, RESOURCES
from flowtide.api.parameters import flag, page, segment, sorting, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import csv_line, csv_response, filter_context, triggers_filter
from flowtide.errors import FlowInvalid, ResourceConflict
from flowtide.index.queries import AllOf, Filter, Match, Operation, Query, Sort, Words
from flowtide.log.keys import TriggerKey
from flowtide.model.labels import read_labels
from flowtide.model.records import encode
from flowtide.model.trigger import Trigger, WorkerTrigger
from flowtide.model.trigger_records import (
    DeleteBackfill,
    PauseBackfill,
    ResetTrigger,
    RestartTrigger,
    ResumeBackfill,
    SetTriggerDisabled,
    StartBackfill,
    TriggerState,
    TriggerVerb,
    UnlockTrigger,
)
from flowtide.model.triggers.dated import DatedTrigger
from flowtide.services.catalog import SavedFlow

_PORTION = 200
_AT_ONCE = 50  # verbs of one request that wait for their answers at the same time
_MOST_RECENT = 1_000
_SHOWN = (
    "tenantId", "namespace", "flowId", "triggerId", "date", "nextExecutionDate", "backfill", "stopAfter",
    "executionId", "evaluateRunningDate", "workerId", "error",
)  # fmt: skip  # reads better as a paragraph

_COLUMNS = ("disabled", *_SHOWN, "updatedDate")

Document = dict[str, Any]
MakeVerb = Callable[[web.Request], TriggerVerb]


class RecentTriggers:
    """The triggers that this server changed lately, until the index has them: one's own writes are seen."""

    def __init__(self) -> None:
        self._states: OrderedDict[TriggerKey, Document] = OrderedDict()

    def note(self, key: TriggerKey, document: Document) -> None:
        """Remember how a trigger is since a change."""
        self._states[key] = document
        self._states.move_to_end(key)
        if len(self._states) > _MOST_RECENT:
            self._states.popitem(last=False)

    def newest(self, tenant_id: str, document: Document) -> Document:
        """The document, or what is known better of the same trigger."""
        key = TriggerKey(tenant_id, document["namespace"], document["flowId"], document["triggerId"])
        known = self._states.get(key)
        if known is None:
            return document
        if _moment(document["updated"]) >= _moment(known["updated"]):
            del self._states[key]
            return document
        return known


RECENT: web.AppKey[RecentTriggers] = web.AppKey("recent_triggers", RecentTriggers)


# --- read --------------------------------------------------------------------------------------------------------


async def search(request: web.Request) -> web.StreamResponse:
    """Find triggers by filters, in either spelling."""
    found, total = await _found(request, _query_filter(request))
    return page_answer([_item(request, document) for document in found], total)


async def export(request: web.Request) -> web.StreamResponse:
    """All triggers that filters find, as CSV."""
    response = await csv_response(request, "triggers.csv", _COLUMNS)
    async for portion in request.app[INDEX].scan(
        tenant(request), "triggers", _query_filter(request), size=_PORTION
    ):
        contexts = [_context(found.document) for found in portion]
        lines = [csv_line([each.get(name, "") for name in _COLUMNS]) for each in contexts]
        await response.write(b"".join(lines))
    await response.write_eof()
    return response


async def list_of_flow(request: web.Request) -> web.StreamResponse:
    """The triggers of one flow that the scheduler handles."""
    saved = find_flow(request, segment(request, "namespace"), segment(request, "flowId"))
    words = request.query.get("q", "").strip()
    parts: list[Filter] = [
        Match("namespace", Operation.EQUALS, saved.key.namespace),
        Match("flowId", Operation.EQUALS, saved.key.flow_id),
    ]
    if words:
        parts.append(Words(words))
    found, total = await _found(request, AllOf(tuple(parts)))
    known = {document["triggerId"] for document in found}
    if total <= len(found) and not words:
        # What was saved a moment ago has no state in the index yet.
        for trigger in _handled(saved):
            if trigger.id not in known:
                found.append(_unknown_state(saved, trigger))
                total += 1
    return page_answer([_context(document) for document in found], total)


async def _found(request: web.Request, wanted_filter: Filter) -> tuple[list[Document], int]:
    wanted = page(request)
    sorts = tuple(Sort(each.field, each.descending) for each in sorting(request))
    query = Query(
        kind="triggers",
        filter=wanted_filter,
        sort=sorts or (Sort("namespace"), Sort("flowId"), Sort("triggerId")),
        page=wanted.number,
        size=wanted.size,
    )
    name = tenant(request)
    found = await request.app[INDEX].search(name, query)
    recent = request.app[RECENT]
    return [recent.newest(name, dict(each.document)) for each in found.results], found.total or 0


def _query_filter(request: web.Request) -> AllOf:
    return triggers_filter(request)


def _item(request: web.Request, document: Document) -> Document:
    item: Document = {"triggerContext": _context(document)}
    saved = request.app[CATALOG].flow(tenant(request), document["namespace"], document["flowId"])
    if saved is not None and not saved.deleted:
        for trigger in _handled(saved):
            if trigger.id == document["triggerId"]:
                item["abstractTrigger"] = trigger.model_dump(
                    mode="json", by_alias=True, exclude_unset=True, exclude_none=True
                )
    return item


def _context(document: Mapping[str, Any]) -> Document:
    """The state of a trigger as the API shows it (G_models, Trigger)."""
    shown: Document = {"disabled": bool(document.get("disabled"))}
    shown |= {name: document[name] for name in _SHOWN if document.get(name) not in (None, [])}
    if "backfill" in shown:
        shown["backfill"] = {"paused": False, **shown["backfill"]}
    shown["updatedDate"] = document["updated"]
    shown.setdefault("date", document["updated"])
    return shown


def _unknown_state(saved: SavedFlow, trigger: Trigger) -> Document:
    key = saved.key
    state = TriggerState(
        tenant_id=key.tenant,
        namespace=key.namespace,
        flow_id=key.flow_id,
        trigger_id=trigger.id,
        flow_revision=saved.revision,
        type=trigger.type,
        updated=saved.updated,
        disabled=saved.flow.disabled or trigger.disabled,
        stop_after=list(trigger.stop_after),
    )
    return _document(state)


def _document(state: TriggerState) -> Document:
    document: Document = msgspec.json.decode(encode(state))
    return document


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


# --- one ---------------------------------------------------------------------------------------------------------


async def update(request: web.Request) -> web.StreamResponse:
    """Switch a trigger off or on (`disabled`), and start a backfill (`backfill`)."""
    body = _object(await read_json(request))
    key = _key_of(request, body)
    _handled_trigger(request, key)
    state: TriggerState | None = None
    if isinstance(body.get("disabled"), bool):
        state = await _tell(request, key, _switch(request, body["disabled"]))
    given = body.get("backfill")
    if given is not None and (state is None or state.backfill is None):
        state = await _tell(request, key, _backfill(request, given))
    if state is None:
        raise Problem(422, "the body must have `disabled` or `backfill`")
    return json_answer(_context(_document(state)))


async def create_backfill(request: web.Request) -> web.StreamResponse:
    """Replay the dates of a schedule."""
    body = _object(await read_json(request))
    return await _to_one(request, _key_of(request, body), _backfill(request, body.get("backfill")))


async def set_disabled(request: web.Request) -> web.StreamResponse:
    """Switch a trigger off or on."""
    body = _object(await read_json(request))
    if not isinstance(body.get("disabled"), bool):
        raise Problem(422, "`disabled` must be true or false")
    return await _to_one(request, _key_of(request, body), _switch(request, body["disabled"]))


async def pause_backfill(request: web.Request) -> web.StreamResponse:
    """Start no more dates of the backfill until it is resumed."""
    return await _to_named(request, _pause)


async def resume_backfill(request: web.Request) -> web.StreamResponse:
    """Go on with a paused backfill."""
    return await _to_named(request, _resume)


async def delete_backfill(request: web.Request) -> web.StreamResponse:
    """Start none of the dates that are left."""
    return await _to_named(request, _delete_backfill)


async def unlock(request: web.Request) -> web.StreamResponse:
    """Forget the execution, or the evaluation, that the trigger waits for."""
    return await _to_one(request, _path_key(request), _unlock(request))


async def restart(request: web.Request) -> web.StreamResponse:
    """Have a realtime trigger listen anew, a polling one evaluate now."""
    return await _to_one(request, _path_key(request), _restart(request))


async def delete(request: web.Request) -> web.StreamResponse:
    """Forget the state of the trigger, as if its flow had just been saved."""
    key = _path_key(request)
    _handled_trigger(request, key)
    await _tell(request, key, _reset(request))
    return web.Response(status=204)


async def _to_named(request: web.Request, make: MakeVerb) -> web.StreamResponse:
    return await _to_one(request, _key_of(request, _object(await read_json(request))), make(request))


async def _to_one(request: web.Request, key: TriggerKey, verb: TriggerVerb) -> web.StreamResponse:
    _handled_trigger(request, key)
    return json_answer(_context(_document(await _tell(request, key, verb))))


async def _tell(request: web.Request, key: TriggerKey, verb: TriggerVerb) -> TriggerState:
    state = await request.app[RESOURCES].tell_trigger(key, verb)
    request.app[RECENT].note(key, _document(state))
    return state


# --- many --------------------------------------------------------------------------------------------------------


async def unlock_by_ids(request: web.Request) -> web.StreamResponse:
    """Unlock these triggers; those that are not locked do not count."""
    return await _by_ids(request, await read_json(request), _unlock(request))


async def unlock_by_query(request: web.Request) -> web.StreamResponse:
    """Unlock the triggers that filters find."""
    return await _by_query(request, _query_filter(request), _unlock(request))


async def delete_by_ids(request: web.Request) -> web.StreamResponse:
    """Forget the state of these triggers."""
    return await _by_ids(request, await read_json(request), _reset(request))


async def delete_by_query(request: web.Request) -> web.StreamResponse:
    """Forget the state of the triggers that the filters of the body, or of the query string, find."""
    body = await read_json(request) if request.can_read_body else {}
    wanted = _query_filter(request)
    given = _object(body).get("filters") or []
    if given:
        parts = read_filters(_as_query(given), TRIGGER_FIELDS)
        wanted = AllOf((wanted, index_filter(parts, filter_context(request))))
    return await _by_query(request, wanted, _reset(request))


async def set_disabled_by_ids(request: web.Request) -> web.StreamResponse:
    """Switch these triggers off or on."""
    body = _object(await read_json(request))
    if not isinstance(body.get("disabled"), bool) or not body.get("triggers"):
        raise Problem(422, "the body must have `triggers`, at least one, and `disabled`, true or false")
    return await _by_ids(request, body["triggers"], _switch(request, body["disabled"]))


async def set_disabled_by_query(request: web.Request) -> web.StreamResponse:
    """Switch the triggers off or on that filters find."""
    if "disabled" not in request.query:
        raise Problem(422, "`disabled` is needed")
    wanted = _query_filter(request)
    return await _by_query(request, wanted, _switch(request, flag(request, "disabled")))


async def pause_backfills_by_ids(request: web.Request) -> web.StreamResponse:
    """Pause the backfills of these triggers."""
    return await _by_ids(request, await read_json(request), _pause(request))


async def pause_backfills_by_query(request: web.Request) -> web.StreamResponse:
    """Pause the backfills of the triggers that filters find."""
    return await _by_query(request, _query_filter(request), _pause(request))


async def resume_backfills_by_ids(request: web.Request) -> web.StreamResponse:
    """Go on with the backfills of these triggers."""
    return await _by_ids(request, await read_json(request), _resume(request))


async def resume_backfills_by_query(request: web.Request) -> web.StreamResponse:
    """Go on with the backfills of the triggers that filters find."""
    return await _by_query(request, _query_filter(request), _resume(request))


async def delete_backfills_by_ids(request: web.Request) -> web.StreamResponse:
    """Delete the backfills of these triggers."""
    return await _by_ids(request, await read_json(request), _delete_backfill(request))


async def delete_backfills_by_query(request: web.Request) -> web.StreamResponse:
    """Delete the backfills of the triggers that filters find."""
    return await _by_query(request, _query_filter(request), _delete_backfill(request))


async def _by_ids(request: web.Request, given: Any, verb: TriggerVerb) -> web.StreamResponse:
    if not isinstance(given, list) or not given or len(given) > 10_000:
        raise Problem(422, "the body must be a list of 1 to 10000 triggers")
    keys = list(dict.fromkeys(_key_of(request, _object(each)) for each in given))
    for key in keys:
        _handled_trigger(request, key)
    return json_answer({"count": await _tell_all(request, keys, verb)})


async def _by_query(request: web.Request, wanted: Filter, verb: TriggerVerb) -> web.StreamResponse:
    count = 0
    async for portion in _scan(request, wanted):
        count += await _tell_all(request, portion, verb)
    return json_answer({"count": count})


async def _scan(request: web.Request, wanted: Filter) -> AsyncIterator[list[TriggerKey]]:
    name = tenant(request)
    async for portion in request.app[INDEX].scan(name, "triggers", wanted, size=_PORTION):
        documents = [found.document for found in portion]
        yield [TriggerKey(name, each["namespace"], each["flowId"], each["triggerId"]) for each in documents]


async def _tell_all(request: web.Request, keys: Sequence[TriggerKey], verb: TriggerVerb) -> int:
    """Tell them, some at a time; gives how many did not refuse."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def tell(key: TriggerKey) -> bool:
        async with slots:
            try:
                await _tell(request, key, verb)
            except ResourceConflict:
                return False
        return True

    return sum(await asyncio.gather(*(tell(key) for key in keys)))


# --- verbs -------------------------------------------------------------------------------------------------------


def _switch(request: web.Request, disabled: bool) -> SetTriggerDisabled:
    return SetTriggerDisabled(at=request.app[CLOCK](), disabled=disabled, by=user(request))


def _unlock(request: web.Request) -> UnlockTrigger:
    return UnlockTrigger(at=request.app[CLOCK](), by=user(request))


def _reset(request: web.Request) -> ResetTrigger:
    return ResetTrigger(at=request.app[CLOCK](), by=user(request))


def _restart(request: web.Request) -> RestartTrigger:
    return RestartTrigger(at=request.app[CLOCK](), by=user(request))


def _pause(request: web.Request) -> PauseBackfill:
    return PauseBackfill(at=request.app[CLOCK](), by=user(request))


def _resume(request: web.Request) -> ResumeBackfill:
    return ResumeBackfill(at=request.app[CLOCK](), by=user(request))


def _delete_backfill(request: web.Request) -> DeleteBackfill:
    return DeleteBackfill(at=request.app[CLOCK](), by=user(request))


def _backfill(request: web.Request, given: Any) -> StartBackfill:
    """Read a backfill (G_models, Backfill).  Raises Problem 422."""
    body = _object(given, "`backfill`")
    start, end, inputs = body.get("start"), body.get("end"), body.get("inputs")
    if not isinstance(start, str):
        raise Problem(422, "`backfill.start` must be an ISO-8601 date-time")
    if end is not None and not isinstance(end, str):
        raise Problem(422, "`backfill.end` must be an ISO-8601 date-time, or null for now")
    if inputs is not None and not isinstance(inputs, dict):
        raise Problem(422, "`backfill.inputs` must be an object")
    try:
        labels = list(read_labels(body.get("labels")))
    except PydanticCustomError as error:
        raise Problem(422, f"`backfill.labels`: {error.message()}") from None
    if any(label.key.startswith("system.") for label in labels):
        raise Problem(422, "labels that start with `system.` are set by the system only")
    now = request.app[CLOCK]()
    first = read_moment(start, "backfill.start")
    last = None if end is None else read_moment(end, "backfill.end")
    if first > (last or now):
        raise Problem(422, "`backfill.start` must not be after its end")
    return StartBackfill(
        at=now,
        backfill_id=request.app[NEW_IDENTIFIER](),
        start=first,
        end=last,
        inputs=inputs or {},
        labels=labels,
        by=user(request),
    )


# --- which -------------------------------------------------------------------------------------------------------


def _object(value: Any, name: str = "the body") -> Document:
    if not isinstance(value, dict):
        raise Problem(422, f"{name} must be a JSON object")
    return value


def _key_of(request: web.Request, body: Document) -> TriggerKey:
    names = [body.get(name) for name in ("namespace", "flowId", "triggerId")]
    if not all(isinstance(name, str) and name and "/" not in name for name in names):
        raise Problem(422, "a trigger is named by `namespace`, `flowId` and `triggerId`")
    key = TriggerKey(tenant(request), *map(str, names))
    authorize(request, key.namespace)
    return key


def _path_key(request: web.Request) -> TriggerKey:
    return TriggerKey(
        tenant(request),
        segment(request, "namespace"),
        segment(request, "flowId"),
        segment(request, "triggerId"),
    )


def _handled_trigger(request: web.Request, key: TriggerKey) -> None:
    """Insist on a trigger that the scheduler handles.  Raises Problem 404."""
    saved = find_flow(request, key.namespace, key.flow_id)
    if key.trigger_id not in {trigger.id for trigger in _handled(saved)}:
        raise not_found(f"the trigger {key.trigger_id} of the flow {key.namespace}/{key.flow_id}")


def _handled(saved: SavedFlow) -> Iterable[Trigger]:
    try:
        triggers = saved.flow.triggers
    except FlowInvalid:
        return []
    return [trigger for trigger in triggers if isinstance(trigger, DatedTrigger | WorkerTrigger)]


def _as_query(given: Any) -> MultiDict[str]:
    """Filters as JSON objects, as they would stand in a query string (G_models)."""
    query: MultiDict[str] = MultiDict()
    for each in given if isinstance(given, list) else [given]:
        fields = _object(each, "a filter")
        value = fields.get("value")
        if isinstance(value, dict):
            value = value.get("value")
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        query.add(f"filters[{fields.get('field')}][{fields.get('operation', 'EQUALS')}]", text)
    return query
