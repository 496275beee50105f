"""HTTP tasks against a server of the test, run by a worker."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from flowtide.model.commands import ReportRunEnded
from flowtide.model.states import State
from tests.unit.services.worker_harness import WorkerHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        yield harness


async def _echo(request: web.Request) -> web.Response:
    if request.content_type == "multipart/form-data":
        form = await request.post()
        body: Any = {
            name: {"file": value.filename, "content": value.file.read().decode()}
            if isinstance(value, web.FileField)
            else value
            for name, value in form.items()
        }
    else:
        body = await request.text()
    return web.json_response(
        {
            "method": request.method,
            "query": [list(pair) for pair in request.query.items()],
            "headers": {name.lower(): value for name, value in request.headers.items()},
            "body": body,
        }
    )


async def _status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["code"]), text="what happened")


async def _digest(request: web.Request) -> web.Response:
    if "Digest" in request.headers.get("Authorization", ""):
        return web.Response(text="in")
    challenge = 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'
    return web.Response(status=401, headers={"WWW-Authenticate": challenge})


async def _file(request: web.Request) -> web.Response:
    return web.Response(
        body=b"a,b\n1,2\n", headers={"Content-Disposition": 'attachment; filename="../../re port.csv"'}
    )


async def _redirect(request: web.Request) -> web.Response:
    raise web.HTTPFound("/status/200")


async def _silence(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/echo", _echo)
    application.router.add_get("/status/{code}", _status)
    application.router.add_get("/digest", _digest)
    application.router.add_get("/file", _file)
    application.router.add_get("/redirect", _redirect)
    application.router.add_get("/silence", _silence)
    application.router.add_get("/empty", _nothing)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


async def _nothing(request: web.Request) -> web.Response:
    return web.Response()


async def _request(harness: WorkerHarness, uri: str, **properties: Any) -> ReportRunEnded:
    return await harness.run("core.http.Request", uri=uri, **properties)


async def _echoed(harness: WorkerHarness, url: str, **properties: Any) -> Any:
    ended = await _request(harness, f"{url}/echo", **properties)
    assert ended.state is State.SUCCESS, ended.error
    return msgspec.json.decode(ended.outputs["body"])


async def test_an_answer_is_the_output(harness: WorkerHarness, url: str) -> None:
    """RUN-10: code, body, uri, and headers as lists."""
    ended = await _request(harness, f"{url}/status/200")
    assert ended.outputs["code"] == 200
    assert ended.outputs["body"] == "what happened"
    assert ended.outputs["headers"]["content-type"] == ["text/plain; charset=utf-8"]
    assert ended.outputs["uri"] == f"{url}/status/200"


async def test_everything_that_was_asked_is_sent(harness: WorkerHarness, url: str) -> None:
    """Method, headers, parameters and a structured body, all rendered."""
    said = await _echoed(
        harness,
        url,
        method="{{ inputs.m }}",
        headers={"X-A": "{{ inputs.v }}"},
        params={"p": ["1", "{{ inputs.v }}"], "q": True},
        body={"k": "{{ inputs.v }}"},
        variables={"inputs": {"m": "put", "v": "w"}},
    )
    assert (said["method"], said["body"]) == ("PUT", '{"k": "w"}')
    assert said["query"] == [["p", "1"], ["p", "w"], ["q", "true"]]
    assert (said["headers"]["x-a"], said["headers"]["content-type"]) == ("w", "application/json")


async def test_forms_are_sent_encoded_or_in_parts(harness: WorkerHarness, url: str) -> None:
    """formData: url-encoded by default; multipart with stored files as uploads."""
    said = await _echoed(harness, url, method="POST", formData={"user": "John Doe"})
    assert said["body"] == "user=John+Doe"
    said = await _echoed(
        harness, url, method="POST", contentType="application/json", formData={"beverage": "a tea"}
    )
    assert said["body"] == "beverage=a+tea"
    assert said["headers"]["content-type"] == "application/x-www-form-urlencoded"
    uri = "kestra:///company/team/f/executions/e1/inputs/i/a.txt"
    await harness.storage.put("main", uri, b"stored")
    said = await _echoed(
        harness,
        url,
        method="POST",
        contentType="multipart/form-data",
        formData={"user": "John", "file": uri, "named": {"name": "n.txt", "content": "typed"}},
    )
    assert said["body"] == {
        "user": "John",
        "file": {"file": "a.txt", "content": "stored"},
        "named": {"file": "n.txt", "content": "typed"},
    }


@pytest.mark.parametrize(
    ("options", "header"),
    [
        ({"auth": {"type": "BASIC", "username": "a", "password": "b"}}, "Basic YTpi"),
        ({"basicAuthUser": "a", "basicAuthPassword": "b"}, "Basic YTpi"),
        ({"auth": {"type": "BEARER", "token": "{{ inputs.t }}"}}, "Bearer tok"),
    ],
)
async def test_authentication(harness: WorkerHarness, url: str, options: dict[str, Any], header: str) -> None:
    """`options.auth`, and the deprecated form of it."""
    said = await _echoed(harness, url, options=options, variables={"inputs": {"t": "tok"}})
    assert said["headers"]["authorization"] == header
    assert base64.b64decode("YTpi") == b"a:b"


async def test_authentication_beside_the_uri(harness: WorkerHarness, url: str) -> None:
    """As pages 086, 132 and 140 write it; what stands in `options` is stronger."""
    auth = {"type": "BEARER", "token": "{{ inputs.t }}"}
    said = await _echoed(harness, url, auth=auth, variables={"inputs": {"t": "tok"}})
    assert said["headers"]["authorization"] == "Bearer tok"
    options = {"auth": {"type": "BASIC", "username": "a", "password": "b"}}
    said = await _echoed(harness, url, auth=auth, options=options)
    assert said["headers"]["authorization"] == "Basic YTpi"


async def test_the_proxy_of_the_worker_is_used(
    harness: WorkerHarness, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEC-18: HTTP_PROXY, unless NO_PROXY names the host or the task wants none; nobody knows the host here."""
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.delenv("no_proxy", raising=False)
    ended = await _request(harness, "http://nowhere.invalid/echo")
    assert ended.outputs["code"] == 200
    direct = await _request(harness, "http://nowhere.invalid/echo", options={"proxy": {"type": "DIRECT"}})
    assert direct.state is State.FAILED
    monkeypatch.setenv("no_proxy", "nowhere.invalid")
    assert (await _request(harness, "http://nowhere.invalid/echo")).state is State.FAILED


