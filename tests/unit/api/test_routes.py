"""The table of routes: complete in itself, and one way to reach each handler."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import yaml
from aiohttp import web

from flowtide.api.openapi import openapi
from flowtide.api.reference import reference
from flowtide.api.routes import ROUTES, add_routes


def test_every_route_says_what_it_does_and_stands_there_once() -> None:
    """Each has a summary and an answer; no method and path comes twice."""
    assert all(route.summary.endswith((".", "!")) and route.answer for route in ROUTES)
    assert max(Counter((route.method, route.path) for route in ROUTES).values()) == 1


def test_only_these_need_no_login() -> None:
    """What is open is written out here, so that nothing is opened by accident."""
    opened = {
        f"{route.method} {route.path}" for route in ROUTES if route.open and "webhook" not in route.path
    }
    assert opened == {
        "POST /{tenant}/basicAuth",
        "GET /openapi.yaml",
        "GET /openapi.json",
        "GET /setup",
        "POST /setup",
        "GET /configs",
        "GET /{tenant}/configs",
        "GET /basicAuthValidationErrors",
        "GET /invitation/{invitationId}",
        "GET /configs/login",
        "GET /auths",
        "POST /invitation/create/{invitationId}",
        "POST /password-reset",
        "POST /password-reset/confirm",
    }
    router = web.UrlDispatcher()
    patterns = add_routes(router, "/kestra")
    assert patterns["POST /kestra/api/v1/{tenant}/basicAuth"].open
    assert not any(route.open for pattern, route in patterns.items() if "flows" in pattern)


def test_the_document_of_the_api_is_up_to_date() -> None:
    """`schemas/openapi.yaml` says what the table says; `python -m flowtide.api.openapi FILE` writes it."""
    file = Path(__file__).parents[3] / "schemas" / "openapi.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    assert yaml.load(file.read_text(encoding="utf-8"), Loader=loader) == openapi()
    operations = [each["operationId"] for path in openapi()["paths"].values() for each in path.values()]
    assert len(set(operations)) == len(operations)


def test_the_reference_of_the_api_is_up_to_date() -> None:
    """`docs/reference/api.md` lists every route; `make docs` writes it."""
    page = (Path(__file__).parents[3] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert page == reference()
