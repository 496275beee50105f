"""One trace from the request to the task: API, executor and worker of a whole process (catalogue A §14)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from flowtide.cli.web import web_application
from flowtide.model.services import ServiceType
from flowtide.services.process import Process
from flowtide.settings import Settings

TRACE = "0af7651916cd43dd8448eb211c80319c"
LOGIN = {"Authorization": "Basic " + b64encode(b"a@example.org:Secret123").decode()}
FLOW = """\
id: traced
namespace: tests
tasks:
  - id: nap
    type: io.kestra.plugin.core.flow.Sleep
    duration: PT0.01S
"""


async def _spans(folder: Path, more: Mapping[str, Any] | None = None) -> list[ReadableSpan]:
    """The spans of one execution that was started over the API, with the trace of the caller."""
    exporter = InMemorySpanExporter()
    overrides = {
        "data-path": str(folder),
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.basic-auth.username": "a@example.org",
        "server.basic-auth.password": "Secret123",
        "micronaut.otel.enabled": "true",
        **(more or {}),
    }
    settings = Settings.load(environment={}, overrides=overrides)
    process = Process(settings, tuple(ServiceType), web_application=web_application, span_exporter=exporter)
    async with process.serving():
        address = f"http://127.0.0.1:{process.parts['webserver'].port}"
        async with ClientSession(address, headers=LOGIN) as client:
            async with client.post("/api/v1/main/flows", data=FLOW.encode()) as answer:
                assert answer.status == 200, await answer.text()
            headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
            start = "/api/v1/main/executions/tests/traced?wait=true"
            async with client.post(start, headers=headers) as answer:
                assert (await answer.json())["state"]["current"] == "SUCCESS"
    return list(exporter.get_finished_spans())


def _named(spans: list[ReadableSpan], beginning: str) -> list[ReadableSpan]:
    return [span for span in spans if span.name.startswith(beginning)]


async def test_a_request_is_one_trace_with_what_it_started(tmp_path: Path) -> None:
    """The API's span continues the caller's trace; the executor's and the worker's are its children."""
    spans = await _spans(tmp_path)

    traced = [span for span in spans if span.context is not None and f"{span.context.trace_id:032x}" == TRACE]
    (request,) = _named(traced, "POST ")
    assert request.context is not None
    commands = _named(traced, "EXECUTOR - ")
    works = [span for span in traced if span is not request and span not in commands]
    assert commands[0].name == "EXECUTOR - CreateExecution"
    assert "EXECUTOR - ReportRunEnded" in {span.name for span in commands}
    assert len(works) == 1
    for span in (*commands, *works):
        assert span.parent is not None
        assert span.parent.span_id == request.context.span_id


async def test_the_flows_of_traces_can_be_switched_off(tmp_path: Path) -> None:
    """`traces.root: DISABLED` leaves the spans of the API only (OTEL-4)."""
    spans = await _spans(tmp_path, {"traces.root": "DISABLED"})

    assert {span.name.partition(" ")[0] for span in spans} == {"POST"}


async def test_the_executor_alone_can_be_switched_off(tmp_path: Path) -> None:
    """A category takes away the spans of its part and leaves the worker's."""
    name = "traces.categories.io.kestra.core.runners.Executor"
    spans = await _spans(tmp_path, {name: "DISABLED"})

    assert not _named(spans, "EXECUTOR - ")
    assert len(spans) > len(_named(spans, "POST "))
