"""Requests with an Idempotency-Key: carried out once, answered alike, also when a server died in between."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flowtide.api.idempotency import KEY, REPLAYED
from flowtide.log.topics import load_topics
from flowtide.services import idempotency
from flowtide.services.idempotency import Idempotency
from flowtide.services.process import Process
from flowtide.testing.servers import kafka_shape
from tests.integration.installation import Answer, Caller, installed
from tests.integration.outside import remove_topics_and_indices

FLOW = """
id: work
namespace: once.team
inputs:
  - {id: name, type: STRING, defaults: none}
tasks:
  - {id: give, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.name }}"}
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: "a-key-of-some-length"}
"""
HOOK = "/main/executions/webhook/once.team/work/a-key-of-some-length"
SEARCH = "/main/executions/search?filters[namespace][EQUALS]=once.team"


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    """The settings of the log and the index: in files, and real ones with topics and indices of their own."""
    if request.param == "embedded":
        yield {}
        return
    kafka, url = request.getfixturevalue("kafka_address"), request.getfixturevalue("elasticsearch_url")
    prefix = f"test_once_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(tmp_path, kafka=kafka, elasticsearch=url, prefix=prefix, partitions=1)
    yield {**shape.overrides, "indexer.batch-duration": "PT0.05S"}
    await asyncio.to_thread(remove_topics_and_indices, kafka, url, prefix)


class Died(Exception):
    """The server is gone."""


def _dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each server dies after it has carried a request out, and before it keeps and gives the answer."""

    async def done(self: Idempotency, begun: Any, answer: Any) -> None:
        self.leave(begun)  # what a new process would not know
        raise Died

    monkeypatch.setattr(Idempotency, "done", done)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What another server began is taken over soon."""
    monkeypatch.setattr(idempotency, "_ELSEWHERE", timedelta(milliseconds=20))


async def _twice(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any = None, **more: Any
) -> Answer:
    """Send a request to a server that dies before it answers, again to the next one, and once more."""
    headers = {KEY: uuid.uuid4().hex, **more.pop("headers", {})}
    with monkeypatch.context() as dying:
        _dying(dying)
        lost = await caller.ask(method, path, body, headers=headers, **more)
        assert lost.status == 500, lost.text
    answer = await caller.ask(method, path, body, headers=headers, **more)
    assert answer.status < 300, (path, answer.text)
    assert REPLAYED not in answer.headers
    again = await caller.ask(method, path, body, headers=headers, **more)
    assert (again.status, again.text) == (answer.status, answer.text)
    assert again.headers[REPLAYED] == "true"
    other = await caller.ask(method, path + ("&" if "?" in path else "?") + "other=1", body, headers=headers)
    assert other.status == 422 or method == "GET" or path == HOOK, other.text
    return answer


async def _records(process: Process) -> bytes:
    found: list[bytes] = []
    for topic in load_topics():
        reader = await process.log.reader(topic, "beginning")
        while not await reader.at_end():
            found += [each.value or b"" for each in await reader.poll(maximum=1_000, timeout=timedelta(0))]
        await reader.close()
    return b"\n".join(found)


async def test_what_is_sent_twice_is_done_once(
    tmp_path: Path, backends: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Executions, webhooks, flows, users, tokens ...: a server dies between the deed and its answer, the next one gives
    the answer without doing it again; a token is the same, works, and stands nowhere in plain.
    """
    async with installed(tmp_path, backends) as found:
        admin = found.admin
        flow = await _twice(admin, monkeypatch, "POST", "/main/flows", FLOW)
        assert flow.body["revision"] == 1
        made = await _twice(admin, monkeypatch, "POST", "/main/executions/once.team/work")
        waited = await _twice(admin, monkeypatch, "POST", "/main/executions/once.team/work?wait=true")
        assert waited.body["state"]["current"] == "SUCCESS"
        nobody = Caller(admin.webservers, {})
        hooked = await _twice(nobody, monkeypatch, "POST", HOOK, {"some": "body"})
        listed = await admin.must("GET", SEARCH)
        ids = {each["id"] for each in listed["results"]}
        assert (
            {made.body["id"], waited.body["id"]}
            <= ids
            <= {made.body["id"], waited.body["id"], hooked.body["id"]}
        )
        assert (await admin.ask("GET", f"/main/executions/{hooked.body['id']}")).status == 200

        user = await _twice(
            admin, monkeypatch, "POST", "/users", {"email": "r@example.org", "password": "Reader1234"}
        )
        assert (await admin.must("GET", "/users?q=r@example.org"))["total"] == 1
        await _twice(admin, monkeypatch, "POST", "/main/groups", {"name": "people"})
        assert (await admin.must("GET", "/main/groups/search"))["total"] == 1
        await _twice(admin, monkeypatch, "POST", "/tenants", {"id": "other", "name": "Other"})
        await _twice(admin, monkeypatch, "PUT", "/main/namespaces/once.team/kv/colour", '"red"')
        await _twice(admin, monkeypatch, "POST", "/main/namespaces", {"id": "once.space"})
        tokens = f"/users/{user.body['id']}/api-tokens"
        token = await _twice(admin, monkeypatch, "POST", tokens, {"name": "ci"})
        full = token.body["fullToken"]
        assert len((await admin.must("GET", tokens))["results"]) == 1
        assert (await admin.be({"Authorization": f"Bearer {full}"}).ask("GET", "/me")).status == 200
        for process in found.processes.values():
            assert full.encode() not in await _records(process)


async def test_a_key_belongs_to_its_caller_and_to_one_request(tmp_path: Path) -> None:
    """Others use the same key for their own; a refused request may be mended under its key; forms with new boundaries
    are the same request; at once, only one is carried out; what is expired is forgotten.
    """
    async with installed(tmp_path, {"server.idempotency.expiration": "PT0S"}) as found:
        key = {KEY: "again"}
        first = await found.admin.must("POST", "/main/roles", {"name": "a", "permissions": {}}, headers=key)
        second = await found.admin.must("POST", "/main/roles", {"name": "a", "permissions": {}}, headers=key)
        assert first["id"] != second["id"]
    async with installed(tmp_path, {}) as found:
        admin = found.admin
        await admin.must("POST", "/main/flows", FLOW)
        path = "/main/executions/once.team/work"
        refused = await admin.ask("POST", path + "?revision=9", headers=key)
        assert refused.status == 404
        one = {
            "data": _form("x"),
            "headers": {KEY: "form", "Content-Type": "multipart/form-data; boundary=x"},
        }
        two = {
            "data": _form("yy"),
            "headers": {KEY: "form", "Content-Type": "multipart/form-data; boundary=yy"},
        }
        answers = await asyncio.gather(*(admin.ask("POST", path, **form) for form in (one, two, one)))
        assert len({answer.body["id"] for answer in answers}) == 1, [answer.text for answer in answers]
        assert sorted(REPLAYED in answer.headers for answer in answers) == [False, True, True]
        await admin.must("POST", "/users", {"email": "r@example.org", "password": "Reader1234"}, status=201)
        assert (await admin.ask("POST", path, headers={KEY: "x" * 256})).status == 400
        mine = await admin.must("POST", path, headers=key)
        again = await admin.must("POST", path, headers=key)
        assert mine["id"] == again["id"]
        wrong = await admin.ask("POST", path + "?wait=true", headers=key)
        assert wrong.status == 422
        assert "another request" in wrong.body["message"]


def _form(boundary: str) -> bytes:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="name"\r\n\r\nme\r\n--{boundary}--\r\n'.encode()
