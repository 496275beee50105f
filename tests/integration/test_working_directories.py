"""WorkingDirectory, its cache, `taskCache` and templated tasks on real servers, and a worker that dies amid a block."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flowtide.model.services import ServiceType
from flowtide.testing.flows import check_history
from flowtide.testing.servers import ALL, QUICK, Api, Server, Shape, embedded_shape, kafka_shape
from tests.integration.outside import remove_topics_and_indices
from tests.integration.survival import all_ended, complete

SHARED = """
id: shared
namespace: company.team
tasks:
  - id: dir
    type: io.kestra.plugin.core.flow.WorkingDirectory
    inputFiles:
      given.txt: "{{ execution.id }}"
    outputFiles: ["*.txt"]
    cache: {patterns: ["packages/**"], ttl: PT1H}
    tasks:
      - id: first
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands:
          - cat given.txt > {{ workingDir }}/copy.txt
          - if [ -f packages/one ]; then cat packages/one > found.txt; fi
          - mkdir -p packages && [ -f packages/one ] || printf '{{ execution.id }}' > packages/one
      - id: second
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands:
          - echo '::{"outputs":{"copy":"'$(cat copy.txt)'"}}::'
  - id: show
    type: io.kestra.plugin.core.output.OutputValues
    values:
      copy: "{{ outputs.second.vars.copy }}"
      stored: "{{ read(outputs.dir.outputFiles['copy.txt']) }}"
      found: "{{ outputs.dir.outputFiles['found.txt'] is defined ? read(outputs.dir.outputFiles['found.txt']) : '' }}"
"""

CACHED = """
id: cached
namespace: company.team
inputs:
  - {id: x, type: STRING}
tasks:
  - id: make
    type: io.kestra.plugin.core.templating.TemplatedTask
    taskCache: {enabled: true, ttl: PT1H}
    spec: |
      type: io.kestra.plugin.scripts.shell.Commands
      taskRunner: {type: io.kestra.plugin.core.runner.Process}
      outputFiles: ["*.txt"]
      commands:
        - echo '{{ inputs.x }}' > out.txt
        - cat /proc/sys/kernel/random/uuid >> out.txt
  - id: show
    type: io.kestra.plugin.core.debug.Return
    format: "{{ read(outputs.make.outputFiles['out.txt']) }}"
"""

HIDDEN = """
id: hidden
namespace: company.team
tasks:
  - id: script
    type: io.kestra.plugin.scripts.shell.Script
    taskRunner: {type: io.kestra.plugin.core.runner.Process}
    script: |
      echo '::{"encryptedOutputs":{"word":"open-sesame"}}::'
      echo now it is open-sesame
  - id: branch
    type: io.kestra.plugin.core.flow.If
    condition: "{{ outputs.script.vars.word == 'open-sesame' }}"
    then:
      - {id: say, type: io.kestra.plugin.core.log.Log, message: "it is {{ outputs.script.vars.word }}"}
"""


async def test_directories_and_caches_on_one_server(tmp_path: Path) -> None:
    """FLO-23, CAC-01, CAC-04, RUN-27, RUN-30, each over two executions where that is the point."""
    key = base64.b64encode(bytes(range(32))).decode()
    shape = embedded_shape(tmp_path, {**QUICK, "flowtide.encryption.secret-key": key})
    with Server(shape, ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            for source in (SHARED, CACHED, HIDDEN):
                await api.must_save(source)
            await _check_shared(api)
            await _check_cached(api)
            await _check_hidden(api)
        await asyncio.to_thread(_no_directory_is_left, tmp_path)


async def _check_shared(api: Api) -> None:
    ids = []
    shown = []
    for _ in range(2):
        execution = await _run(api, "shared")
        ids.append(execution["id"])
        shown.append(_outputs(execution, "show")["values"])
    assert [each["copy"] for each in shown] == ids
    assert [each["stored"] for each in shown] == ids
    assert [each["found"] for each in shown] == ["", ids[0]]  # the second execution finds what the first kept


async def _check_cached(api: Api) -> None:
    first, again, other = [await _run(api, "cached", {"x": x}) for x in ("one", "one", "two")]
    values = [_outputs(each, "show")["value"] for each in (first, again, other)]
    assert values[0] == values[1] != values[2]
    uri = _outputs(again, "make")["outputFiles"]["out.txt"]
    assert f"/executions/{again['id']}/" in uri, (
        "the file is its own, so that a purge of the first one leaves it"
    )


async def _check_hidden(api: Api) -> None:
    execution = await _run(api, "hidden")
    word = _outputs(execution, "script")["vars"]["word"]
    assert word["type"] == "io.kestra.datatype:aes_encrypted"
    answer = await api.call("GET", f"/logs/{execution['id']}")
    assert "it is ******" in answer.text
    assert "open-sesame" not in answer.text
    assert "open-sesame" not in str(execution)


def _no_directory_is_left(folder: Path) -> None:
    found = [path for path in folder.rglob("flowtide-*") if path.is_dir()]
    assert found == []


AMID = """
id: amid
namespace: company.team
inputs:
  - {id: gate, type: STRING}
