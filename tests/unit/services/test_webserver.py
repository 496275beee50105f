"""What the webserver writes about requests."""

from __future__ import annotations

import logging

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from structlog.testing import capture_logs

from flowtide.api.problems import answer_problems
from flowtide.services.webserver import AccessLogger

WEBHOOK = "/api/v1/main/executions/webhook/company.team/hook/s%65cret/more?x=1"
MASKED = "/api/v1/main/executions/webhook/company.team/hook/***/more"


def test_the_key_of_a_webhook_is_not_in_the_access_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the key can start the flow, so that readers of logs must not learn it."""
    # a command that ran in this process before may have fixed the module's logger
    monkeypatch.setattr("flowtide.services.webserver.logger", structlog.get_logger())
    with capture_logs() as logs:
        for path in (WEBHOOK, "/api/v1/main/executions/company.team/hook"):
            request = make_mocked_request("POST", path)
            AccessLogger(logging.getLogger("unused"), "").log(request, web.Response(), 0.1)
    assert [entry["path"] for entry in logs] == [MASKED, "/api/v1/main/executions/company.team/hook"]


async def test_the_key_of_a_webhook_is_not_in_the_story_of_a_defect() -> None:
    """The log of what went wrong names the request without its key."""

    async def fail(request: web.Request) -> web.StreamResponse:
        raise KeyError("a defect")

    with capture_logs() as logs:
        answer = await answer_problems(make_mocked_request("POST", WEBHOOK), fail)
    assert isinstance(answer, web.Response)
    assert answer.status == 500
    assert [entry["path"] for entry in logs] == [MASKED]
