"""The main job on real input: flows of the documentation, as they stand, through the HTTP API of real servers."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from flowtide.testing.servers import ALL, Api, Server, Shape, embedded_shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices
from tests.integration.survival import complete

EXAMPLES = Path(__file__).parents[3] / "shared" / "examples"
TABLE: Mapping[str, Mapping[str, Any]] = yaml.safe_load(Path(__file__).with_name("table.yaml").read_text())
PAGES = ("001", "419", "420", "421", "422", "423", "424", "425", "339")
# A script that names no runner runs in Docker, unless the operator says otherwise; here no Docker engine answers.
ON_THIS_MACHINE = {
    "flowtide.plugins.defaults": [
        {
            "type": f"io.kestra.plugin.scripts.{language}.{kind}",
            "values": {"taskRunner": {"type": "io.kestra.plugin.core.runner.Process"}},
        }
        for language in ("python", "shell")
        for kind in ("Script", "Commands")
    ]
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not EXAMPLES.is_dir(), reason=f"the documentation's examples are not at {EXAMPLES}"),
]


@pytest.fixture
def web_server() -> Iterator[str]:
    """The address of a web server that answers `/products` as the tutorial's API does."""

    class Products(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"products": [{"title": "Lipstick", "brand": "Glamour", "price": 12.99}], "total": 1}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Be silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Products)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def shape(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shape]:
    """The whole system on files, and on Kafka and Elasticsearch."""
    if request.param == "embedded":
        yield embedded_shape(tmp_path, ON_THIS_MACHINE)
        return
    kafka, elasticsearch = (
        request.getfixturevalue("kafka_address"),
        request.getfixturevalue("elasticsearch_url"),
    )
    prefix = f"test_main_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(
        tmp_path, kafka=kafka, elasticsearch=elasticsearch, prefix=prefix, overrides=ON_THIS_MACHINE
    )
    await asyncio.to_thread(remove_topics_and_indices, kafka, elasticsearch, prefix)


def test_the_table_is_complete() -> None:
    """Each file of these pages has its line, and each line its file."""
    files = {f"{file.parent.name}/{file.name}" for page in PAGES for file in (EXAMPLES / page).glob("*.yaml")}
    assert files == set(TABLE)


@pytest.mark.timeout(240)
async def test_the_examples_do_what_their_pages_say(shape: Shape, web_server: str) -> None:
    """Those within this version's plugins run with the outcome of the table; the others are refused by type."""
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            for name, expected in TABLE.items():
                try:
                    await _hold(api, name, expected, web_server)
                except Exception as error:
                    error.add_note(f"example {name}")
                    raise
        assert await server.stop() == 0
        assert "Traceback" not in server.output


async def _hold(api: Api, name: str, expected: Mapping[str, Any], web_server: str) -> None:
    source = (EXAMPLES / name).read_text()
    if "merged" in expected:
        source = (EXAMPLES / expected["merged"]).read_text() + "\n" + source
    answer = await api.save(source)
    if "invalid" in expected:
        assert answer.status == 422, answer
        assert expected["invalid"] in answer.body["message"], answer
        return
    assert answer.status == 200, answer
    flow = answer.body
    if "not run" not in expected:
        await _run(api, flow, expected, web_server)
    answer = await api.call("DELETE", f"/flows/{flow['namespace']}/{flow['id']}")
    assert answer.status < 300, answer


async def _run(api: Api, flow: Mapping[str, Any], expected: Mapping[str, Any], web_server: str) -> None:
    inputs = {key: value.format(server=web_server) for key, value in expected.get("inputs", {}).items()}
    if "webhook" in expected:
        path = f"/executions/webhook/{flow['namespace']}/{flow['id']}/{expected['webhook']}"
        started = await api.call("POST", path)
    else:
        started = await api.start(flow["namespace"], flow["id"], inputs)
    assert started.status == 200, started
    execution: Mapping[str, Any] = await complete(api, started.body["id"], 60)
    assert execution["state"]["current"] == expected["state"], execution
    runs = {run["taskId"]: run for run in execution["taskRunList"]}
    for task, outputs in expected.get("outputs", {}).items():
        assert {key: runs[task]["outputs"][key] for key in outputs} == outputs
    for task, count in expected.get("attempts", {}).items():
        assert len(runs[task]["attempts"]) == count
    for task in expected.get("without", ()):
        assert task not in runs
    if "task runs" in expected:
        assert len(execution["taskRunList"]) == expected["task runs"]
    labels = {label["key"]: label["value"] for label in execution["labels"]}
    assert labels.items() >= expected.get("labels", {}).items()
    if "logs" in expected:
        assert await _lines(api, started.body["id"], expected["logs"]) == sorted(expected["logs"])


async def _lines(
    api: Api, execution_id: str, expected: list[str], patience_seconds: float = 15.0
) -> list[str]:
    """The execution's lines at INFO, of which the index may have some a moment later."""
    ends = time.monotonic() + patience_seconds
    while True:
        found = [line["message"] for line in await api.logs(execution_id) if line["level"] == "INFO"]
        lines = sorted(line for line in found if line in expected)
        if len(lines) >= len(expected) or time.monotonic() > ends:
            return lines
        await asyncio.sleep(0.2)
