"""The table of all routes: who looks for a handler looks here, and the OpenAPI document is made of it.

Paths stand below `/api/v1`.  `{tenant}` may be left out by old clients; the request is for `main` then.
Order matters: of two patterns that fit, the first one is taken.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from flowtide.api import executions, files, flows, logs, setup, webhooks

PREFIX = "/api/v1"
TENANT = "/{tenant}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One operation of the API."""

    method: str
    path: str  # below PREFIX
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    summary: str
    answer: str  # the type of the answer, as in catalogue G
    open: bool = False  # whether it needs no login


def _route(
    method: str,
    path: str,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    answer: str,
    *,
    open: bool = False,  # noqa: A002 - the word of the domain
) -> Route:
    summary = (handler.__doc__ or "").strip().partition("\n")[0]
    return Route(method=method, path=path, handler=handler, summary=summary, answer=answer, open=open)


_EXECUTION = "/{tenant}/executions/{executionId}"
_WEBHOOK = "/{tenant}/executions/webhook/{namespace}/{id}/{key}"
_FLOW = "/{tenant}/flows/{namespace}/{id}"

ROUTES: tuple[Route, ...] = (
    # The busiest first.
    *(
        _route(method, path, webhooks.call, "WebhookResponse", open=True)
        for path in (_WEBHOOK, _WEBHOOK + "/{path:.+}")
        for method in ("POST", "GET", "PUT")
    ),
    # executions: fixed paths before those with identifiers
    _route("GET", "/{tenant}/executions/search", executions.search, "PagedResultsExecution"),
    _route("GET", "/{tenant}/executions", executions.list_of_flow, "PagedResultsExecution"),
    _route("DELETE", "/{tenant}/executions/kill/by-ids", executions.kill_by_ids, "BulkResponse"),
    _route("DELETE", "/{tenant}/executions/kill/by-query", executions.kill_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/pause/by-ids", executions.pause_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/pause/by-query", executions.pause_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/resume/by-ids", executions.resume_by_ids, "BulkResponse"),
    _route("POST", "/{tenant}/executions/resume/by-query", executions.resume_by_query, "BulkResponse"),
    _route("POST", "/{tenant}/executions/trigger/{namespace}/{id}", executions.create, "ExecutionResponse"),
    _route("GET", _EXECUTION, executions.get, "Execution"),
    _route("GET", _EXECUTION + "/events", executions.events, "PagedResultsEvent"),
    _route("GET", _EXECUTION + "/follow", executions.follow, "SSE of Execution"),
    _route("GET", _EXECUTION + "/file", files.download, "bytes"),
    _route("GET", _EXECUTION + "/file/metas", files.metadata, "FileMetas"),
    *(
        _route(method, f"{_EXECUTION}{before}/{verb}", handler, answer)
        for before in ("", "/actions")
        for method, verb, handler, answer in (
            ("DELETE", "kill", executions.kill, "Execution"),
            ("POST", "pause", executions.pause, "Execution"),
            ("POST", "resume", executions.resume, "Execution"),
            ("POST", "resume/validate", executions.validate_resume, "ExecutionValidation"),
        )
    ),
    _route("POST", "/{tenant}/executions/{namespace}/{id}", executions.create, "ExecutionResponse"),
    _route(
        "POST", "/{tenant}/executions/{namespace}/{id}/validate", executions.validate_creation,
        "ExecutionValidation",
    ),
    # flows
    _route("POST", "/{tenant}/flows", flows.create, "FlowWithSource"),
    _route("POST", "/{tenant}/flows/bulk", flows.update_many, "List[Flow]"),
    _route("POST", "/{tenant}/flows/validate", flows.validate, "List[ValidateConstraintViolation]"),
    _route("GET", "/{tenant}/flows/search", flows.search, "PagedResultsFlow"),
    _route("GET", "/{tenant}/flows/source", flows.search_source, "PagedResultsSearchResultFlow"),
    _route("GET", "/{tenant}/flows/distinct-namespaces", flows.namespaces, "List[str]"),
    _route("DELETE", "/{tenant}/flows/delete/by-ids", flows.delete_by_ids, "BulkResponse"),
    _route("GET", "/{tenant}/flows/{namespace}", flows.list_of_namespace, "List[Flow]"),
    _route("POST", "/{tenant}/flows/{namespace}", flows.update_namespace, "List[Flow]"),
    _route("GET", _FLOW, flows.get, "FlowWithSource"),
    _route("PUT", _FLOW, flows.update, "FlowWithSource"),
    _route("DELETE", _FLOW, flows.delete, "no body"),
    _route("GET", _FLOW + "/revisions", flows.revisions, "List[FlowWithSource]"),
    _route("GET", _FLOW + "/tasks/{taskId}", flows.get_task, "Task"),
    # logs
    _route("GET", "/{tenant}/logs/search", logs.search, "PagedResultsLogEntry"),
    _route("GET", "/{tenant}/logs/{executionId}", logs.list_of_execution, "List[LogEntry]"),
    _route("GET", "/{tenant}/logs/{executionId}/download", logs.download, "text"),
    _route("GET", "/{tenant}/logs/{executionId}/follow", logs.follow, "SSE of LogEntry"),
    # before anybody is logged in
    _route("POST", "/{tenant}/basicAuth", setup.create_login, "no body", open=True),
    _route("GET", "/configs", setup.configs, "Configuration", open=True),
    _route("GET", "/{tenant}/configs", setup.configs, "Configuration", open=True),
    _route("GET", "/basicAuthValidationErrors", setup.login_errors, "List[str]", open=True),
)  # fmt: skip  # a table


def add_routes(router: web.UrlDispatcher, context_path: str) -> frozenset[str]:
    """Add the whole table, each path also without its tenant; gives the patterns that need no login.

    The webhooks are among them: their handler's key protects them.
    """
    open_patterns: set[str] = set()
    for each in ROUTES:
        paths = [each.path]
        if each.path.startswith(TENANT + "/"):
            paths.append(each.path.removeprefix(TENANT))
        for path in paths:
            full = context_path + PREFIX + path
            route = router.add_route(each.method, full, each.handler)
            if each.open and route.resource is not None:
                open_patterns.add(f"{each.method} {route.resource.canonical}")
    return frozenset(open_patterns)
