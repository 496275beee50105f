"""The key-value store over HTTP (page 061, KVS-07 to KVS-10): values come as texts, pairs go out as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from flowtide.api.access import authorize, authorized_namespaces, may
from flowtide.api.answers import json_answer, page_answer, without_nulls
from flowtide.api.bodies import read_json, read_text
from flowtide.api.filters import Condition, Group, bare_conditions, read_filters, tested
from flowtide.api.keys import PLATFORMS
from flowtide.api.parameters import Sorting, page, segment, sorting, tenant, user
from flowtide.api.problems import Problem, not_found
from flowtide.api.searches import within
from flowtide.index.queries import Operation
from flowtide.model.access import Action, Permission
from flowtide.model.durations import parse_duration
from flowtide.model.platform import KeyValue
from flowtide.model.records import format_date
from flowtide.model.typed_values import typed_text
from flowtide.services.platform import TenantPlatform
from flowtide.services.platform.namespaces import checked_name, lineage

_TEXT: Final = frozenset(
    {
        Operation.EQUALS,
        Operation.NOT_EQUALS,
        Operation.IN,
        Operation.NOT_IN,
        Operation.CONTAINS,
        Operation.NOT_CONTAINS,
        Operation.STARTS_WITH,
        Operation.ENDS_WITH,
        Operation.PREFIX,
    }
)
_FIELDS: Final = {"q": {Operation.EQUALS}, "namespace": _TEXT, "key": _TEXT}
_LONG_AGO: Final = datetime(1, 1, 1, tzinfo=UTC)
_NAME_SORTS: Final[dict[str, Callable[[tuple[str, str]], str]]] = {
    "key": lambda name: name[1],
    "namespace": lambda name: name[0],
}
_SORTS: Final[dict[str, Callable[[KeyValue], Any]]] = {
    "key": lambda pair: pair.key,
    "namespace": lambda pair: pair.namespace,
    "creationDate": lambda pair: pair.created,
    "updateDate": lambda pair: pair.updated,
    "expirationDate": lambda pair: pair.expires or _LONG_AGO,
    "description": lambda pair: pair.description or "",
    "version": lambda pair: pair.revision,
}


async def search(request: web.Request) -> web.StreamResponse:
    """The pairs of all namespaces, by filters."""
    allowed = authorized_namespaces(request)
    wanted = page(request)
    conditions: list[Condition | Group] = [*read_filters(request.query, _FIELDS)]
    conditions += bare_conditions(request.query, ("q", "namespace"))
    tests = [tested(each, _test) for each in conditions]
    store = _platform(request).key_values
    exact = [
        each.value.strip()
        for each in conditions
        if isinstance(each, Condition) and each.field == "namespace" and each.operation is Operation.EQUALS
    ]
    names = list(
        await store.names(
            lambda namespace, key: (
                within(namespace, allowed) and all(test((namespace, key)) for test in tests)
            ),
            exact[0] if exact else None,
        )
    )
    sortings = sorting(request)
    shown: Sequence[KeyValue]
    if all(each.field in _NAME_SORTS for each in sortings):
        for each in reversed(sortings):
            names.sort(key=_NAME_SORTS[each.field], reverse=each.descending)
        shown = await store.described(names[wanted.offset : wanted.offset + wanted.size])
    else:
        pairs = list(await store.described(names))
        _sort(pairs, sortings)
        shown = pairs[wanted.offset : wanted.offset + wanted.size]
    return page_answer([_entry(pair) for pair in shown], len(names))


async def list_of_namespace(request: web.Request) -> web.StreamResponse:
    """The pairs of one namespace (deprecated: /kv with a filter)."""
    pairs = await _platform(request).key_values.list(segment(request, "namespace"))
    return json_answer([_entry(pair) for pair in pairs])


async def inherited(request: web.Request) -> web.StreamResponse:
    """The pairs of the namespaces above, the nearest first."""
    store = _platform(request).key_values
    entries = []
    for above in reversed(lineage(segment(request, "namespace"))[:-1]):
        entries += [_entry(pair) for pair in await store.list(above)]
    return json_answer(entries)


async def get(request: web.Request) -> web.StreamResponse:
    """The type and value of a pair."""
    namespace, key = segment(request, "namespace"), request.match_info["key"]
    found = await _platform(request).key_values.find(namespace, key)
    if found is None:
        raise not_found(f"the key `{key[:256]}` in the namespace `{namespace}`")
    pair, value = found
    return json_answer(
        {
            "type": pair.type.value,
            "value": value,
            "revision": pair.revision,
            "updated": format_date(pair.updated),
        }
    )


async def put(request: web.Request) -> web.StreamResponse:
    """Write a pair; its type follows from the text, the headers `ttl` and `description` say more."""
    namespace = checked_name(request.match_info["namespace"])
    text = await read_text(request)
    if not text.strip():
        raise Problem(422, 'the body must be the value, such as "a text", 42 or {"a": 1}')
    kind, value = typed_text(text)
    ttl = None
    if request.headers.get("ttl"):
        try:
            ttl = parse_duration(request.headers["ttl"])
        except ValueError as error:
            raise Problem(422, f"the header `ttl`: {error}") from None
    await _authorize_put(request, namespace, request.match_info["key"])
    await _platform(request).key_values.set(
        namespace,
        request.match_info["key"],
        value,
        type=kind,
        ttl=ttl,
        description=request.headers.get("description"),
        by=user(request),
    )
    return web.Response()


async def _authorize_put(request: web.Request, namespace: str, key: str) -> None:
    """A pair that is there needs UPDATE, another one CREATE (PERM-X8)."""
    if all(may(request, namespace, Permission.KVSTORE, each) for each in (Action.CREATE, Action.UPDATE)):
        return
    known = await _platform(request).key_values.names(lambda _, name: name == key, namespace)
    action = Action.UPDATE if (namespace, key) in known else Action.CREATE
    authorize(request, namespace, Permission.KVSTORE, action)


async def delete(request: web.Request) -> web.StreamResponse:
    """Remove a pair; the answer says whether there was one."""
    namespace, key = segment(request, "namespace"), request.match_info["key"]
    return json_answer(await _platform(request).key_values.delete(namespace, key, by=user(request)))


async def delete_many(request: web.Request) -> web.StreamResponse:
    """Remove several pairs of a namespace; the answer has the keys that there were."""
    namespace = segment(request, "namespace")
    body = await read_json(request)
    keys = body.get("keys") if isinstance(body, dict) else None
    if not isinstance(keys, list) or not all(isinstance(each, str) for each in keys):
        raise Problem(400, "the body must be an object with `keys`, a list of texts")
    store = _platform(request).key_values
    deleted = [key for key in dict.fromkeys(keys) if await store.delete(namespace, key, by=user(request))]
    return json_answer({"keys": deleted})


def _platform(request: web.Request) -> TenantPlatform:
    return request.app[PLATFORMS].of(tenant(request))


def _entry(pair: KeyValue) -> dict[str, Any]:
    return without_nulls(
        {
            "namespace": pair.namespace,
            "key": pair.key,
            "version": pair.revision,
            "revision": pair.revision,
            "description": pair.description,
            "creationDate": format_date(pair.created),
            "updateDate": format_date(pair.updated),
            "expirationDate": None if pair.expires is None else format_date(pair.expires),
        }
    )


def _test(condition: Condition) -> Callable[[tuple[str, str]], bool]:
    return lambda name: fits(*name, condition)


def fits(namespace: str, key: str, condition: Condition) -> bool:
    """Whether a pair of that name is what one filter asks for."""
    wanted = condition.value.strip()
    if condition.field == "q":
        return wanted.casefold() in key.casefold()
    value = namespace if condition.field == "namespace" else key
    match condition.operation:
        case Operation.EQUALS:
            return value == wanted
        case Operation.NOT_EQUALS:
            return value != wanted
        case Operation.IN:
            return value in condition.values
        case Operation.NOT_IN:
            return value not in condition.values
        case Operation.CONTAINS:
            return wanted in value
        case Operation.STARTS_WITH:
            return value.startswith(wanted)
        case Operation.ENDS_WITH:
            return value.endswith(wanted)
        case Operation.NOT_CONTAINS:
            return wanted not in value
        case _:  # PREFIX, which is about whole parts between dots
            return value == wanted or value.startswith(f"{wanted}.")


def _sort(pairs: list[KeyValue], sortings: list[Sorting]) -> None:
    for each in reversed(sortings):
        key = _SORTS.get(each.field)
        if key is None:
            raise Problem(400, f"pairs cannot be sorted by `{each.field}`; known are {', '.join(_SORTS)}")
        pairs.sort(key=key, reverse=each.descending)
