"""Fields of the bodies of identities: JSON in, typed values out, Problem 422 for what they cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web

from flowtide.api.bodies import read_json
from flowtide.api.problems import Problem
from flowtide.model.durations import parse_duration

EMAIL = re.compile(r"[a-zA-Z0-9_!#$%&’*+/=?`{|}~^.-]{1,64}@[a-zA-Z0-9.-]{1,190}")
NAME = re.compile(r"(?=.{1,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")  # SA-02
_LONGEST = 1_024


async def read_object(request: web.Request) -> Mapping[str, Any]:
    """The body, which must be a JSON object.  Raises Problem 400, 422."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise Problem(422, "the body must be a JSON object")
    return value


def text(body: Mapping[str, Any], name: str, *, longest: int = _LONGEST) -> str | None:
    """A text; None when it is not given."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise Problem(422, f"`{name}` must be a text of at most {longest} characters")
    return value


def needed(body: Mapping[str, Any], name: str, *, longest: int = _LONGEST) -> str:
    """A text that must be there."""
    value = text(body, name, longest=longest)
    if not value or not value.strip():
        raise Problem(422, f"`{name}` is needed")
    return value


def flag(body: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """A boolean."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise Problem(422, f"`{name}` must be true or false")
    return value


def superadmin(body: Mapping[str, Any], default: bool = False) -> bool:
    """Whether somebody is to be a superadmin, in either spelling."""
    return flag(body, "superAdmin", flag(body, "instanceOwner", default))


def texts(body: Mapping[str, Any], name: str) -> Sequence[str] | None:
    """A list of texts; None when it is not given."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > 1_000 or not all(isinstance(each, str) for each in value):
        raise Problem(422, f"`{name}` must be a list of texts")
    return list(dict.fromkeys(value))


def email(body: Mapping[str, Any]) -> str:
    """An e-mail address, which is a user's name, too (AUTH-06)."""
    value = needed(body, "email", longest=256).strip()
    if EMAIL.fullmatch(value) is None:
        raise Problem(422, "`email` must be an e-mail address")
    return value


def name_of(body: Mapping[str, Any]) -> str:
    """The name of a token or of a service account (SA-02)."""
    value = needed(body, "name")
    if NAME.fullmatch(value) is None:
        raise Problem(422, "`name` has at most 63 of a-z, 0-9 and single hyphens between them")
    return value


def duration(body: Mapping[str, Any], name: str) -> timedelta | None:
    """An ISO-8601 duration of more than nothing and at most a thousand years; None when it is not given."""
    value = text(body, name)
    if not value:
        return None
    try:
        parsed = parse_duration(value)
    except (ValueError, OverflowError):
        raise Problem(422, f"`{name}` must be an ISO-8601 duration, such as P30D") from None
    if not timedelta(0) < parsed <= timedelta(days=366_000):
        raise Problem(422, f"`{name}` must be more than nothing")
    return parsed
