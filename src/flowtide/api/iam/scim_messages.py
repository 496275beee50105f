"""What SCIM 2.0 says: filters, changes and values of RFC 7644 in, plain ones out; errors and lists as it wants them.

No state.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any

from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.api.bodies import read_json
from flowtide.api.problems import Problem
from flowtide.errors import ResourceConflict, ValueInvalid

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
_MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
_TYPE = {"Content-Type": "application/scim+json"}
_MOST = 1_000  # results of a page, operations of a change
_FILTER = re.compile(r'\s*(?P<name>[A-Za-z][\w.:]*)\s+eq\s+"(?P<value>(?:[^"\\]|\\.)*)"\s*', re.IGNORECASE)
_SELECTED = re.compile(r'members\[\s*value\s+eq\s+"(?P<value>[^"]*)"\s*\]', re.IGNORECASE)
_EMAIL = re.compile(r"emails(?:\[[^\]]*\])?(?:\.value)?", re.IGNORECASE)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScimProblem(Problem):
    """A refusal that says its kind as RFC 7644, 3.12 spells them."""

    def __init__(self, status: int, message: str, kind: str | None = None) -> None:
        super().__init__(status, message)
        self.kind = kind


def scim(handler: Handler) -> Handler:
    """Answer what the handler refuses as SCIM wants it."""

    @wraps(handler)
    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ResourceConflict as error:
            return _error(409, str(error), "uniqueness")
        except ValueInvalid as error:
            return _error(400, str(error), "invalidValue")
        except ScimProblem as problem:
            return _error(problem.status, str(problem), problem.kind)
        except Problem as problem:
            status = 400 if problem.status == 422 else problem.status
            return _error(status, str(problem), "invalidValue" if status == 400 else None)

    return answered


def scim_answer(value: Any, status: int = 200) -> web.Response:
    """An answer with SCIM's own type."""
    return json_answer(value, status=status, headers=_TYPE)


def list_answer(request: web.Request, entries: Sequence[Mapping[str, Any]]) -> web.Response:
    """The part of the entries that `startIndex` (from 1) and `count` ask for."""
    start, count = max(1, _number(request, "startIndex", 1)), max(0, _number(request, "count", 100))
    page = entries[start - 1 : start - 1 + min(count, _MOST)]
    return scim_answer(
        {
            "schemas": [_MESSAGES + "ListResponse"],
            "totalResults": len(entries),
            "startIndex": start,
            "itemsPerPage": len(page),
            "Resources": page,
        }
    )


async def read_resource(request: web.Request) -> Mapping[str, Any]:
    """The body, which must be a JSON object."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise ScimProblem(400, "the body must be a JSON object", "invalidSyntax")
    return value


def filter_of(request: web.Request, known: Sequence[str]) -> tuple[str, str] | None:
    """The one comparison of `filter`: a field of `known` and its value; None without a filter."""
    text = request.query.get("filter")
    if not text or not text.strip():
        return None
    match = _FILTER.fullmatch(text)
    names = {name.casefold(): name for name in known}
    name = None if match is None else names.get(match["name"].casefold())
    if match is None or name is None:
        raise ScimProblem(400, f'`filter` must be one of {", ".join(known)} with `eq "..."`', "invalidFilter")
    return name, re.sub(r"\\(.)", r"\1", match["value"])


def changes_of(body: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """The changes of a PATCH: the verb, the field and the value; one without a path becomes one for each field.

    Fields are `userName`, `externalId`, `active`, `name.givenName`, `name.familyName`, `displayName`, `members`;
    what stands in no such field is given as it is, for the caller to pass over.
    """
    operations = body.get("Operations", body.get("operations"))
    if not isinstance(operations, list) or not operations or len(operations) > _MOST:
        raise ScimProblem(400, f"`Operations` must be a list of 1 to {_MOST} changes", "invalidSyntax")
    for each in operations:
        if not isinstance(each, dict):
            raise ScimProblem(400, "each of `Operations` must be an object", "invalidSyntax")
        verb, path, value = str(each.get("op", "")).lower(), each.get("path"), each.get("value")
        if verb not in ("add", "replace", "remove"):
            raise ScimProblem(400, "`op` must be add, replace or remove", "invalidSyntax")
        if path is None:
            if not isinstance(value, dict):
                raise ScimProblem(400, "a change without `path` needs an object as `value`", "noTarget")
            for name, part in value.items():
                yield from _plain(verb, str(name), part)
        else:
            yield from _plain(verb, str(path), value)


def truth(value: Any) -> bool:
    """A boolean, also as the text that some providers send."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ScimProblem(400, "`active` must be true or false", "invalidValue")
    return value


def members_of(value: Any) -> list[str]:
    """The ids of members."""
    given = [] if value is None else value if isinstance(value, list) else [value]
    ids = [each.get("value") if isinstance(each, dict) else each for each in given]
    found = [each for each in ids if isinstance(each, str) and each]
    if len(found) != len(ids):
        raise ScimProblem(400, "each of `members` needs a `value`", "invalidValue")
    return list(dict.fromkeys(found))


def _plain(verb: str, path: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    for schema in (USER_SCHEMA, GROUP_SCHEMA):
        path = path.removeprefix(schema + ":")
    selected = _SELECTED.fullmatch(path)
    if selected is not None:
        yield verb, "members", [{"value": selected["value"]}]
    elif path == "name" and isinstance(value, dict):
        for name, part in value.items():
            yield verb, f"name.{name}", part
    elif _EMAIL.fullmatch(path):
        return  # the user name is the e-mail address (AUTH-06)
    else:
        yield verb, path, value


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]{1,9}", text):
        raise ScimProblem(400, f"`{name}` must be a whole number", "invalidValue")
    return int(text)


def _error(status: int, message: str, kind: str | None) -> web.Response:
    document = {"schemas": [_MESSAGES + "Error"], "status": str(status), "detail": message}
    return scim_answer(document if kind is None else {**document, "scimType": kind}, status)
