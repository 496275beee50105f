"""Reading one's own writes: each write is answered by one webserver, and the next one shows it at once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.api.index_progress import BEHIND
from flowtide.model.services import ServiceType
from flowtide.testing.servers import kafka_shape
from tests.integration.installation import Caller, installed
from tests.integration.outside import remove_topics_and_indices

FLOW = """
id: work
namespace: own.team
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: MESSAGE}
triggers:
  - {id: yearly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 1 *"}
"""
PAUSED = """
id: paused
namespace: own.team
tasks:
  - {id: wait, type: io.kestra.plugin.core.flow.Pause}
"""
DASHBOARD = """
id: board
title: TITLE
charts:
  - id: note
    type: io.kestra.plugin.core.dashboard.chart.Markdown
    content: "words"
"""
EXECUTIONS = "/main/executions"
_SOON = timedelta(seconds=4)  # long enough for what is read from the log, on a busy machine, too
SEARCH = EXECUTIONS + "/search?filters[namespace][EQUALS]=own.team"


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    """The settings of the log and the index: in files, and real ones with topics and indices of their own."""
    if request.param == "embedded":
        yield {}
        return
    kafka, url = request.getfixturevalue("kafka_address"), request.getfixturevalue("elasticsearch_url")
    prefix = f"test_own_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(tmp_path, kafka=kafka, elasticsearch=url, prefix=prefix, partitions=2)
    yield {**shape.overrides, "indexer.batch-duration": "PT0.2S"}
    await asyncio.to_thread(remove_topics_and_indices, kafka, url, prefix)


@dataclass(frozen=True)
class Step:
    """A write, and what the next webserver says right after it.  `{name}` is what an answer was kept as."""

    method: str
    path: str
    body: Any = None
    keep: str | None = None  # as which the `id` of the answer is known from then on
    then: tuple[tuple[str, int, Callable[[Any], bool]], ...] = ()  # path, status, what holds


def total(number: int) -> Callable[[Any], bool]:
    """A list of so many."""
    return lambda body: body["total"] == number


def anything(body: Any) -> bool:
    """Whatever it is."""
    return True


def state(*names: str) -> Callable[[Any], bool]:
    """An execution in one of these states."""
    return lambda body: body["state"]["current"] in names


SAVED = (
    Step(
        "POST", "/main/flows", FLOW,
        then=(
            ("/main/flows/own.team/work?source=true", 200, lambda body: "MESSAGE" in body["source"]),
            ("/main/flows/search?q=work", 200, total(1)),
            ("/main/triggers/search?filters[namespace][EQUALS]=own.team", 200, total(1)),
            ("/main/auditlogs/search?resources=FLOW", 200, total(1)),
        ),
    ),
    Step(
        "PUT", "/main/flows/own.team/work", FLOW.replace("MESSAGE", "other"),
        then=(
            ("/main/flows/own.team/work", 200, lambda body: body["revision"] == 2),
            ("/main/flows/own.team/work/revisions", 200, lambda body: len(body) == 2),
        ),
    ),
    Step(
        "PUT", "/main/triggers",
        {"namespace": "own.team", "flowId": "work", "triggerId": "yearly", "disabled": True},
        then=(
            (
                "/main/triggers/search?filters[namespace][EQUALS]=own.team", 200,
                lambda body: body["results"][0]["triggerContext"]["disabled"],
            ),
            ("/main/triggers/own.team/work", 200, lambda body: body["results"][0]["disabled"]),
        ),
    ),
    Step("PUT", "/main/namespaces/own.team/kv/colour", '"red"', then=(
        ("/main/namespaces/own.team/kv/colour", 200, lambda body: body["value"] == "red"),
        ("/main/kv?page=1&size=10", 200, total(1)),
    )),
    Step("DELETE", "/main/namespaces/own.team/kv/colour", then=(
        ("/main/namespaces/own.team/kv/colour", 404, anything),
        ("/main/kv?page=1&size=10", 200, total(0)),
    )),
    Step("PUT", "/main/namespaces/own.team/kv/colour", '"blue"', then=(
        ("/main/namespaces/own.team/kv/colour", 200, lambda body: body["value"] == "blue"),
    )),
    Step("POST", "/main/namespaces", {"id": "own.space", "description": "made"}, then=(
        ("/main/namespaces/own.space", 200, lambda body: body["description"] == "made"),
    )),
    Step("DELETE", "/main/namespaces/own.space", then=(
        ("/main/namespaces/own.space", 404, anything),
    )),
    Step("PUT", "/main/namespaces/own.team/secrets", {"key": "TOKEN", "value": "v"}, then=(
        ("/main/namespaces/own.team/secrets", 200, total(1)),
    )),
    Step("DELETE", "/main/namespaces/own.team/secrets/TOKEN", then=(
        ("/main/namespaces/own.team/secrets", 200, total(0)),
    )),
    Step("POST", "/main/dashboards", DASHBOARD, then=(
        ("/main/dashboards/board", 200, lambda body: body["title"] == "TITLE"),
        ("/main/dashboards?page=1&size=10&q=TITLE", 200, total(1)),
    )),
    Step("PUT", "/main/dashboards/board", DASHBOARD.replace("TITLE", "Changed"), then=(
        ("/main/dashboards/board", 200, lambda body: body["title"] == "Changed"),
    )),
    Step("DELETE", "/main/dashboards/board", then=(("/main/dashboards/board", 404, anything),)),
    Step("POST", "/main/roles", {"name": "readers", "permissions": {"FLOW": ["READ"]}}, keep="role", then=(
        ("/main/roles/{role}", 200, lambda body: body["name"] == "readers"),
    )),
    Step("POST", "/main/groups", {"name": "people"}, keep="group", then=(
        ("/main/groups/{group}", 200, lambda body: body["name"] == "people"),
    )),
    Step("POST", "/users", {"email": "reader@example.org", "password": "Reader1234"}, keep="user", then=(
        ("/users/{user}", 200, anything),
    )),
    Step("PUT", "/main/groups/{group}/members/{user}", then=(("/main/groups/{group}/members", 200, total(1)),)),
    Step(
        "POST", "/main/bindings", {"type": "GROUP", "externalId": "{group}", "roleId": "{role}"}, keep="binding",
        then=(("/main/bindings/{binding}", 200, anything),),
    ),
    Step("DELETE", "/main/bindings/{binding}", then=(("/main/bindings/{binding}", 404, anything),)),
    Step("DELETE", "/main/groups/{group}/members/{user}", then=(("/main/groups/{group}/members", 200, total(0)),)),
    Step("DELETE", "/main/groups/{group}", then=(("/main/groups/{group}", 404, anything),)),
    Step("DELETE", "/main/roles/{role}", then=(("/main/roles/{role}", 404, anything),)),
    Step("DELETE", "/users/{user}", then=(("/users/{user}", 404, anything),)),
    Step("POST", "/tenants", {"id": "other", "name": "Other"}, then=(
        ("/tenants/other", 200, anything), ("/other/flows/search", 200, total(0)),
    )),
    Step("DELETE", "/tenants/other", then=(("/other/flows/search", 404, anything),)),
)  # fmt: skip  # a table
RUN = (
    Step("POST", EXECUTIONS + "/own.team/work", keep="first", then=(
        (EXECUTIONS + "/{first}", 200, anything),
        (SEARCH, 200, total(1)),
        (EXECUTIONS + "?namespace=own.team&flowId=work", 200, total(1)),
    )),
    Step("POST", EXECUTIONS + "/own.team/work?wait=true", keep="second", then=(
        (EXECUTIONS + "/{second}", 200, state("SUCCESS")),
        (SEARCH + "&filters[state][EQUALS]=SUCCESS&filters[id][EQUALS]={second}", 200, total(1)),
        ("/main/logs/{second}", 200, lambda body: len(body) == 1),
        ("/main/logs/search?filters[namespace][EQUALS]=own.team", 200, lambda body: body["total"] >= 1),
        (EXECUTIONS + "/{second}/events?size=100", 200, lambda body: "Ended" in body["results"][-1]["type"]),
    )),
    Step("POST", EXECUTIONS + "/{second}/labels", [{"key": "team", "value": "own"}], then=(
        (EXECUTIONS + "/{second}", 200, lambda body: {"key": "team", "value": "own"} in body["labels"]),
        (SEARCH + "&labels=team:own", 200, total(1)),
    )),
    Step("POST", "/main/flows", PAUSED),
    Step("POST", EXECUTIONS + "/own.team/paused", keep="paused", then=(
        (EXECUTIONS + "/{paused}", 200, anything),
    )),
    Step("DELETE", EXECUTIONS + "/{paused}/kill", then=(
        (EXECUTIONS + "/{paused}", 200, state("KILLING", "KILLED")),
        (SEARCH + "&filters[state][IN]=KILLING,KILLED", 200, total(1)),
    )),
    Step("DELETE", EXECUTIONS + "/{second}", then=(
        (EXECUTIONS + "/{second}", 404, anything),
        (SEARCH + "&filters[flowId][EQUALS]=work", 200, total(1)),
    )),
    Step("DELETE", "/main/flows/own.team/work", then=(
        ("/main/flows/own.team/work", 404, anything),
        ("/main/flows/search?q=work", 200, total(0)),
        ("/main/triggers/search?filters[namespace][EQUALS]=own.team", 200, total(0)),
    )),
)  # fmt: skip  # a table


async def _walk(caller: Caller, steps: tuple[Step, ...]) -> None:
    known: dict[str, str] = {}

    def named(text: Any) -> Any:
        if isinstance(text, dict):
            return {key: named(value) for key, value in text.items()}
        if not isinstance(text, str):
            return text
        for name, value in known.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    for turn, step in enumerate(steps):
        answer = await caller.ask_at(turn, step.method, named(step.path), named(step.body))
        assert answer.status < 300, (step, answer.status, answer.text[:800])
        if step.keep is not None:
            known[step.keep] = answer.body["id"]
        for path, status, holds in step.then:
            read = await caller.ask_at(turn + 1, "GET", named(path))
            assert read.status == status, (step, path, read.status, read.text[:800])
            assert holds(read.body), (path, read.headers.get(BEHIND), read.text[:300], read.text[-700:], step)
            assert BEHIND not in read.headers, (step, path)


async def test_a_write_is_seen_by_the_next_webserver(tmp_path: Path, backends: Mapping[str, Any]) -> None:
    """Whatever is saved, run or deleted: the other webserver shows it to the same caller right after the answer.

    A token works there once it is made, and is refused once it is revoked, whoever uses it.
    """
    async with installed(tmp_path, backends) as found:
        await _walk(found.admin, SAVED)
        await _walk(found.admin, RUN)
        made = await found.admin.must("POST", "/service-accounts", {"name": "ci", "superAdmin": False})
        tokens = f"/service-accounts/{made['id']}/api-tokens"
        for turn in range(4):
            token = (await found.admin.ask_at(turn, "POST", tokens, {"name": f"t{turn}"})).body
            bearer = found.admin.be({"Authorization": f"Bearer {token['fullToken']}"})
            assert (await bearer.ask_at(turn + 1, "GET", "/me")).status == 200
            gone = await found.admin.ask_at(turn, "DELETE", f"{tokens}/{token['id']}")
            assert gone.status == 204, gone.text
            assert (await bearer.ask_at(turn + 1, "GET", "/me")).status == 401


@pytest.mark.kafka
@pytest.mark.elasticsearch
async def test_an_index_that_does_not_come_is_not_waited_for_twice(
    tmp_path: Path, kafka_address: str, elasticsearch_url: str
) -> None:
    """Without an indexer a list is answered after the time for answers, and says that it may be behind; the next one
    says so at once; the execution itself is shown from the log.
    """
    prefix = f"test_own_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, partitions=1
    )
    behind = (ServiceType.EXECUTOR, ServiceType.WORKER)
    try:
        async with installed(tmp_path, shape.overrides, behind=behind, patience=_SOON) as found:
            await found.admin.must("POST", "/main/flows", PAUSED)
            made = await found.admin.ask_at(0, "POST", EXECUTIONS + "/own.team/paused")
            one = await found.admin.ask_at(1, "GET", f"{EXECUTIONS}/{made.body['id']}")
            assert one.status == 200, one.text
            assert BEHIND not in one.headers
            for _ in range(2):
                listed = await found.admin.ask_at(1, "GET", SEARCH)
                assert listed.body["total"] == 0
                assert listed.headers[BEHIND] == "index"
            flow = await found.admin.ask_at(1, "GET", "/main/flows/own.team/paused")
            assert BEHIND not in flow.headers
    finally:
        await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)
