"""An installation of several processes within the test: its webservers behind each other, and what stands behind them.

On the embedded log one process is everything; on Kafka the webservers are processes of their own.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from aiohttp import ClientSession

from flowtide.api.application import site_of
from flowtide.api.keys import Site
from flowtide.cli.web import web_application
from flowtide.model.services import ServiceType
from flowtide.services.process import Process, Surroundings
from flowtide.settings import Settings

BEHIND = (ServiceType.EXECUTOR, ServiceType.SCHEDULER, ServiceType.WORKER, ServiceType.INDEXER)
USERNAME, PASSWORD = "a@example.org", "Secret123"


def basic(username: str, password: str) -> dict[str, str]:
    """The header of a login."""
    return {"Authorization": "Basic " + b64encode(f"{username}:{password}".encode()).decode()}


@dataclass
class Answer:
    """What a webserver said."""

    status: int
    body: Any
    text: str
    headers: Mapping[str, str]
    content: bytes


@dataclass
class Caller:
    """Asks one webserver after the other, as a load balancer would."""

    webservers: Sequence[ClientSession]
    headers: Mapping[str, str]
    path: str = "/api/v1"
    seen: list[str] = field(default_factory=list)
    _turn: int = 0

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """One request to the webserver whose turn it is."""
        self._turn += 1
        return await self.ask_at(self._turn, method, path, body, **more)

    async def ask_at(self, turn: int, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        """One request to a webserver; a text is YAML."""
        session = self.webservers[turn % len(self.webservers)]
        headers = {**self.headers, **more.pop("headers", {})}
        if isinstance(body, str):
            more["data"] = body.encode()
            headers.setdefault("Content-Type", "application/x-yaml")
        elif body is not None:
            more["json"] = body
        async with session.request(method, self.path + path, headers=headers, **more) as response:
            content = await response.read()
            text = content.decode(errors="replace")
            is_json = response.content_type == "application/json" and text
            body = await response.json() if is_json else text
            return Answer(response.status, body, text, dict(response.headers), content)

    async def must(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """One request whose status is known; gives its body."""
        answer = await self.ask(method, path, body, **more)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.text[:800]}"
        return answer.body

    def be(self, headers: Mapping[str, str]) -> Caller:
        """Somebody else, who asks the same webservers."""
        return Caller(self.webservers, headers, self.path)


@dataclass
class Installation:
    """The running processes, and the administrator."""

    admin: Caller
    processes: Mapping[str, Process]


def settings_of(folder: Path, more: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all processes share."""
    return {
        "data-path": str(folder),
        "tutorial-flows.enabled": False,
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.basic-auth.username": USERNAME,
        "server.basic-auth.password": PASSWORD,
        "server.liveness.heartbeat-interval": "PT0.5S",
        **more,
    }


@asynccontextmanager
async def installed(
    folder: Path,
    more: Mapping[str, Any],
    *,
    webservers: int = 2,
    behind: Sequence[ServiceType] = BEHIND,
    apart: bool = False,
    groups: Sequence[str] = (),
    patience: timedelta = timedelta(minutes=1),
) -> AsyncIterator[Installation]:
    """Start all processes; with the embedded log there is one, which is everything.

    Without `webservers` one process is everything on Kafka, too.  With `apart` each service is a process of its own;
    each of `groups` gets a worker of its own.  `patience` is how long lists wait for what their caller changed.
    """
    is_shared = more.get("flowtide.queue.type") == "kafka"
    kinds: dict[str, Sequence[ServiceType]] = {"all": tuple(ServiceType)}
    if is_shared:
        if webservers:
            kinds = {each.value.lower(): (each,) for each in behind} if apart else {"behind": behind}
        kinds |= {f"web{number}": (ServiceType.WEBSERVER,) for number in range(webservers)}
        kinds |= {f"worker-{group}": (ServiceType.WORKER,) for group in groups}

    def patient(settings: Settings) -> Site:
        return replace(site_of(settings), index_timeout=patience)

    async with AsyncExitStack() as stack:
        stack.enter_context(patch("flowtide.cli.web.site_of", patient))
        processes: dict[str, Process] = {}
        for name, services in kinds.items():
            if not services:
                continue
            group = name.removeprefix("worker-") if name.startswith("worker-") else None
            own = {} if group is None else {"worker.group": group}
            processes[name] = process = Process(
                Settings.load(environment={}, overrides=settings_of(folder, {**more, **own})),
                services,
                web_application=web_application,
                surroundings=Surroundings(environment={}, host=name),
            )
            await stack.enter_async_context(process.serving())
        sessions = [
            await stack.enter_async_context(
                ClientSession(f"http://127.0.0.1:{process.parts['webserver'].port}")
            )
            for process in processes.values()
            if "webserver" in process.parts
        ]
        yield Installation(Caller(sessions, basic(USERNAME, PASSWORD)), processes)
