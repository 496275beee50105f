"""What goes wrong in a request: one exception in, one error envelope out.

The envelope is `{message, _links: {self: {href}}, _embedded: {errors: [{message, path?, line?}]}}`; a client that
only reads `message` has the whole story.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from flowtide.api.answers import json_answer
from flowtide.errors import (
    ChartRefused,
    DashboardInvalid,
    DirectoryUnavailable,
    ExpressionError,
    FileForbidden,
    FileMissing,
    FlowInvalid,
    FlowtideError,
    IndexQueryInvalid,
    IndexUnavailable,
    InputError,
    LoginRefused,
    LogUnavailable,
    MessageTooLarge,
    NamespaceForbidden,
    ReplyMissing,
    ResourceConflict,
    SecretInvalid,
    SecretMissing,
    SecretsReadOnly,
    StorageUnavailable,
    StorageUriInvalid,
    ValueInvalid,
    Violation,
)
from flowtide.services.webserver import without_secrets

logger = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Problem(FlowtideError):
    """The request is answered with `status` and `message`; `details` become the envelope's list of errors."""

    code = "request"

    def __init__(
        self,
        status: int,
        message: str,
        *,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.details = details
        self.headers = headers


def not_found(what: str) -> Problem:
    """There is no such thing, or it belongs to another tenant."""
    return Problem(404, f"Not Found: {what} does not exist")


STATUS_OF: dict[type[FlowtideError], int] = {
    FlowInvalid: 422,
    DashboardInvalid: 422,
    ChartRefused: 422,
    InputError: 422,
    ValueInvalid: 422,
    LoginRefused: 401,
    DirectoryUnavailable: 503,
    NamespaceForbidden: 403,
    IndexQueryInvalid: 400,
    StorageUriInvalid: 400,
    FileForbidden: 403,
    FileMissing: 404,
    SecretsReadOnly: 403,
    SecretMissing: 422,
    SecretInvalid: 422,
    ExpressionError: 422,
    ResourceConflict: 409,
    ReplyMissing: 503,
    MessageTooLarge: 413,
    LogUnavailable: 503,
    IndexUnavailable: 503,
    StorageUnavailable: 503,
}
"""Which status an error of the inner layers has; any other one is a defect: 500, and the story goes to the log."""


def violation_details(violations: Sequence[Violation]) -> list[dict[str, Any]]:
    """The places of what is wrong with a document."""
    details: list[dict[str, Any]] = []
    for violation in violations:
        detail: dict[str, Any] = {"message": str(violation)}
        if violation.path:
            detail["path"] = violation.path
        if violation.line:
            detail["line"] = violation.line
            detail["column"] = violation.column
        details.append(detail)
    return details


def problem_answer(
    request: web.Request,
    status: int,
    message: str,
    details: Sequence[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """The error envelope."""
    envelope: dict[str, Any] = {
        "message": message,
        "_links": {"self": {"href": request.rel_url.raw_path, "templated": False}},
        "_embedded": {"errors": list(details) or [{"message": message}]},
    }
    return json_answer(envelope, status=status, headers=headers)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every exception into the envelope; a defect is logged and answered without its story."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_answer(request, problem.status, problem.message, problem.details, problem.headers)
    except FlowtideError as error:
        for kind, status in STATUS_OF.items():
            if isinstance(error, kind):
                return problem_answer(request, status, _message(error), _details(error))
        return _defect(request, error)
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        headers = {"Allow": answer.headers["Allow"]} if "Allow" in answer.headers else None
        return problem_answer(request, answer.status, _http_message(request, answer), headers=headers)
    except (asyncio.CancelledError, ConnectionResetError):
        raise
    except TimeoutError:
        return problem_answer(request, 408, "the request took too long to arrive")
    except Exception as error:
        return _defect(request, error)


def _message(error: FlowtideError) -> str:
    return (
        f"Invalid entity: {error.message}"
        if isinstance(error, FlowInvalid | DashboardInvalid)
        else error.message
    )


def _details(error: FlowtideError) -> list[dict[str, Any]]:
    if isinstance(error, FlowInvalid | DashboardInvalid):
        return violation_details(error.violations)
    if isinstance(error, InputError):
        return [{"message": problem.message, "path": problem.input_id} for problem in error.problems]
    return []


def _http_message(request: web.Request, answer: web.HTTPException) -> str:
    if answer.status == 404:
        return f"Not Found: there is nothing at {request.method} {request.rel_url.raw_path}"
    if answer.status == 405:
        return f"Method Not Allowed: {request.method} is not possible at {request.rel_url.raw_path}"
    if answer.status == 413:
        return "the request is larger than this server takes"
    return answer.reason


def _defect(request: web.Request, error: Exception) -> web.Response:
    path = without_secrets(request.path)
    logger.error("a request failed", method=request.method, path=path, exc_info=error)
    return problem_answer(request, 500, "Internal Server Error: the server's log says what happened")
