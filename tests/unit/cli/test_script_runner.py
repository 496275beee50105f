"""Where script tasks run that do not say it, as `--script-runner` decides at the start of a server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowtide.cli.script_runner import ScriptRunner, with_script_runner
from flowtide.settings import Settings

PROCESS = {
    "type": "io.kestra.plugin.scripts",
    "values": {"taskRunner": {"type": "io.kestra.plugin.core.runner.Process"}},
}


def _settings(tmp_path: Path, *defaults: dict[str, Any]) -> Settings:
    return Settings.load((), overrides={"plugins.defaults": list(defaults)} if defaults else {})


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A socket that answers a ping, as a container engine does."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\nOK")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield server
        thread.join()


def test_without_an_engine_auto_takes_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin default is Process, and the operator is told why."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    settings, said = with_script_runner(_settings(tmp_path), ScriptRunner.AUTO)
    assert settings.plugins.defaults == (PROCESS,)
    assert said is not None
    assert f"no container engine answers at unix://{tmp_path}/none.sock" in said


@pytest.mark.usefixtures("engine")
def test_with_an_engine_auto_changes_nothing(tmp_path: Path) -> None:
    """Docker stays the default of script tasks, as the flow language has it."""
    before = _settings(tmp_path)
    assert with_script_runner(before, ScriptRunner.AUTO) == (before, None)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "nonsense", "tcp://127.0.0.1:notaport"])
def test_an_address_that_leads_nowhere_is_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Whatever is wrong with the address, the server starts, and the address is named."""
    monkeypatch.setenv("DOCKER_HOST", address)
    _, said = with_script_runner(_settings(tmp_path), ScriptRunner.AUTO)
    assert address in (said or "")


def test_the_choice_can_be_fixed(tmp_path: Path) -> None:
    """`process` asks nobody; `docker`, the default, leaves everything as it is."""
    before = _settings(tmp_path)
    settings, said = with_script_runner(before, ScriptRunner.PROCESS)
    assert settings.plugins.defaults == (PROCESS,)
    assert "--script-runner" in (said or "")
    assert with_script_runner(before, ScriptRunner.DOCKER) == (before, None)


def test_a_configured_default_stays(tmp_path: Path) -> None:
    """Who has said in `plugins.defaults` where tasks run is not overruled."""
    own = {"type": "io.kestra.plugin", "values": {"taskRunner": {"type": "some.Runner"}}}
    before = _settings(tmp_path, own)
    assert with_script_runner(before, ScriptRunner.PROCESS) == (before, None)
