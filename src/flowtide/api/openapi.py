"""The OpenAPI document: the table of routes in, `schemas/openapi.yaml` out.

`python -m flowtide.api.openapi FILE` writes it; a test fails when the file and the table drift.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

from flowtide.api.route import PREFIX, Route
from flowtide.api.routes import ROUTES

_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
_CONTENT_TYPES = {"SSE": "text/event-stream", "text": "text/plain", "bytes": "application/octet-stream"}
_PAGED = (
    ("page", "integer", "Which page, from 1."),
    ("size", "integer", "How many results a page has."),
    ("sort", "string", "`field:asc` or `field:desc`; may come several times."),
    ("filters", "string", "`filters[field][OPERATION]=value`; may come several times."),
)


def openapi() -> dict[str, Any]:
    """The document as plain values."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        path = PREFIX + _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route)
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
            "schemas": {"Problem": _PROBLEM},
        },
    }


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["message"],
    "properties": {
        "message": {"type": "string"},
        "_links": {"type": "object"},
        "_embedded": {
            "type": "object",
            "properties": {
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "message": {"type": "string"},
                            "path": {"type": "string"},
                            "line": {"type": "integer"},
                            "column": {"type": "integer"},
                        },
                    },
                }
            },
        },
    },
}


def _operation(route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.answer.startswith("PagedResults"):
        parameters += [
            {"name": name, "in": "query", "description": text, "schema": {"type": kind}}
            for name, kind, text in _PAGED
        ]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _identifier(route),
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "responses": {"2XX": _answer(route.answer), "4XX": _refusal()},
    }
    if parameters:
        operation["parameters"] = parameters
    if route.open:
        operation["security"] = []
    return operation


def _answer(answer: str) -> dict[str, Any]:
    if answer == "no body":
        return {"description": answer}
    kind = _CONTENT_TYPES.get(answer.partition(" ")[0], "application/json")
    return {"description": answer, "content": {kind: {}}}


def _refusal() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": "What is wrong, and where.", "content": {"application/json": {"schema": schema}}}


def _identifier(route: Route) -> str:
    path = route.path.removeprefix("/{tenant}")
    owner = ["instance"] if path == route.path else []
    words = re.findall(r"[A-Za-z]+", _PARAMETER.sub(lambda match: f"by-{match[1]}", path))
    # A path that is there with and without a slash at its end is two operations.
    return "-".join([route.method.lower(), *owner, *words, *(["slash"] if path.endswith("/") else [])])


def write(file: Path) -> None:
    """Write the document."""
    text = yaml.safe_dump(openapi(), sort_keys=False, width=110, allow_unicode=True)
    file.write_text("# Generated from flowtide.api.routes.\n" + text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
