"""What people can send to a real server and should not: an answer that names the place, and a server that goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from flowtide.testing.servers import ALL, Answer, Api, Server, Shape
from tests.integration.survival import complete

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

GOOD = """
id: good
namespace: bad.input
inputs:
  - id: text
    type: STRING
    required: false
  - id: file
    type: FILE
    required: false
tasks:
  - id: say
    type: io.kestra.plugin.core.debug.Return
    format: "{{ inputs.text ?? '' | length }}"
"""

NOT_FLOWS: dict[str, tuple[str | bytes, str]] = {
    # what is sent, and a part of the message
    "not YAML": ("id: [", "line"),
    "a tab": ("id: a\n\tnamespace: b", "line"),
    "empty": ("", "mapping"),
    "a list": ("- a\n- b", "mapping"),
    "a number": ("42", "mapping"),
    "no id": (
        "namespace: a.b\ntasks:\n  - id: a\n    type: io.kestra.plugin.core.log.Log\n    message: x",
        "id",
    ),
    "bytes": (b"\xff\xfe\x00\x01", "UTF-8"),
    "control characters": ("id: a\x00b", "position"),
    "unknown type": (GOOD.replace("debug.Return", "debug.Retrun"), "io.kestra.plugin.core.debug.Retrun"),
    "unknown property": (GOOD.replace("format:", "fromat:"), "fromat"),
    "unknown root property": (GOOD + "\ntaks: []", "taks"),
    "wrong type": (
        GOOD.replace('"{{ inputs.text', 'x\n    timeout: [1]\n    description: "{{ inputs.text'),
        "timeout",
    ),
    "tasks is text": ("id: a\nnamespace: b\ntasks: nothing", "tasks"),
    "no tasks": ("id: a\nnamespace: b\ntasks: []", "tasks"),
    "the same id twice": (
        "id: a\nnamespace: b\ntasks:\n"
        + 2 * "  - id: same\n    type: io.kestra.plugin.core.log.Log\n    message: x\n",
        "same",
    ),
    "no template": (GOOD.replace("{{ inputs.text ?? '' | length }}", "{{ inputs. }}"), "format"),
    "a bomb of aliases": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(9 * ['*' + chr(97 + n)])}]\n" for n in range(9)),
        "",
    ),
    "very deep": ("id: " + "[" * 20_000, "deep"),
}


async def test_what_is_no_flow_is_refused_with_its_place(shape: Shape) -> None:
    """Each is answered 4xx at once, names what is wrong, and shows nothing of the server's inside."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            for name, (source, part) in NOT_FLOWS.items():
                data = source if isinstance(source, bytes) else source.encode()
                for path in ("/flows", "/flows/validate"):
                    answer = await api.call(
                        "POST", path, data=data, headers={"Content-Type": "application/x-yaml"}
                    )
                    if path == "/flows/validate" and answer.status == 200:
                        if not source:
                            continue  # no document, so no verdict
                        assert answer.body[0]["constraints"], f"{name}: {answer}"
                    else:
                        assert 400 <= answer.status < 500, f"{name} at {path}: {answer}"
                    assert part.lower() in answer.text.lower(), f"{name} at {path}: {answer}"
                    assert_calm(answer)
            await still_works(api)
        assert await server.stop() == 0
        assert_no_trace(server)


async def test_large_things_are_refused_or_taken(shape: Shape) -> None:
    """A flow of 5 MB and a text input of 20 MB are answered 413 or taken whole; a file of 20 MB is taken."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(GOOD)
            huge = GOOD.replace("id: good", "id: huge") + "description: |\n" + 50_000 * f"  {99 * 'x'}\n"
            answer = await api.save(huge)
            assert answer.status in (200, 413, 422), answer
            assert_calm(answer)
            answer = await api.start("bad.input", "good", {"text": 20_000_000 * "x"})
            assert answer.status in (413, 422), answer
            assert_calm(answer)
            form = aiohttp.FormData()
            form.add_field("file", BytesIO(20_000_000 * b"x"), filename="large.bin")
            answer = await api.call("POST", "/executions/bad.input/good", data=form)
            assert answer.status == 200, answer
            execution = await complete(api, answer.body["id"])
            assert execution["state"]["current"] == "SUCCESS", execution
            answer = await api.call(
                "POST",
                "/executions/bad.input/good",
                data=b"not a form",
                headers={"Content-Type": "multipart/form-data"},
            )
            assert 400 <= answer.status < 500, answer
            await still_works(api)
        assert await server.stop() == 0
        assert_no_trace(server)


CYCLE = """
id: {id}
namespace: bad.input
tasks:
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: bad.input
    flowId: {other}
    wait: true
    transmitFailed: true
