"""Real server processes for tests: a folder and what they shall serve in, running processes and their API out.

A `Shape` is what all processes of one installation share, a `Server` is one of its processes, which can be killed
at any moment and started again, and `Api` talks to the webserver as a user would.  Nothing here is for production.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from flowtide.log.port import Log, Record
from flowtide.log.topics import load_topics
from flowtide.model.services import ServiceType
from flowtide.services.ports import open_log
from flowtide.settings import Settings

USERNAME, PASSWORD = "admin@example.org", "Admin1234"
ALL = tuple(ServiceType)
TERMINAL = frozenset({"SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "RETRIED"})

QUICK: Mapping[str, Any] = {
    # Dead servers are found within two or three seconds, so that a test can kill many of them.
    "flowtide.server.liveness.interval": "PT0.5S",
    "flowtide.server.liveness.timeout": "PT3S",
    "flowtide.server.liveness.initial-delay": "PT1S",
    "flowtide.server.liveness.heartbeat-interval": "PT0.5S",
    "flowtide.server.worker-task-restart-strategy": "IMMEDIATELY",
    "flowtide.server.termination-grace-period": "PT5S",
    "flowtide.worker.threads": 32,
}
"""Settings under which the death of a server is noticed soon."""


_PORTS = range(20_000, 32_000)
"""Below those that systems give to outgoing connections, one of which would take the port before its server does."""

_given: set[int] = set()


def free_port(count: int = 1) -> int:
    """The first of `count` TCP ports in a row that nobody listens on now and that were not given out before."""
    dice = random.SystemRandom()
    for _ in range(1_000):
        ports = range(first := dice.choice(_PORTS), first + count)
        if _given.isdisjoint(ports) and all(map(_is_free, ports)):
            _given.update(ports)
            return first
    raise AssertionError(f"no {count} free ports in a row between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An installation: a folder for its data, and the settings that all its processes share."""

    name: str
    folder: Path
    overrides: Mapping[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a process, without its ports."""
        return {
            "flowtide.data-path": str(self.folder / "data"),
            "flowtide.tutorial-flows.enabled": False,
            "flowtide.server.host": "127.0.0.1",
            "flowtide.server.basic-auth.username": USERNAME,
            "flowtide.server.basic-auth.password": PASSWORD,
            **self.overrides,
        }

    async def open_log(self) -> Log:
        """The installation's log, for checks; the embedded one belongs to one process at a time."""
        log = open_log(Settings.load(environment={}, overrides=self.settings))
        await log.start()
        await log.ensure_topics(list(load_topics().values()))
        return log


def embedded_shape(folder: Path, overrides: Mapping[str, Any] | None = None) -> Shape:
    """Everything in files of a folder; one process."""
    return Shape(name="embedded", folder=folder, overrides=dict(overrides or {}))


def kafka_shape(
    folder: Path,
    *,
    kafka: str,
    elasticsearch: str,
    prefix: str,
    partitions: int = 4,
    overrides: Mapping[str, Any] | None = None,
) -> Shape:
    """Kafka at `host:port` and Elasticsearch at a URL, with topics and indices of their own."""
    common = {
        "flowtide.queue.type": "kafka",
        "flowtide.repository.type": "elasticsearch",
        "flowtide.kafka.client.properties": {"bootstrap.servers": kafka},
        "flowtide.kafka.defaults.topic.partitions": partitions,
        "flowtide.kafka.defaults.topic-prefix": prefix,
        "flowtide.kafka.defaults.consumer-prefix": prefix,
        "flowtide.elasticsearch.client.http-hosts": [elasticsearch],
        "flowtide.elasticsearch.defaults.indice-prefix": prefix,
    }
    return Shape(name="kafka", folder=folder, overrides={**common, **(overrides or {})})


class Server:
    """One process of an installation; its name and ports stay the same over restarts."""

    def __init__(
        self,
        shape: Shape,
        services: Sequence[ServiceType],
        *,
        name: str,
        overrides: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.port = free_port()
        self.log_file = shape.folder / f"{name}.log"
        self._folder = shape.folder
        self._file = shape.folder / f"{name}.json"
        self._process: subprocess.Popen[bytes] | None = None
        self.management_port = free_port()
        own = {"flowtide.server.port": self.port, "endpoints.all.port": self.management_port}
        settings = {**shape.settings, **own, **(overrides or {})}
        shape.folder.mkdir(parents=True, exist_ok=True)
        self._file.write_text(
            json.dumps({"services": [each.value for each in services], "settings": settings})
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if error is not None:
            error.add_note(f"the end of what {self.name} wrote:\n{self.output[-3000:]}")

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def output(self) -> str:
        """What it wrote to standard output and error so far, over all its starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def launch(self, *, limits: Sequence[str] = ()) -> None:
        """Start the process and do not wait; `limits` is a command that goes before it."""
        assert self._process is None or self._process.poll() is not None, f"{self.name} runs already"
        self._file.with_suffix(".ready").unlink(missing_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*limits, sys.executable, "-m", "flowtide.testing.serve", str(self._file)],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
            )

    async def ready(self, patience_seconds: float = 40.0) -> None:
        """Wait until everything in it was started."""
        ends = time.monotonic() + patience_seconds
        while not self._file.with_suffix(".ready").exists():
            if self.exit_code is not None:
                raise AssertionError(f"{self.name} ended with {self.exit_code}:\n{self.output[-4000:]}")
            if time.monotonic() > ends:
                raise AssertionError(f"{self.name} was not ready in time:\n{self.output[-4000:]}")
            await asyncio.sleep(0.05)

    async def start(self) -> None:
        """Start the process and wait until it is ready."""
        self.launch()
        await self.ready()

    async def busy(self) -> bool:
        """Whether its worker runs a task just now; no while the process cannot be asked."""
        url = f"http://127.0.0.1:{self.management_port}/worker"
        try:
            async with aiohttp.request("GET", url, timeout=aiohttp.ClientTimeout(total=5)) as response:
                told = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        return bool(told["runningCount"])

    def kill(self) -> None:
        """SIGKILL: the process gets no moment to do anything."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    async def stop(self, patience_seconds: float = 30.0) -> int:
        """SIGTERM, and wait for the end; gives the exit code.  A process that does not end is killed."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.terminate()
            try:
                await asyncio.to_thread(process.wait, patience_seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.name} did not stop:\n{self.output[-4000:]}") from None
        return process.wait()


@dataclass
class Answer:
    """What the API said."""

    status: int
    body: Any
    text: str

    def __str__(self) -> str:
        return f"{self.status} {self.text[:2000]}"


@dataclass
class Api:
    """A logged-in client of one webserver."""

    port: int
    tenant: str = "main"
    _session: aiohttp.ClientSession = field(init=False)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": aiohttp.encode_basic_auth(USERNAME, PASSWORD)},
            timeout=aiohttp.ClientTimeout(total=30),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def call(self, method: str, path: str, **arguments: Any) -> Answer:
        """One request below `/api/v1/{tenant}`.  Raises aiohttp's errors when there is no answer."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{self.tenant}{path}"
        async with self._session.request(method, url, **arguments) as response:
            text = await response.text()
            try:
                body = json.loads(text)
            except ValueError:
                body = None
            return Answer(response.status, body, text)

    async def save(self, source: str) -> Answer:
        """Create a flow."""
        headers = {"Content-Type": "application/x-yaml"}
        return await self.call("POST", "/flows", data=BytesIO(source.encode()), headers=headers)

    async def must_save(self, source: str) -> None:
        """Create a flow that is right."""
        answer = await self.save(source)
        assert answer.status == 200, answer

    async def must_update(self, namespace: str, flow: str, source: str) -> None:
        """Save a new revision of a flow that is right."""
        headers = {"Content-Type": "application/x-yaml"}
        answer = await self.call("PUT", f"/flows/{namespace}/{flow}", data=source.encode(), headers=headers)
        assert answer.status == 200, answer

    async def start(self, namespace: str, flow: str, inputs: Mapping[str, str] | None = None) -> Answer:
        """Ask for an execution."""
        form = aiohttp.MultipartWriter("form-data")
        for name, value in (inputs or {}).items():
            part = form.append(BytesIO(value.encode()))
            part.set_content_disposition("form-data", name=name)
        return await self.call("POST", f"/executions/{namespace}/{flow}", data=form if inputs else None)

    async def execution(self, execution_id: str) -> dict[str, Any] | None:
        """One execution with its task runs; None when it is not known."""
        answer = await self.call("GET", f"/executions/{execution_id}")
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        found: dict[str, Any] = answer.body
        return found

    async def ended(self, execution_id: str, patience_seconds: float = 30.0) -> dict[str, Any]:
        """The execution when it is over."""
        ends = time.monotonic() + patience_seconds
        found = None
        while time.monotonic() < ends:
            found = await self.execution(execution_id)
            if found is not None and found["state"]["current"] in TERMINAL:
                return found
            await asyncio.sleep(0.1)
        raise AssertionError(f"the execution {execution_id} is not over: {found}")

    async def run(
        self,
        namespace: str,
        flow: str,
        inputs: Mapping[str, str] | None = None,
        patience_seconds: float = 30.0,
    ) -> dict[str, Any]:
        """Start an execution and give it when it is over."""
        answer = await self.start(namespace, flow, inputs)
        assert answer.status == 200, answer
        return await self.ended(answer.body["id"], patience_seconds)

    async def logs(self, execution_id: str) -> list[dict[str, Any]]:
        """The log lines of an execution."""
        answer = await self.call("GET", f"/logs/{execution_id}")
        assert answer.status == 200, answer
        lines: list[dict[str, Any]] = answer.body
        return lines

    async def found(self, flow: str) -> int:
        """How many executions of a flow the index knows."""
        answer = await self.call("GET", "/executions/search", params={"flowId": flow, "size": "1"})
        assert answer.status == 200, answer
        total: int = answer.body["total"]
        return total


async def read_all(log: Log, topic: str) -> list[Record]:
    """Every record that is on a topic."""
    records: list[Record] = []
    reader = await log.reader(topic, "beginning")
    try:
        while not await reader.at_end():
            records += await reader.poll(maximum=5000, timeout=timedelta(milliseconds=200))
    finally:
        await reader.close()
    return records