tasks:
  - id: dir
    type: io.kestra.plugin.core.flow.WorkingDirectory
    outputFiles: ["*.txt"]
    tasks:
      - id: first
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands: ["echo '{{ taskrun.id }}' >> log.txt"]
      - id: wait
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands:
          - touch '{{ inputs.gate }}.begun'
          - while [ ! -f '{{ inputs.gate }}' ]; do sleep 0.1; done
          - echo '{{ taskrun.id }}' >> log.txt
      - id: third
        type: io.kestra.plugin.scripts.shell.Commands
        taskRunner: {type: io.kestra.plugin.core.runner.Process}
        commands: ["echo '::{\\"outputs\\":{\\"lines\\":'$(cat log.txt | wc -l)'}}::'"]
"""
_HOSTS = (ServiceType.WEBSERVER, ServiceType.INDEXER, ServiceType.EXECUTOR, ServiceType.SCHEDULER)


@pytest.fixture
async def shape(tmp_path: Path, kafka_address: str, elasticsearch_url: str) -> AsyncIterator[Shape]:
    """An installation with topics and indices of its own."""
    prefix = f"test_directory_{uuid.uuid4().hex[:10]}_"
    yield kafka_shape(
        tmp_path, kafka=kafka_address, elasticsearch=elasticsearch_url, prefix=prefix, overrides=QUICK
    )
    await asyncio.to_thread(remove_topics_and_indices, kafka_address, elasticsearch_url, prefix)


@pytest.mark.kafka
@pytest.mark.elasticsearch
@pytest.mark.timeout(180)
async def test_a_killed_worker_has_its_directories_start_again(shape: Shape, tmp_path: Path) -> None:
    """LIFE-7: of two workers the one with the directory is killed amid it; the other one runs all of it again."""
    gate = tmp_path / "gate"
    with ExitStack() as stack:
        host = stack.enter_context(Server(shape, _HOSTS, name="host"))
        workers = [
            stack.enter_context(Server(shape, (ServiceType.WORKER,), name=f"worker-{number}"))
            for number in (1, 2)
        ]
        await host.start()
        for worker in workers:
            worker.launch()
        await asyncio.gather(*(worker.ready(90) for worker in workers))
        async with Api(host.port) as api:
            await api.must_save(AMID)
            answer = await api.start("company.team", "amid", {"gate": str(gate)})
            assert answer.status == 200, answer
            begun = gate.with_name("gate.begun")
            await _until(begun.exists)
            holder = await _busy(workers)
            await asyncio.to_thread(begun.unlink)
            holder.kill()
            await _until(begun.exists)  # it runs on the other one
            await asyncio.to_thread(gate.touch)
            await api.ended(answer.body["id"], 60)
            execution = await complete(api, answer.body["id"])
        log = await shape.open_log()
        try:
            history = await all_ended(log)
            check_history(history.events[execution["id"]])
        finally:
            await log.close()
    assert execution["state"]["current"] == "SUCCESS", execution
    runs: dict[str, list[dict[str, Any]]] = {}
    for run in execution["taskRunList"]:
        runs.setdefault(run["taskId"], []).append(run)
    (directory,) = runs["dir"]
    assert [each["state"]["current"] for each in directory["attempts"]] == ["RESUBMITTED", "SUCCESS"]
    assert [run["state"]["current"] for run in runs["first"]] == ["SUCCESS", "SUCCESS"]
    assert [run["state"]["current"] for run in runs["wait"]] == ["KILLED", "SUCCESS"]
    (third,) = runs["third"]
    assert third["outputs"]["vars"] == {"lines": 2}, "the directory was a new one"
    assert set(directory["outputs"]["outputFiles"]) == {"log.txt"}


async def _until(condition: Callable[[], bool], patience_seconds: float = 60.0) -> None:
    ends = time.monotonic() + patience_seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < ends, "it never held"
        await asyncio.sleep(0.1)


async def _busy(workers: list[Server]) -> Server:
    for _ in range(300):
        for worker in workers:
            if await worker.busy():
                return worker
        await asyncio.sleep(0.1)
    raise AssertionError("no worker runs anything")


async def _run(api: Api, flow: str, inputs: dict[str, str] | None = None) -> dict[str, Any]:
    answer = await api.start("company.team", flow, inputs)
    assert answer.status == 200, answer
    execution = await complete(api, answer.body["id"])
    assert execution["state"]["current"] == "SUCCESS", execution
    return execution


def _outputs(execution: dict[str, Any], task: str) -> dict[str, Any]:
    (found,) = [run["outputs"] for run in execution["taskRunList"] if run["taskId"] == task]
    assert isinstance(found, dict)
    return found
