"""The page of docs/reference that lists the operations of the API: made of the routes and of the OpenAPI document.

`python -m flowtide.api.reference FILE` writes it; a test fails when page and routes drift.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flowtide.api.openapi import openapi
from flowtide.api.permissions import Caller
from flowtide.api.route import PREFIX, Route
from flowtide.api.routes import ROUTES
from flowtide.api.unserved import UNSERVED

_PARAMETER = re.compile(r"\{([A-Za-z]+)(?::[^}]*)?\}")
_HEAD = """\
# The REST API

Every operation, by resource. Generated from the table of routes (`src/flowtide/api/routes.py`) by `make docs`; the
OpenAPI 3.1 document with the schemas of all bodies and answers is `schemas/openapi.yaml`, which a server gives at
`/api/v1/openapi.yaml` and `/api/v1/openapi.json`. How to use it: [start executions by the
API](../howto/trigger-executions-by-api.md).

- **Paths** stand below `/api/v1` of the server's address (and below `server.context-path`, where one is set).
  `{tenant}` may be left out; the request is then for `main`, or for the configured fallback tenant.
- **Login**: `Authorization: Bearer TOKEN`, `Authorization: Basic ...`, or the cookie of `POST /login`. The columns
  say what a role must allow; [permissions](permissions.md) says where a binding to a namespace counts.
- **Lists** take `page` (from 1), `size` and `sort=field:asc`, which may come several times, and answer
  `{"results": [...], "total": n}`. A page beyond the end is empty.
- **Filters** are `filters[field][OPERATION]=value`, all of which must hold: EQUALS, NOT_EQUALS, IN, NOT_IN, CONTAINS,
  NOT_CONTAINS, STARTS_WITH, ENDS_WITH, REGEX, PREFIX, GREATER_THAN, GREATER_THAN_OR_EQUAL_TO, LESS_THAN,
  LESS_THAN_OR_EQUAL_TO, IS_NULL, IS_NOT_NULL; `filters[or][0][field][OPERATION]=value` for alternatives; maps as
  `filters[labels][EQUALS][key]=value`; several values joined by commas. The older parameters (`q`, `namespace`,
  `flowId`, `state`, `labels` ...) are taken as well.
- **Answers** leave out fields without a value; dates are ISO-8601 in UTC.
- **Errors** are `{"message", "_links", "_embedded": {"errors": [{"message", "path", "line", "column"}]}}` with 400 for
  a request that cannot be read, 401 without a login, 403 without the permission, 404 for what is not there (or belongs
  to another tenant), 409 for a conflict, 413 and 429 for too much, 422 for what is not valid, 501 for what this server
  does not serve, 503 while the log, the index or the storage does not answer. Requests by ids that name unknown or
  unfit ones change nothing and answer 422 with `{"message", "invalids"}`.
- **Streams** (`SSE of ...`) are server-sent events: first one named `start` with `{}`, then `progress`, then `end`.
"""
_CALLERS = {
    Caller.OPEN: "no login",
    Caller.LOGIN: "a login",
    Caller.TENANT: "the tenant",
    Caller.SUPERADMIN: "superadmin",
}


def reference() -> str:
    """The page."""
    document = openapi()
    sections: dict[str, list[Route]] = {}
    for route in ROUTES:
        sections.setdefault(_resource(route), []).append(route)
    lines = [_HEAD]
    for name in sorted(sections):
        lines += [
            f"## {name}",
            "",
            "| Operation | What it does | Needs | Parameters and body | Answer |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(route, document) for route in sections[name]]
        lines.append("")
    lines += ["## What is not served", "", "Answered 501, with the reason.", ""]
    lines += [f"- {each.name}: {each.reason}." for each in UNSERVED]
    return "\n".join(lines) + "\n"


def _resource(route: Route) -> str:
    """The name of the section: the first word of the path that names a resource."""
    words = [word for word in route.path.split("/") if word and not word.startswith("{")]
    first = words[0].partition(".")[0] if words else "api"
    if first == "namespaces" and len(words) > 1 and words[1] in _OF_NAMESPACES:
        return f"namespaces: {words[1]}"
    return f"instance: {words[1]}" if first in ("instance", "cluster") and len(words) > 1 else first


_OF_NAMESPACES = ("kv", "files", "secrets", "credentials")


def _row(route: Route, document: dict[str, Any]) -> str:
    operation = document["paths"][PREFIX + _PARAMETER.sub(r"{\1}", route.path)][route.method.lower()]
    path = _PARAMETER.sub(r"{\1}", route.path)
    given = ", ".join(f"`{name}`" for name in _given(operation))
    summary = route.summary.replace("|", "\\|")
    answer = route.answer if route.answer != "never" else "an error"
    return f"| `{route.method} {path}` | {summary} | {_needs(route)} | {given} | {answer} |"


def _given(operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            yield parameter["name"]
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content.get("schema", {})
        model = schema.get("$ref") or schema.get("items", {}).get("$ref", "")
        name = model.rpartition("/")[2]
        yield f"{kind}: {name}{'[]' if 'items' in schema else ''}" if name else kind


def _needs(route: Route) -> str:
    if route.open:
        return "no login"
    rule = route.permission
    if rule is None:
        return "superadmin"
    return "; ".join(map(str, rule.needs)) or _CALLERS[rule.caller]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
