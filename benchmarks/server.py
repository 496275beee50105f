"""A server to be measured: `flowtide server standalone` on free ports, asked by its API and by the kernel's account."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from flowtide.testing.servers import free_port

USER, PASSWORD = "bench@flowtide.test", "Bench-1234"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


class Server:
    """One standalone process, or `beside` one another webserver of the same installation.

    `kafka` and `elasticsearch` are addresses of real ones; without them it is embedded.
    """

    def __init__(
        self,
        *,
        kafka: str | None = None,
        elasticsearch: str | None = None,
        folder: Path | None = None,
        beside: Server | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="flowtide-bench-"))
        self.kafka = kafka
        self.elasticsearch = elasticsearch
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.ready_seconds = 0.0
        self._saved: set[str] = set()
        self._service = "standalone" if beside is None else "webserver"
        self.settings_file = self.folder / "settings.yml"
        flowtide = self._flowtide()
        if beside is not None:
            shared = json.loads(beside.settings_file.read_text())["flowtide"]
            flowtide = {**shared, "server": {**shared["server"], "port": self.port}}
        self.settings_file.write_text(
            json.dumps({"flowtide": flowtide, "endpoints": {"all": {"port": free_port()}}})
        )

    def _flowtide(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "data-path": str(self.folder / "data"),
            "server": {"port": self.port, "basic-auth": {"username": USER, "password": PASSWORD}},
            "tutorial-flows": {"enabled": False},
        }
        if self.kafka is not None:
            prefix = f"bench{os.getpid()}_{self.port}_"
            settings |= {
                "queue": {"type": "kafka"},
                "repository": {"type": "elasticsearch"},
                "kafka": {
                    "client": {"properties": {"bootstrap.servers": self.kafka}},
                    "defaults": {
                        "topic": {"partitions": 4},
                        "topic-prefix": prefix,
                        "consumer-prefix": prefix,
                    },
                },
                "elasticsearch": {
                    "client": {"http-hosts": [self.elasticsearch]},
                    "defaults": {"indice-prefix": prefix, "indices": {"index.number_of_replicas": "0"}},
                },
            }
        return settings

    def start(self) -> float:
        """Start it; gives the seconds until the API answers."""
        began = time.perf_counter()
        # `make` names the checkout's own data folder by a variable, and variables win over the file of settings
        foreign = ("FLOWTIDE_", "KESTRA_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environment["HOME"] = str(self.folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowtide", "server", self._service, "-c", str(self.settings_file)],
            env=environment,
            stdout=(self.folder / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        while True:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "server.log").read_text()[-3000:])
            try:
                self.get("flows/search?size=1")
            except (urllib.error.URLError, ConnectionError):
                if time.perf_counter() - began > 120:
                    raise
                time.sleep(0.02)
            else:
                self.ready_seconds = time.perf_counter() - began
                return self.ready_seconds

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    # Asking.

    def get(self, path: str) -> Any:
        """GET below the tenant, as JSON."""
        return self._call("GET", path)

    def save(self, source: str) -> None:
        """Save a flow, once."""
        if source not in self._saved:
            self._call("POST", "flows", source.encode(), "application/x-yaml")
            self._saved.add(source)

    def execute(self, namespace: str, flow_id: str) -> str:
        """Start an execution; gives its id."""
        answer = self._call("POST", f"executions/{namespace}/{flow_id}")
        identifier: str = answer["id"]
        return identifier

    def token(self) -> str:
        """A new API token of the user."""
        answer = json.loads(self._answer("POST", "me/api-tokens", b'{"name": "bench"}', base="/api/v1/"))
        token: str = answer["fullToken"]
        return token

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        """Any request below the tenant, answered with JSON; an error's body is the answer, too."""
        try:
            return self._call(method, path, body, kind if body is not None else None)
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def bytes_of(self, path: str) -> int:
        """GET below the tenant; gives how many bytes came."""
        request = self._request("GET", path)
        count = 0
        with urllib.request.urlopen(request, timeout=600) as answer:
            while portion := answer.read(100_000):
                count += len(portion)
        return count

    def _call(self, method: str, path: str, body: bytes | None = None, kind: str | None = None) -> Any:
        content = self._answer(method, path, body, kind)
        return json.loads(content) if content else None

    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        kind: str | None = None,
        *,
        base: str = "/api/v1/main/",
    ) -> bytes:
        request = self._request(method, path, body, base)
        if kind is not None:
            request.add_header("Content-Type", kind)
        with urllib.request.urlopen(request, timeout=600) as answer:
            content: bytes = answer.read()
            return content

    def _request(
        self, method: str, path: str, body: bytes | None = None, base: str = "/api/v1/main/"
    ) -> urllib.request.Request:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{base}{path}", data=body, method=method
        )
        request.add_header("Authorization", AUTHORIZATION)
        return request

    def state(self, execution: str) -> str:
        """The state of an execution."""
        state: str = self.get(f"executions/{execution}")["state"]["current"]
        return state

    def until(self, execution: str, state: str) -> None:
        """Wait until an execution is in a state.  Raises TimeoutError after a minute."""
        began = time.monotonic()
        while self.state(execution) != state:
            if time.monotonic() - began > 60:
                raise TimeoutError(f"{execution} is {self.state(execution)}, not {state}")
            time.sleep(0.05)

    def resume(self, execution: str) -> None:
        """Resume one that is paused."""
        self._call("POST", f"executions/{execution}/resume")

    def ended(self, flow_id: str) -> int:
        """How many executions of a flow the index knows to be over."""
        filters = (
            urllib.parse.quote("filters[state][IN]", safe="") + "=SUCCESS,FAILED,WARNING,KILLED,CANCELLED"
        )
        flow = urllib.parse.quote("filters[flowId][EQUALS]", safe="")
        total: int = self.get(f"executions/search?size=1&{flow}={flow_id}&{filters}")["total"]
        return total

    def executions(self, flow_id: str, count: int) -> list[dict[str, Any]]:
        """The last `count` executions of a flow."""
        found: list[dict[str, Any]] = []
        flow = urllib.parse.quote("filters[flowId][EQUALS]", safe="")
        page = 1
        while len(found) < count:
            answer = self.get(
                f"executions/search?size=500&page={page}&sort=state.startDate:desc&{flow}={flow_id}"
            )
            if not answer["results"]:
                break
            found += answer["results"]
            page += 1
        return found[:count]

    # The kernel's account of it.

    @property
    def _psutil(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def memory_mb(self) -> float:
        """Resident memory now."""
        return round(self._psutil.memory_info().rss / 1e6, 1)

    def peak_memory_mb(self) -> float:
        """The most that was ever resident."""
        assert self.process is not None
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) * 1024 / 1e6, 1)
        return self.memory_mb()

    def written_bytes(self) -> int:
        """Bytes that it had written to disk (embedded: the log and the index)."""
        return int(self._psutil.io_counters().write_chars)

    def processor_seconds(self) -> float:
        """Processor time used."""
        times = self._psutil.cpu_times()
        return float(times.user + times.system)
