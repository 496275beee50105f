"""Parameters of requests: path segments and query strings in, typed values out, Problem 400 for what is neither."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aiohttp import web

from flowtide.api.keys import TENANT, USER
from flowtide.api.problems import Problem, not_found
from flowtide.model.breakpoints import read_breakpoints
from flowtide.model.records import Breakpoint, Label

_DEFAULT_SIZE = 10
_LARGEST_SIZE = 10_000
_MOST_SORTINGS = 20
_LARGEST_PAGE = 2**31 - 1
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,255}")
_SORT = re.compile(r"(?P<field>[A-Za-z][A-Za-z0-9._]{0,99})(?::(?P<order>asc|desc))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of the results is asked for."""

    number: int  # counts from 1
    size: int

    @property
    def offset(self) -> int:
        """How many results come before this page."""
        return (self.number - 1) * self.size


@dataclass(frozen=True, slots=True)
class Sorting:
    """One field to sort by."""

    field: str
    descending: bool


def tenant(request: web.Request) -> str:
    """The tenant of a request; that it exists was checked before any handler ran."""
    return request[TENANT]


def user(request: web.Request) -> str | None:
    """The name of the caller; None for open paths."""
    return request.get(USER)


def segment(request: web.Request, name: str) -> str:
    """An identifier in the path.  Raises Problem 404 for what no thing can be called."""
    value = request.match_info[name]
    if _IDENTIFIER.fullmatch(value) is None:
        raise not_found(f"`{value[:100]!s}`" if value.isprintable() else "what was asked for")
    return value


def page(request: web.Request, default_size: int = _DEFAULT_SIZE) -> Page:
    """`page` (from 1) and `size`.  Raises Problem 422."""
    number = integer(request, "page", least=1, most=_LARGEST_PAGE, status=422)
    size = integer(request, "size", least=1, most=_LARGEST_SIZE, status=422)
    return Page(1 if number is None else number, default_size if size is None else size)


def breakpoints(request: web.Request) -> list[Breakpoint] | None:
    """`breakpoints=task,task.value`, repeated or joined by commas; None when it is not given.  Raises Problem 422."""
    given = request.query.getall("breakpoints", None)
    if given is None:
        return None
    try:
        return read_breakpoints(",".join(given))
    except ValueError as error:
        raise Problem(422, str(error)) from None


def sorting(request: web.Request) -> list[Sorting]:
    """`sort=field:asc`, repeated or joined by commas.  Raises Problem 400."""
    sortings: list[Sorting] = []
    for text in request.query.getall("sort", []):
        for part in text.split(","):
            if not part:
                continue
            match = _SORT.fullmatch(part)
            if match is None:
                raise Problem(400, f"`sort` must be a field with `:asc` or `:desc`, and not `{part[:100]}`")
            if len(sortings) == _MOST_SORTINGS:
                raise Problem(400, f"at most {_MOST_SORTINGS} fields can be sorted by")
            sortings.append(Sorting(match["field"], (match["order"] or "asc").lower() == "desc"))
    return sortings


def integer(
    request: web.Request, name: str, *, least: int, most: int = 2**31 - 1, status: int = 400
) -> int | None:
    """A whole number; None when it is not given.  Raises Problem with `status`."""
    text = request.query.get(name)
    if text is None or text == "":
        return None
    # Python reads digits of all scripts and millions of them; what a client sends is short and ASCII.
    if len(text) > 12 or not re.fullmatch(r"[+-]?[0-9]+", text) or not least <= int(text) <= most:
        raise Problem(status, f"`{name}` must be a whole number from {least} to {most}")
    return int(text)


def flag(request: web.Request, name: str, default: bool = False) -> bool:
    """A boolean.  Raises Problem 400."""
    text = request.query.get(name)
    if text is None or text == "":
        return default
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise Problem(400, f"`{name}` must be true or false")


def texts(request: web.Request, name: str) -> list[str]:
    """A list of texts, repeated or joined by commas."""
    return [part for text in request.query.getall(name, []) for part in text.split(",") if part]


def labels(request: web.Request) -> list[Label]:
    """`labels=key:value`, repeated.  Raises Problem 400 for what is not of this form."""
    read: dict[str, Label] = {}
    for text in request.query.getall("labels", []):
        if text == "":
            continue
        key, colon, value = text.partition(":")
        if not colon or not key or not value:
            raise Problem(400, f"`labels` must be of the form key:value, and not `{text[:100]}`")
        if len(key) > 256 or len(value) > 10_000 or "\0" in text:
            raise Problem(400, "a label's key has at most 256 characters, its value 10000, none of them NUL")
        read[key] = Label(key=key, value=value)
    return list(read.values())
