"""Servers as operators start them: real processes, their first words, their errors and their end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

_READY = re.compile(r"is ready on http://localhost:(\d+).*\n.*http://localhost:(\d+)/health")
_SECONDS = 40  # a loaded machine starts slowly; an idle one needs two


def _environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Free ports, data in a folder, and no settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "TMPDIR")}
    ports = {"ENDPOINTS_ALL_PORT": "0", "FLOWTIDE_SERVER_PORT": "0"}
    return {**kept, "HOME": str(folder), "FLOWTIDE_DATA_PATH": str(folder / "data"), **ports, **(more or {})}


@contextmanager
def _server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A running `flowtide server standalone`, and the file of its output."""
    output = folder / "output"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowtide", "server", "standalone", *options],
            env=_environment(folder),
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process, output
        finally:
            process.kill()
            process.wait()


def _ports(process: subprocess.Popen[str], output: Path) -> tuple[int, int]:
    """Wait for the banner; gives the ports of API and management."""
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = _READY.search(output.read_text())
        if found is not None:
            return int(found[1]), int(found[2])
        time.sleep(0.05)  # a real process can only be asked again
    raise AssertionError(f"not ready: {output.read_text()}")


def _flowtide(
    folder: Path, *arguments: str, more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flowtide", *arguments],
        env=_environment(folder, more),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def test_a_server_loads_flows_answers_and_ends_on_sigterm(tmp_path: Path) -> None:
    """`--flow-path` is loaded before the banner; health is up; a webhook runs; SIGTERM ends it with 0."""
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "hook.yaml").write_text(
        "id: hook\nnamespace: tests\n"
        "tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: hi}]\n"
        "triggers: [{id: call, type: io.kestra.plugin.core.trigger.Webhook, key: k}]\n"
    )
    (flows / "broken.yaml").write_text("id: broken\n")
    with _server(tmp_path, "--flow-path", str(flows)) as (process, output):
        port, management = _ports(process, output)
        with urlopen(f"http://127.0.0.1:{management}/health/readiness") as answer:
            assert json.load(answer)["status"] == "UP"
        url = f"http://127.0.0.1:{port}/api/v1/main/executions/webhook/tests/hook/k"
        with urlopen(Request(url, data=b"{}", method="POST")) as answer:
            assert json.load(answer)["flowId"] == "hook"
        process.send_signal(signal.SIGTERM)

        assert process.wait(_SECONDS) == 0
    text = output.read_text()
    assert "no login yet" in text
    assert "saved=1 unchanged=0 refused=1" in text
    assert "broken.yaml" in text
    assert "Traceback" not in text


def test_a_second_interrupt_ends_a_server_at_once(tmp_path: Path) -> None:
    """The first Ctrl-C waits for the task that runs; the second one ends the process, with 130."""
    flows = tmp_path / "flows"
    flows.mkdir()
    (flows / "nap.yaml").write_text(
        "id: nap\nnamespace: tests\n"
        "tasks: [{id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}]\n"
        "triggers: [{id: call, type: io.kestra.plugin.core.trigger.Webhook, key: k}]\n"
    )
    with _server(tmp_path, "--flow-path", str(flows)) as (process, output):
        port, management = _ports(process, output)
        address = f"http://127.0.0.1:{management}"
        url = f"http://127.0.0.1:{port}/api/v1/main/executions/webhook/tests/nap/k"
        with urlopen(Request(url, data=b"{}", method="POST")):
            pass
        _until(lambda: json.load(urlopen(f"{address}/worker"))["runningCount"] == 1)
        process.send_signal(signal.SIGINT)
        _until(lambda: _status(f"{address}/health/readiness") == 503)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)

        assert process.wait(_SECONDS) == 130


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)  # a real process can only be asked again


def _status(url: str) -> int:
    try:
        with urlopen(url) as answer:
            status: int = answer.status
            return status
    except HTTPError as error:
        with error:
            return error.code


def test_the_data_of_a_running_server_belongs_to_it(tmp_path: Path) -> None:
    """A second server on the same data is refused in one sentence that names the first one."""
    with _server(tmp_path) as (process, output):
        _ports(process, output)

        second = _flowtide(tmp_path, "server", "standalone")

    assert second.returncode == 1
    assert f"is in use by process {process.pid}" in second.stderr
    assert len(second.stderr.splitlines()) == 1


@pytest.mark.parametrize("variable", ["FLOWTIDE_SERVER_PORT", "ENDPOINTS_ALL_PORT"])
def test_a_port_in_use_is_one_sentence(tmp_path: Path, variable: str) -> None:
    """Either port: which one it is, and what to do."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]

        refused = _flowtide(tmp_path, "server", "local", more={variable: str(port)})

    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"flowtide: port {port} of 0.0.0.0 is in use")
    assert "Traceback" not in refused.stderr


def test_wrong_settings_are_told_with_their_place(tmp_path: Path) -> None:
    """Each wrong value, where it stands, and what is expected; exit code 1."""
    refused = _flowtide(
        tmp_path,
        "server",
        "standalone",
        more={"FLOWTIDE_QUEUE_TYPE": "pigeon", "FLOWTIDE_WORKER_THREADS": "many"},
    )

    assert refused.returncode == 1
    assert "queue.type" in refused.stderr
    assert "worker.threads" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_poor_login_is_one_sentence(tmp_path: Path) -> None:
    """A user name that is no e-mail address is refused at the start."""
    login = {
        "FLOWTIDE_SERVER_BASIC_AUTH_USERNAME": "admin",
        "FLOWTIDE_SERVER_BASIC_AUTH_PASSWORD": "Secret123",
    }

    refused = _flowtide(tmp_path, "server", "standalone", more=login)

    assert refused.returncode == 1
    assert "e-mail" in refused.stderr
    assert "Secret123" not in refused.stderr
    assert "Traceback" not in refused.stderr


def test_run_is_killed_by_an_interrupt(tmp_path: Path) -> None:
    """Ctrl-C kills the execution of `flowtide run` in order: exit code 3, state KILLED."""
    flow = tmp_path / "nap.yaml"
    flow.write_text(
        "id: nap\nnamespace: tests\n"
        "tasks:\n"
        "  - {id: begin, type: io.kestra.plugin.core.log.Log, message: begun}\n"
        "  - {id: nap, type: io.kestra.plugin.core.flow.Sleep, duration: PT1H}\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "flowtide", "run", str(flow)],
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "begun" in line:
            break
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=_SECONDS)

    assert process.returncode == 3
    assert "KILLED" in rest
    assert "Traceback" not in rest