"""


TEMPLATED = "\"{{ 'a' }}\""


async def test_a_cycle_of_subflows_ends(shape: Shape) -> None:
    """A calls B calls A: it ends FAILED, says why, and has not filled the log."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            # Written out, the cycle is refused when it would be closed; by a template, only running shows it.
            await api.must_save(CYCLE.format(id="a", other="b"))
            refused = await api.save(CYCLE.format(id="b", other="a"))
            assert refused.status == 422
            assert "runs itself as a subflow" in refused.text
            await api.must_save(CYCLE.format(id="b", other=TEMPLATED))
            execution = await api.run("bad.input", "a", patience_seconds=60)
            assert execution["state"]["current"] == "FAILED", execution
            count = await api.found("a") + await api.found("b")
            assert count <= 200
            await _until_logged(api, "executions within one another")
            await still_works(api)
        assert await server.stop() == 0
        assert_no_trace(server)


async def _until_logged(api: Api, part: str) -> None:
    """Wait until the index has an error line with this part; it gets lines after executions ended."""
    wanted = {"namespace": "bad.input", "minLevel": "ERROR", "size": "100"}
    ends = time.monotonic() + 30
    while part not in (lines := await api.call("GET", "/logs/search", params=wanted)).text:
        assert time.monotonic() < ends, lines.text
        await asyncio.sleep(0.1)


ENDLESS = "{% for a in range(1, 900000) %}{% for b in range(1, 900000) %}{% set c = b %}{% endfor %}{% endfor %}true"
GREEDY = "{% set a = 'xxxxxxxxxxxxxxxx' %}" + 30 * "{% set a = a ~ a %}" + "{{ a }}"
TEMPLATES = {"endless": ENDLESS, "greedy": GREEDY, "wide": "{{ range(1, 1000000000) }}"}
PLACES = {
    "task": ("tasks:\n  - {id: hit, type: io.kestra.plugin.core.log.Log, message: %s}", "message"),
    "condition": (
        (
            "tasks:\n  - id: hit\n    type: io.kestra.plugin.core.flow.If\n    condition: %s\n"
            "    then:\n      - {id: x, type: io.kestra.plugin.core.debug.Return}"
        ),
        "condition",
    ),
    "values": (
        (
            "tasks:\n  - id: hit\n    type: io.kestra.plugin.core.flow.ForEach\n    values: %s\n"
            "    tasks:\n      - {id: x, type: io.kestra.plugin.core.debug.Return}"
        ),
        "values",
    ),
    "outputs": (
        (
            "tasks:\n  - {id: x, type: io.kestra.plugin.core.debug.Return}\n"
            "outputs:\n  - {id: hit, type: STRING, value: %s}"
        ),
        "hit",
    ),
}


@pytest.mark.parametrize("template", TEMPLATES)
async def test_a_template_that_never_ends_or_eats_memory_fails_its_run(shape: Shape, template: str) -> None:
    """At every place it ends FAILED with a message that names the place; others are served meanwhile."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            await api.must_save(GOOD)
            async with _served_meanwhile(api):
                for name, (rest, part) in PLACES.items():
                    quoted = '"' + TEMPLATES[template] + '"'
                    await api.must_save(f"id: {name}\nnamespace: bad.input\n{rest % quoted}\n")
                    execution = await api.run("bad.input", name, patience_seconds=60)
                    assert execution["state"]["current"] == "FAILED", (name, execution)
                    told = await _told(api, execution["id"], part)
                    assert part in told, (name, told, execution)
                    assert "Traceback" not in told
                    assert await _memory_mb(server) < 1500
            await still_works(api)
        assert await server.stop() == 0
        assert_no_trace(server)


@asynccontextmanager
async def _served_meanwhile(api: Api) -> AsyncIterator[None]:
    """Ask a quick thing again and again while the block runs; an answer that takes too long fails the test."""

    async def ask() -> None:
        while True:
            async with asyncio.timeout(5):
                await api.call("GET", "/flows/bad.input/good")
            await asyncio.sleep(0.1)

    asking = asyncio.create_task(ask())
    try:
        yield
        assert not asking.done(), "an answer took too long"
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _told(api: Api, execution_id: str, part: str, patience_seconds: float = 10.0) -> str:
    """What people are told of a failure: the error of the execution and its ERROR lines."""
    ends = time.monotonic() + patience_seconds
    while True:
        execution = await complete(api, execution_id)
        lines = [line["message"] for line in await api.logs(execution_id) if line["level"] == "ERROR"]
        told = "\n".join([str(execution.get("error") or ""), *lines])
        if part in told or time.monotonic() > ends:
            return told
        await asyncio.sleep(0.2)


async def _memory_mb(server: Server) -> float:
    with open(f"/proc/{server.pid}/status") as status:  # noqa: ASYNC230  # a file of the kernel
        sizes = [line.split()[1] for line in status if line.startswith("VmRSS")]
    return int(sizes[0]) / 1024


async def still_works(api: Api) -> None:
    """A normal execution runs to its end."""
    source = GOOD.replace("id: good", "id: afterwards")
    await api.must_save(source)
    execution = await api.run("bad.input", "afterwards", {"text": "abc"})
    assert execution["state"]["current"] == "SUCCESS", execution


def assert_calm(answer: Answer) -> None:
    """The answer is the documented envelope and tells nothing of the inside."""
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    body: Any = answer.body
    assert answer.status == 200 or body["message"], answer


def assert_no_trace(server: Server) -> None:
    """Nothing that a person sent is a defect of ours."""
    assert "Traceback" not in server.output, server.output[-6000:]
