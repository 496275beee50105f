"""The OpenAPI document: the table of routes, `requests.yaml` and `models.yaml` in, `schemas/openapi.yaml` out.

`python -m flowtide.api.openapi FILE` writes it; a test fails when the file and the table drift.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from flowtide.api.route import PREFIX, Route
from flowtide.api.routes import ROUTES
from flowtide.api.schemas import Schema, components, schema_of

_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
_SCIM = "application/scim+json"
_JSON = "application/json"
_CONTENT_TYPES: Mapping[str, tuple[str, ...]] = {
    "SSE": ("text/event-stream",),
    "text": ("text/plain", "application/yaml"),
    "text/csv": ("text/csv",),
    "bytes": ("application/octet-stream", "application/yaml", "image/svg+xml"),
}
_FORM = "multipart/form-data"
_PAGED = {"page": "int", "size": "int", "sort": "string[]"}
_DESCRIPTIONS = {
    "page": "Which page, from 1.",
    "size": "How many results a page has.",
    "sort": "`field:asc` or `field:desc`; may come several times.",
    "filters": "`filters[field][OPERATION]=value`; may come several times.",
    "asOf": "The number of an event: the answer is as things stood right after it. Without it, as they stand now.",
    "buckets": "Into how many slices of equal length the time is cut at most; 240 by default.",
    "slices": "Into how many slices of equal length the time is cut at most; 240 by default.",
    "causedBy": "The number of an event: those that it led to directly.",
    "longerThanSeconds": "Those that are over and lasted longer.",
}
_LEAST = {"page": 1, "size": 1}
_MOST = {"page": 2**31 - 1, "size": 10_000}


def openapi() -> dict[str, Any]:
    """The document as plain values."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        path = PREFIX + _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
    refused = schema_of("Problem"), schema_of("BulkErrorResponse")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Flowtide",
            "version": "v1",
            "description": "The tenant may be left out of a path; it is `main` then.",
        },
        "security": [{"bearer": []}, {"basic": []}, {"session": []}, {"cookie": []}],
        "paths": dict(sorted(paths.items())),
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
                "session": {"type": "apiKey", "in": "cookie", "name": "JWT"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "BASIC_AUTH"},
            },
            "responses": {
                "Refused": {
                    "description": "What is wrong, and where.",
                    "content": {_JSON: {"schema": {"anyOf": list(refused)}}},
                },
                "Unavailable": {
                    "description": "Something that the server needs does not answer; try again.",
                    "content": {_JSON: {"schema": refused[0]}},
                },
            },
            "schemas": components([*paths.values(), *refused]),
        },
    }


@cache
def _requests() -> Mapping[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("flowtide.api").joinpath("requests.yaml").read_text(encoding="utf-8")
    read: Mapping[str, Any] = yaml.load(text, Loader=loader)  # noqa: S506 - both are safe
    return read


def unknown_requests() -> set[str]:
    """The entries of `requests.yaml` that no route has."""
    return set(_requests()) - {f"{route.method} {route.path}" for route in ROUTES}


def _operation(route: Route) -> dict[str, Any]:
    request = _requests().get(f"{route.method} {route.path}", {})
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    query = request.get("query", {})
    if route.answer.startswith("PagedResults"):
        query = {**_PAGED, **query}
    parameters += [_query_parameter(name, kind) for name, kind in query.items()]
    responses = {} if route.answer == "never" else {"2XX": _answer(route)}
    responses["4XX"] = _refused(route)
    responses["503"] = {"$ref": "#/components/responses/Unavailable"}
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _identifier(route),
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "responses": responses,
    }
    if parameters:
        operation["parameters"] = parameters
    if "body" in request:
        operation["requestBody"] = {"content": _body(request["body"])}
    if route.open:
        operation["security"] = []
    return operation


def _query_parameter(name: str, kind: str) -> dict[str, Any]:
    if kind == "filters":
        schema: Schema = {"type": "object", "additionalProperties": {"type": "string"}}
        parameter = {"name": name, "in": "query", "style": "deepObject", "explode": True, "schema": schema}
    else:
        schema = schema_of(kind)
        if schema.get("type") == "integer":
            schema["minimum"] = _LEAST.get(name, -(2**31))
            schema["maximum"] = _MOST.get(name, 2**31 - 1)
        parameter = {"name": name, "in": "query", "schema": schema}
    if name in _DESCRIPTIONS:
        parameter["description"] = _DESCRIPTIONS[name]
    return parameter


def _body(kind: str) -> dict[str, Any]:
    text = {"schema": {"type": "string"}}
    if kind == "yaml":
        return {"application/x-yaml": text}
    if kind == "text":
        return {"text/plain": text}
    if kind == "inputs":
        return {_FORM: {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}}
    if kind.startswith("file "):
        name = kind.removeprefix("file ")
        file = {"type": "string", "format": "binary"}
        return {_FORM: {"schema": {"type": "object", "required": [name], "properties": {name: file}}}}
    return {_JSON: {"schema": schema_of(kind)}}


def _answer(route: Route) -> dict[str, Any]:
    answer = route.answer
    if answer == "no body":
        return {"description": "Done; there is nothing to say."}
    first = answer.partition(" ")[0]
    if first in _CONTENT_TYPES:
        return {"description": answer, "content": {kind: {} for kind in _CONTENT_TYPES[first]}}
    kind = _SCIM if _is_scim(route) else _JSON
    return {"description": answer, "content": {kind: {"schema": schema_of(answer)}}}


def _refused(route: Route) -> dict[str, Any]:
    if _is_scim(route):
        content = {_SCIM: {"schema": {"type": "object"}}, _JSON: {"schema": schema_of("Problem")}}
        return {"description": "What is wrong (RFC 7644).", "content": content}
    return {"$ref": "#/components/responses/Refused"}


def _is_scim(route: Route) -> bool:
    return "/scim/v2" in route.path


def _identifier(route: Route) -> str:
    path = route.path.removeprefix("/{tenant}")
    owner = ["instance"] if path == route.path else []
    words = re.findall(r"[A-Za-z]+", _PARAMETER.sub(lambda match: f"by-{match[1]}", path))
    # A path that is there with and without a slash at its end is two operations.
    return "-".join([route.method.lower(), *owner, *words, *(["slash"] if path.endswith("/") else [])])


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # which of both is there
    """Writes what is there twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(file: Path) -> None:
    """Write the document."""
    text = yaml.dump(openapi(), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    file.write_text("# Generated from flowtide.api.routes.\n" + text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
