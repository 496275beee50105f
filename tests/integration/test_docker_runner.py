"""Script tasks in real containers: the Docker runner on a real engine, driven by a worker."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiodocker import Docker as Client

from flowtide.model.commands import ReportRunEnded
from flowtide.model.states import State
from flowtide.plugins.runners.docker.labels import OWNER
from tests.unit.services.worker_harness import WorkerHarness

pytestmark = pytest.mark.docker

TYPE = "io.kestra.plugin.scripts.runner.docker.Docker"
SHELL = "flowtide-test/shell:local"
PYTHON = "flowtide-test/python:local"


@pytest.fixture
def runner(docker_address: str) -> dict[str, Any]:
    """The properties of the runner; the network is one that the engine of the tests has."""
    return {"type": TYPE, "host": docker_address, "networkMode": "none", "pullPolicy": "NEVER"}


@pytest.fixture
async def engine(docker_address: str) -> AsyncIterator[Client]:
    """A client beside the runner's; no container of ours may be left when the test is over."""
    async with Client(url=docker_address) as client:
        yield client
        left = await _containers(client)
        for container in left:
            await container.delete(force=True, v=True)
        assert left == []


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    configured = {TYPE: {"volume-enabled": True}}
    async with WorkerHarness(tmp_path, plugin_configurations=configured) as harness:
        harness.start()
        yield harness


async def _containers(client: Client) -> list[Any]:
    return await client.containers.list(all=True, filters={"label": [OWNER]})


async def _until_none(client: Client) -> None:
    """Wait until no container is left: a worker reports a kill after a second, however long the engine takes."""
    while await _containers(client):  # noqa: ASYNC110 - the engine rings no bell
        await asyncio.sleep(0.01)


async def _shell(
    harness: WorkerHarness, runner: dict[str, Any], *commands: str, **properties: Any
) -> ReportRunEnded:
    return await harness.run(
        "scripts.shell.Commands",
        **{"commands": list(commands), "taskRunner": runner, "containerImage": SHELL, **properties},
    )