async def test_digest_answers_its_challenge(harness: WorkerHarness, url: str) -> None:
    """`auth.type: DIGEST`."""
    auth = {"type": "DIGEST", "username": "a", "password": "b"}
    ended = await _request(harness, f"{url}/digest", options={"auth": auth})
    assert ended.outputs["body"] == "in"


async def test_codes_that_are_failures(harness: WorkerHarness, url: str) -> None:
    """400 and above fail with what the server said, unless allowed; a list of codes decides alone."""
    ended = await _request(harness, f"{url}/status/404")
    assert ended.error == f"GET {url}/status/404 answered 404 Not Found: what happened"
    allowed = await _request(harness, f"{url}/status/404", options={"allowFailed": True})
    assert allowed.outputs["code"] == 404
    listed = await _request(harness, f"{url}/status/404", options={"allowedResponseCodes": [404]})
    assert listed.outputs["code"] == 404
    other = await _request(harness, f"{url}/status/200", options={"allowedResponseCodes": [404]})
    assert other.state is State.FAILED


async def test_redirects_are_followed_unless_told_otherwise(harness: WorkerHarness, url: str) -> None:
    """`followRedirects`."""
    assert (await _request(harness, f"{url}/redirect")).outputs["code"] == 200
    kept = await _request(harness, f"{url}/redirect", options={"followRedirects": False})
    assert kept.outputs["code"] == 302


async def test_an_answer_that_is_too_long_or_too_late_fails(harness: WorkerHarness, url: str) -> None:
    """`maxContentLength` and the time limits end a request with a sentence."""
    ended = await _request(harness, f"{url}/status/200", options={"maxContentLength": 5})
    assert "the answer has more than 5 bytes" in (ended.error or "")
    late = await _request(harness, f"{url}/silence", options={"timeout": {"readIdleTimeout": "PT0.05S"}})
    assert "no answer in time" in (late.error or "")


@pytest.mark.parametrize("uri", ["ftp://x/y", "no url", "http://127.0.0.1:1/", ""])
async def test_what_cannot_be_reached_fails_with_a_sentence(harness: WorkerHarness, uri: str) -> None:
    """Wrong schemes, no URL, nobody there."""
    ended = await _request(harness, uri)
    assert ended.state is State.FAILED
    assert ended.error
    assert "Traceback" not in ended.error


async def test_encryption_is_refused(harness: WorkerHarness, url: str) -> None:
    """`encryptBody` is not ignored."""
    ended = await _request(harness, url, encryptBody=True)
    assert "`encryptBody` is not supported" in (ended.error or "")


async def test_a_download_is_stored(harness: WorkerHarness, url: str) -> None:
    """RUN-11: uri, code, headers and length; the server's name is a name, never a path."""
    ended = await harness.run("core.http.Download", uri=f"{url}/file")
    assert (ended.outputs["code"], ended.outputs["length"]) == (200, 8)
    assert ended.outputs["uri"] == "kestra:///company/team/f/executions/e1/tasks/t/r1/re%20port.csv"
    assert await harness.storage.get("main", ended.outputs["uri"]) == b"a,b\n1,2\n"
    named = await harness.run("core.http.Download", uri=f"{url}/file", saveAs="x.csv")
    assert named.outputs["uri"].endswith("/x.csv")


async def test_an_empty_download_fails_unless_allowed(harness: WorkerHarness, url: str) -> None:
    """`failOnEmptyResponse` is true by default."""
    ended = await harness.run("core.http.Download", uri=f"{url}/empty")
    assert (ended.error or "").startswith("no content")
    allowed = await harness.run("core.http.Download", uri=f"{url}/empty", failOnEmptyResponse=False)
    assert allowed.outputs["length"] == 0
