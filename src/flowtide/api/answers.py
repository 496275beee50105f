"""Answers: values in, HTTP responses with JSON out; fields without a value are left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from flowtide.model.records import encode

_JSON = {"Content-Type": "application/json"}


def json_answer(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with a value as JSON."""
    return raw_answer(encode(value), status=status, headers=headers)


def raw_answer(
    content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Answer with what is JSON already."""
    return web.Response(body=content, status=status, headers={**_JSON, **headers} if headers else _JSON)


def page_answer(results: Sequence[Any], total: int) -> web.Response:
    """One page of a search."""
    return json_answer({"results": results, "total": total})


def without_nulls(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without the fields that have no value."""
    return {name: value for name, value in document.items() if value is not None}