async def test_commands_run_in_a_container(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """DK1, P11, S15: both streams by line, the environment, the image's own programs, and who ran it."""
    ended = await _shell(
        harness,
        runner,
        'echo "$WHO in $(readlink /bin/sh)"',
        "printf 'one ' >&2; printf 'line\\n' >&2",
        '[ "$PWD" = "{{ workingDir }}" ] && [ "$PWD" = "$WORKING_DIR" ]',
        env={"WHO": "Ada"},
    )
    assert ended.state is State.SUCCESS, ended.error
    assert len(ended.outputs["taskRunner"]["containerId"]) == 64
    assert harness.messages("INFO") == ["Ada in busybox"]
    assert harness.messages("ERROR") == ["one line"]


async def test_files_go_in_and_come_back(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """DK7, S30 to S32: input files and stored files inside, output files outside, links that lead out stay there."""
    first = await _shell(
        harness,
        runner,
        "mkdir -p out/deep && cat a/in.txt > out/deep/x.txt && rm a/in.txt",
        "ln -s /etc/passwd out/passwd.txt; ln -s deep/x.txt out/link.txt",
        "id -u > who.txt",
        inputFiles={"a/in.txt": "Hi Ada"},
        outputFiles=["**/*.txt"],
    )
    assert first.state is State.SUCCESS, first.error
    assert sorted(first.outputs["outputFiles"]) == ["out/deep/x.txt", "who.txt"]
    uri = first.outputs["outputFiles"]["out/deep/x.txt"]
    for given in ({"user": "1000"}, {"fileHandlingStrategy": "MOUNT"}):
        ended = await _shell(
            harness, {**runner, **given}, f"cat {uri}; echo", "id -u > who.txt", outputFiles=["who.txt"]
        )
        assert ended.state is State.SUCCESS, ended.error
        assert list(ended.outputs["outputFiles"]) == ["who.txt"]
        stored = await harness.storage.get("main", ended.outputs["outputFiles"]["who.txt"])
        assert stored.decode().strip() == given.get("user", "0")
    assert harness.messages("INFO") == ["Hi Ada"] * 2


async def test_the_exit_code_and_files_of_a_failure(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """K11, S29: the exit code fails the task; outputs and files that were there are kept."""
    ended = await _shell(
        harness,
        runner,
        "echo kept > x.txt",
        """echo '::{"outputs":{"a":1}}::'""",
        "exit 7",
        outputFiles=["x.txt"],
    )
    assert (ended.state, ended.error) == (State.FAILED, "the command failed with exit code 7")
    assert (ended.outputs["exitCode"], ended.outputs["vars"]) == (7, {"a": 1})
    assert list(ended.outputs["outputFiles"]) == ["x.txt"]


async def test_python_speaks_the_protocol(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """P01, P03, P04: on stdout and stderr, in lines that are longer than one chunk."""
    script = (
        "import json, sys\n"
        "big = 'x' * 200_000\n"
        "print('::' + json.dumps({'outputs': {'big': len(big), 'pad': big}}) + '::')\n"
        "print('::' + json.dumps({'metrics': [{'name': 'n', 'type': 'counter', 'value': 3}]}) + '::',"
        " file=sys.stderr)\n"
        "print({{ outputs.none ?? true }})\n"
    )
    ended = await harness.run(
        "scripts.python.Script",
        script=script,
        taskRunner=runner,
        containerImage=PYTHON,
        variables={"outputs": {}},
    )
    assert ended.state is State.SUCCESS, ended.error
    assert ended.outputs["vars"]["big"] == 200_000
    await harness.until(lambda: len(harness.measured) == 1)
    assert harness.messages("INFO") == ["True"]


async def test_a_kill_ends_the_container(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """K09: a killed run's container is gone, also one that ignores signals."""
    job = harness.job(
        "scripts.shell.Commands",
        commands=["trap '' TERM", "echo up", "sleep 600"],
        taskRunner=runner,
        containerImage=SHELL,
    )
    await harness.send(job)
    await harness.until(lambda: harness.messages("INFO") == ["up"])
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED
    await _until_none(engine)


async def test_a_timeout_ends_the_container(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """S24: so does the task's timeout."""
    job = harness.job(
        "scripts.shell.Commands",
        commands=["echo up", "sleep 600"],
        taskRunner=runner,
        containerImage=SHELL,
        timeout="PT1M",
    )
    await harness.send(job)
    await harness.until(lambda: harness.messages("INFO") == ["up"])
    harness.clock.advance(timedelta(minutes=2))
    assert "longer than its timeout" in ((await harness.end_of(job)).error or "")
    await _until_none(engine)


async def test_a_kill_may_be_gentle(harness: WorkerHarness, runner: dict[str, Any], engine: Client) -> None:
    """DK3: with `killGracePeriod` the container is asked to stop before it is killed."""
    job = harness.job(
        "scripts.shell.Commands",
        commands=["trap 'echo bye; exit 0' TERM", "echo up", "while true; do sleep 0.05; done"],
        taskRunner={**runner, "killGracePeriod": "PT5S", "delete": False},
        containerImage=SHELL,
    )
    await harness.send(job)
    await harness.until(lambda: harness.messages("INFO") == ["up"])
    await harness.kill(job.run_id)
    assert (await harness.end_of(job)).state is State.KILLED
    (container,) = await _containers(engine)
    await container.wait()
    assert (await container.show())["State"]["ExitCode"] == 0
    await container.delete(force=True, v=True)


async def test_limits_reach_the_engine(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client, tmp_path: Path
) -> None:
    """DK2, DK3, DK5, S40, K10: limits, user, hosts, volumes and labels, as the engine shows them; it is kept."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("from the host")
    ended = await _shell(
        harness,
        {
            **runner,
            "cpu": {"cpus": 0.5},
            "memory": {"memory": "64Mi", "memorySwap": "128MB"},
            "shmSize": "16MB",
            "user": "{{ who }}",
            "extraHosts": ["db:10.0.0.1"],
            "capDrop": ["NET_RAW"],
            "volumes": [f"{tmp_path}/host:/host:ro"],
            "delete": False,
        },
        "cat /host/file; echo; id -u",
        variables={"who": "ada"},
    )
    assert ended.state is State.SUCCESS, ended.error
    assert harness.messages("INFO") == ["from the host", "1000"]
    container = await engine.containers.get(ended.outputs["taskRunner"]["containerId"])
    shown = await container.show()
    host = shown["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["MemorySwap"], host["ShmSize"]) == (
        500_000_000,
        64 * 1024**2,
        128 * 1024**2,
        16 * 1024**2,
    )
    assert (host["ExtraHosts"], host["CapDrop"]) == (["db:10.0.0.1"], ["NET_RAW"])
    labels = shown["Config"]["Labels"]
    del labels[OWNER], labels["flowtide.io/kept"]
    assert labels == {
        "kestra.io/namespace": "company.team",
        "kestra.io/flow-id": "f",
        "kestra.io/task-id": "t",
        "kestra.io/execution-id": "e1",
        "kestra.io/taskrun-id": "r1",
        "kestra.io/taskrun-attempt": "0",
    }
    assert shown["Name"].startswith("/company-team-f-t-")
    await container.delete(force=True, v=True)


async def test_too_much_memory_is_named(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """A container that the system ends for its memory says so, and fails with 137."""
    ended = await harness.run(
        "scripts.python.Script",
        script="x = b'x' * (300 * 1024 * 1024)",
        taskRunner={**runner, "memory": {"memory": "32Mi", "memorySwap": "32Mi"}},
        containerImage=PYTHON,
        interpreter=["/bin/sh", "-c"],
    )
    assert ended.state is State.FAILED
    assert ended.outputs["exitCode"] == 137
    assert any("more memory" in line for line in harness.messages("ERROR"))


@pytest.mark.parametrize(
    ("properties", "says"),
    [
        ({"volumes": ["/etc:/host"]}, "volume-enabled"),
        ({"memory": {"memory": "much"}}, "`taskRunner.memory.memory`: 'much' is not a size"),
        ({"cpu": {"cpus": "many"}}, "`taskRunner.cpu.cpus`"),
        ({"pullPolicy": "SOMETIMES"}, "`taskRunner.pullPolicy`: 'SOMETIMES'"),
        ({"fileHandlingStrategy": "CARRY"}, "`taskRunner.fileHandlingStrategy`"),
        ({"portBindings": ["x"]}, "`taskRunner.portBindings`"),
        ({"killGracePeriod": "soon"}, "`taskRunner.killGracePeriod`"),
        ({"config": "{"}, "`taskRunner.config`"),
        ({"credentials": {"auth": "?"}}, "Base64"),
    ],
)
async def test_what_cannot_be_done_is_named(
    tmp_path: Path, runner: dict[str, Any], engine: Client, properties: dict[str, Any], says: str
) -> None:
    """DK6: a property that cannot be obeyed fails the run and is named; volumes must be allowed."""
    async with WorkerHarness(tmp_path) as harness:
        harness.start()
        ended = await _shell(harness, {**runner, **properties}, "true")
        assert ended.state is State.FAILED
        assert says in (ended.error or "")


@pytest.mark.parametrize(
    ("policy", "says"), [("NEVER", "forbids to fetch it"), ("IF_NOT_PRESENT", "could not be fetched")]
)
async def test_an_image_that_is_not_there(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client, policy: str, says: str
) -> None:
    """DK4: NEVER fetches nothing; otherwise the reason of the failed fetch is told."""
    image = "127.0.0.1:9/none:1"
    ended = await _shell(harness, {**runner, "pullPolicy": policy}, "true", containerImage=image)
    assert ended.state is State.FAILED
    assert says in (ended.error or "")
    assert image in (ended.error or "")


async def test_what_a_dead_worker_left_is_removed(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client, tmp_path: Path
) -> None:
    """DK9: the container of a killed worker runs on, until another worker of the host starts a container."""
    program = tmp_path / "worker.py"
    program.write_text(_DYING_WORKER)
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        str(tmp_path / "dying"),
        json.dumps(runner),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert worker.stdout is not None
        assert (await worker.stdout.readline()).strip() == b"up"
    finally:
        worker.kill()
        await worker.wait()
    (left,) = await _containers(engine)
    assert left["State"] == "running"
    assert (await _shell(harness, runner, "echo next")).state is State.SUCCESS
    assert await _containers(engine) == []


async def test_an_earlier_attempt_is_removed(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """DK9: so is the container of an earlier attempt of the same task run, whichever host its worker was on."""
    labels = {OWNER: "elsewhere/1/1", "kestra.io/execution-id": "e1", "kestra.io/taskrun-id": "r1"}
    others = {**labels, "kestra.io/taskrun-id": "r2"}
    description = {"Image": SHELL, "Entrypoint": [""], "Cmd": ["sleep", "600"]}
    made = [await engine.containers.create({**description, "Labels": each}) for each in (labels, others)]
    assert (await _shell(harness, runner, "true")).state is State.SUCCESS
    (left,) = await _containers(engine)
    assert left.id == made[1].id
    await left.delete(force=True)


async def test_a_container_may_run_on(harness: WorkerHarness, runner: dict[str, Any], engine: Client) -> None:
    """DK3: with `wait: false` the task is over when the container has started; nobody takes it for an orphan."""
    ended = await _shell(harness, {**runner, "wait": False}, "sleep 600")
    assert ended.state is State.SUCCESS, ended.error
    assert (await _shell(harness, runner, "true")).state is State.SUCCESS
    (container,) = await _containers(engine)
    assert container.id == ended.outputs["taskRunner"]["containerId"]
    await container.kill()
    await _until_none(engine)  # by the engine itself


async def test_secrets_are_masked(tmp_path: Path, runner: dict[str, Any], engine: Client) -> None:
    """B22: what `secret()` gave is hidden in the lines of a container, also across chunks."""
    async with WorkerHarness(tmp_path, secrets={"SECRET_TOKEN": "aHVudGVyMg=="}) as harness:
        harness.start()
        ended = await _shell(
            harness, runner, "echo $T; printf hun; printf ter2; echo", env={"T": "{{ secret('TOKEN') }}"}
        )
        assert ended.state is State.SUCCESS, ended.error
        assert len(harness.messages("INFO")) == 2
        assert not any("hunter2" in line for line in harness.messages())


async def test_the_former_properties_work(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client
) -> None:
    """S26, G10: `runner: DOCKER` with `docker` is the runner with these properties."""
    docker = {name: value for name, value in runner.items() if name != "type"}
    ended = await harness.run(
        "scripts.shell.Script",
        script="echo {{ execution.id }}",
        runner="DOCKER",
        docker={**docker, "image": SHELL, "memory": {"memory": "64MB"}},
    )
    assert ended.state is State.SUCCESS, ended.error
    assert harness.messages("INFO") == ["e1"]


async def test_packages_reach_the_container(
    harness: WorkerHarness, runner: dict[str, Any], engine: Client, wheel: Path
) -> None:
    """Y01: `dependencies` are installed by the worker for the container's Python, and seen inside."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    ended = await harness.run(
        "scripts.python.Script",
        script="import greeting; print(greeting.WORD)",
        dependencies=[str(wheel)],
        pythonVersion=version,
        taskRunner=runner,
        containerImage=PYTHON,
    )
    assert ended.state is State.SUCCESS, (ended.error, harness.messages())
    assert harness.messages("INFO") == ["hello"]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A package without dependencies."""
    path = tmp_path / "greeting-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("greeting.py", "WORD = 'hello'\n")
        archive.writestr(
            "greeting-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"
        )
        archive.writestr(
            "greeting-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("greeting-1.0.dist-info/RECORD", "")
    return path


_DYING_WORKER = """
import asyncio, json, sys
from pathlib import Path
from tests.unit.services.worker_harness import WorkerHarness

async def main():
    async with WorkerHarness(Path(sys.argv[1])) as harness:
        harness.start()
        job = harness.job(
            "scripts.shell.Commands", commands=["echo up", "sleep 600"], taskRunner=json.loads(sys.argv[2]),
            containerImage="flowtide-test/shell:local",
        )
        await harness.send(job)
        await harness.until(lambda: harness.messages("INFO") == ["up"])
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""
