"""The documentation's examples on real servers: each ends as its line of the table says."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from flowtide.testing.servers import ALL, Api, Server, Shape, embedded_shape, kafka_shape
from tests.examples.cases import PROCESS, Stage, differences, whole
from tests.examples.stand_ins import KESTRA_MODULE, REQUESTS_MODULE, web
from tests.examples.table import CASES, EXAMPLES, TABLE, is_run, text_of
from tests.integration.outside import remove_topics_and_indices

_SET_UP = TABLE["set-up"]
_LANGUAGES = ("python", "shell", "node", "go")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not EXAMPLES.is_dir(),
        reason=f"the documentation's examples are not at {EXAMPLES}: FLOWTIDE_TEST_EXAMPLES",
    ),
]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that flows may read; the secrets, and the Python with two packages that scripts find, are set too."""
    folder = tmp_path / "host"
    packages, programs = tmp_path / "packages", tmp_path / "programs"
    for each in (folder, packages, programs):
        each.mkdir()
    (folder / "hello.py").write_text('print("Hello from the host")')
    (folder / "myfile.txt").write_text("a file of the host")
    (packages / "requests.py").write_text(REQUESTS_MODULE)
    (packages / "kestra.py").write_text(KESTRA_MODULE)
    for name in ("python", "python3"):
        program = programs / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name, value in _SET_UP["secrets"].items():
        monkeypatch.setenv(f"SECRET_{name.upper()}", b64encode(value.encode()).decode())
    return folder


def _settings(host: Path) -> dict[str, Any]:
    return {
        # A script that names no runner runs in Docker, unless the operator says otherwise.
        "flowtide.plugins.defaults": [
            {"type": f"io.kestra.plugin.scripts.{language}", "values": {"taskRunner": {"type": PROCESS}}}
            for language in _LANGUAGES
        ],
        "flowtide.local-files.allowed-paths": [str(host)],
        "flowtide.encryption.secret-key": b64encode(bytes(range(32))).decode(),
        **_SET_UP["settings"],
    }


@asynccontextmanager
async def _stage(shape: Shape, host: Path) -> AsyncIterator[Stage]:
    with web() as address, Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            stage = Stage(api, address, host, _SET_UP["hosts"])
            await stage.prepare(_SET_UP)
            yield stage
        assert await server.stop(60) == 0
        assert "Traceback" not in server.output


@cache
def _works(program: str) -> bool:
    """Whether a program is there and starts: some are found that only pass on to what nobody installed."""
    if shutil.which(program) is None:
        return False
    argument = "version" if program == "go" else "--version"
    return subprocess.run([program, argument], capture_output=True, check=False).returncode == 0


async def _differences(stage: Stage, names: Iterable[str]) -> dict[str, list[str]]:
    """What came otherwise than the table says, by example."""
    found: dict[str, list[str]] = {}

    async def hold(name: str) -> None:
        case = CASES[name]
        if "needs" in case and not await asyncio.to_thread(_works, case["needs"]):
            return
        text = text_of(name)
        flows = [*map(text_of, case.get("with", ())), *case.get("flows", ())]
        source = whole(text, name) if "-part-" in name else text
        try:
            seen = await stage.show(source, {**case, "flows": flows})
        except Exception as error:
            error.add_note(f"example {name}")
            raise
        if different := differences(case, seen):
            found[name] = different

    async with asyncio.TaskGroup() as group:
        for name in names:
            group.create_task(hold(name))
    return found


@pytest.mark.timeout(240)
async def test_the_examples_do_what_their_pages_say(tmp_path: Path, host: Path) -> None:
    """All whose plugins and services are at hand, on the embedded runtime, in one process."""
    async with _stage(embedded_shape(tmp_path / "system", _settings(host)), host) as stage:
        assert await _differences(stage, [name for name, case in CASES.items() if is_run(case)]) == {}


@pytest.mark.kafka
@pytest.mark.elasticsearch
@pytest.mark.timeout(180)
async def test_one_of_each_construct_on_kafka(
    tmp_path: Path, host: Path, kafka_address: str, elasticsearch_url: str
) -> None:
    """The selection of the table, on Kafka and Elasticsearch, with the same outcome."""
    prefix = f"test_examples_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(
        tmp_path / "system",
        kafka=kafka_address,
        elasticsearch=elasticsearch_url,
        prefix=prefix,
        overrides=_settings(host),
    )
    try:
        async with _stage(shape, host) as stage:
            assert await _differences(stage, TABLE["on kafka"]) == {}
    finally:
        await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)
