"""The packages that scripts import, unmodified: what `kestra` of PyPI and `@kestra-io/libs` write is understood."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowtide.model.states import State
from tests.unit.services.worker_harness import WorkerHarness

PROCESS = {"type": "io.kestra.plugin.core.runner.Process"}
DOCKER = "io.kestra.plugin.scripts.runner.docker.Docker"

PYTHON = """
from kestra import Kestra, context

Kestra.outputs({"text": "a", "number": 1, "list": [True, None, 2.5]})
Kestra.outputs({"number": 2, "nested": {"a": {"b": "c"}}})
Kestra.counter("rows", 7, {"table": "t", "ok": True})
Kestra.timer("took", 1.5)
Kestra.gauge("level", -3)
logger = Kestra.logger()
logger.debug("at debug")
logger.info("at info")
logger.warning("at warning")
logger.error("at error")
logger.critical("at critical")
print("plain")
print(context.flow.id, context.execution.id)
"""


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    async with WorkerHarness(tmp_path, plugin_configurations={DOCKER: {"volume-enabled": True}}) as harness:
        harness.start()
        yield harness


def _packages() -> Path:
    found = importlib.util.find_spec("kestra")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


async def _check_python(harness: WorkerHarness, **properties: Any) -> None:
    ended = await harness.run("scripts.python.Script", script=PYTHON, **properties)
    assert ended.state is State.SUCCESS, (ended.error, harness.messages())
    assert ended.outputs["vars"] == {
        "text": "a",
        "number": 2,
        "list": [True, None, 2.5],
        "nested": {"a": {"b": "c"}},
    }
    await harness.until(lambda: len(harness.measured) == 3)
    assert [(each.name, each.type, each.value, each.tags) for each in harness.measured] == [
        ("rows", "counter", 7, {"table": "t", "ok": "true"}),
        ("took", "timer", 1.5, {}),
        ("level", "gauge", -3, {}),
    ]
    said = {level: [line.split(" - ")[-1] for line in harness.messages(level)] for level in ("DEBUG", "INFO")}
    assert said["INFO"] == ["at info", "plain", "f e1"]
    assert "at debug" in said["DEBUG"]
    assert [line.split(" - ")[-1] for line in harness.messages("WARN")] == ["at warning"]
    assert [line.split(" - ")[-1] for line in harness.messages("ERROR")] == ["at error", "at critical"]


async def test_the_python_package_on_a_process(harness: WorkerHarness) -> None:
    """L01, H4, H5, H17, G K01, K02, K05: outputs, metrics, lines at their own levels on both streams, `context`."""
    await _check_python(
        harness,
        taskRunner=PROCESS,
        beforeCommands=[f"export PATH={Path(sys.executable).parent}:$PATH"],
    )


@pytest.mark.docker
async def test_the_python_package_in_a_container(harness: WorkerHarness, docker_address: str) -> None:
    """L05: the same inside a container."""
    runner = {
        "type": DOCKER,
        "host": docker_address,
        "networkMode": "none",
        "pullPolicy": "NEVER",
        "volumes": [f"{_packages()}:/packages:ro"],
    }
    await _check_python(
        harness,
        taskRunner=runner,
        containerImage="flowtide-test/python:local",
        env={
            "PYTHONPATH": "/packages",
            "PYTHONWARNINGS": "ignore",
        },  # the image lacks libraries of `requests`
    )


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
async def test_what_the_node_package_writes(harness: WorkerHarness) -> None:
    """L03, H18: its calls print these lines; `timer` counts seconds, the logger takes several values at once."""
    script = """
        const send = (value) => console.log('::' + JSON.stringify(value) + '::');
        send({outputs: {test: 'value', int: 2, bool: true, float: 3.65}});
        send({metrics: [{name: 'c', type: 'counter', value: 100, tags: {partition: 'file1'}}]});
        send({metrics: [{name: 't', type: 'timer', value: 2.12, tags: {}}]});
        console.warn('::' + JSON.stringify({logs: [{level: 'WARN', message: 'w'}, {level: 'WARN', message: {a: 1}}]})
          + '::');
    """
    ended = await harness.run("scripts.node.Script", script=script, taskRunner=PROCESS)
    assert ended.state is State.SUCCESS, ended.error
    assert ended.outputs["vars"] == {"test": "value", "int": 2, "bool": True, "float": 3.65}
    await harness.until(lambda: len(harness.measured) == 2)
    assert [(each.name, each.type, each.value) for each in harness.measured] == [
        ("c", "counter", 100),
        ("t", "timer", 2.12),
    ]
    assert harness.messages("WARN") == ["w", '{"a": 1}']
