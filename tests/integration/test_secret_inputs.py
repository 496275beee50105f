"""SECRET inputs and outputs through a whole process on the embedded log: no clear text anywhere but in the tasks."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, FormData

from flowtide.cli.web import web_application
from flowtide.errors import SettingsError
from flowtide.model.encrypted import TYPE
from flowtide.model.services import ServiceType
from flowtide.services.process import Process, Surroundings
from flowtide.settings import Settings

LOGIN = {"Authorization": "Basic " + b64encode(b"a@example.org:Secret123").decode()}
KEY = b64encode(bytes(range(32))).decode()
TEXT = "Xyzzyplugh77"  # one word, so that an index of words would hold it whole
STORED = "Frotzblorb55"  # what `secret('STORED')` gives
FLOWS = (
    """
id: parent
namespace: tests
inputs:
  - {id: password, type: SECRET, validator: "[A-Za-z0-9]+"}
tasks:
  - {id: tell, type: io.kestra.plugin.core.log.Log, message: "told {{ inputs.password }}"}
  - id: choice
    type: io.kestra.plugin.core.flow.If
    condition: "{{ inputs.password == 'PASSWORD' | replace({'PASSWORD': 'Xyzzy' ~ 'plugh77'}) }}"
    then: [{id: right, type: io.kestra.plugin.core.log.Log, message: matched}]
    else: [{id: wrong, type: io.kestra.plugin.core.log.Log, message: different}]
  - id: pick
    type: io.kestra.plugin.core.flow.Switch
    value: "{{ inputs.password }}"
    cases: {other: [{id: other, type: io.kestra.plugin.core.log.Log, message: other}]}
    defaults: [{id: fallback, type: io.kestra.plugin.core.log.Log, message: "picked {{ parents[0].outputs.value }}"}]
  - id: call
    type: io.kestra.plugin.core.flow.Subflow
    namespace: tests
    flowId: child
    inputs: {token: "{{ inputs.password }}!", note: "{{ inputs.password }}", stored: "{{ secret('STORED') }}"}
  - {id: after, type: io.kestra.plugin.core.log.Log, message: "back {{ outputs.call.outputs.shown }}"}
outputs:
  - {id: echo, type: SECRET, value: "{{ outputs.call.outputs.shown }}"}
""",
    """
id: child
namespace: tests
inputs:
  - {id: token, type: SECRET, validator: ".*!"}
  - {id: note, type: STRING}
  - {id: stored, type: SECRET}
tasks:
  - id: say
    type: io.kestra.plugin.core.log.Log
    message: "child {{ inputs.token }} {{ inputs.note }} {{ inputs.stored }} {{ inputs.token | length }}"
outputs:
  - {id: shown, type: SECRET, value: "{{ inputs.token }}"}
""",
    """
id: loop
namespace: tests
inputs: [{id: password, type: SECRET}]
tasks:
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: ["{{ inputs.password }}"]
    tasks: [{id: one, type: io.kestra.plugin.core.log.Log, message: x}]
""",
    """
id: scheduled
namespace: tests
inputs: [{id: password, type: SECRET}]
tasks:
  - id: tell
    type: io.kestra.plugin.core.log.Log
    message: "told {{ inputs.password }} of {{ inputs.password | length }}"
triggers:
  - id: often
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "* * * * * *"
    withSeconds: true
    inputs: {password: "{{ secret('STORED') }}"}
""",
    """
id: checked
namespace: tests
inputs: [{id: password, type: SECRET}]
checks: [{condition: "{{ inputs.password | length > 5 }}", message: too short}]
tasks: [{id: tell, type: io.kestra.plugin.core.log.Log, message: x}]
""",
    """
id: open
namespace: tests
inputs: [{id: data, type: JSON}]
tasks: [{id: tell, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.data }}"}]
""",
)


@asynccontextmanager
async def _served(folder: Path, more: Mapping[str, Any]) -> AsyncIterator[ClientSession]:
    overrides = {
        "data-path": str(folder),
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.basic-auth.username": "a@example.org",
        "server.basic-auth.password": "Secret123",
        **more,
    }
    settings = Settings.load(environment={}, overrides=overrides)
    environment = {"SECRET_STORED": b64encode(STORED.encode()).decode()}
    surroundings = Surroundings(environment=environment, host="test")
    process = Process(
        settings, tuple(ServiceType), web_application=web_application, surroundings=surroundings
    )
    async with process.serving():
        address = f"http://127.0.0.1:{process.parts['webserver'].port}"
        async with ClientSession(address, headers=LOGIN) as client:
            yield client


async def _save(client: ClientSession, *names: str) -> None:
    for source in FLOWS:
        if any(f"id: {name}\n" in source for name in names):
            async with client.post("/api/v1/main/flows", data=source.encode()) as answer:
                assert answer.status == 200, await answer.text()


async def _run(client: ClientSession, flow: str, **inputs: str) -> Any:
    form = FormData(default_to_multipart=True)
    for name, value in inputs.items():
        form.add_field(name, value)
    async with client.post(f"/api/v1/main/executions/tests/{flow}?wait=true", data=form) as answer:
        return await answer.json()


async def _lines(client: ClientSession, least: int, flow: str) -> list[str]:
    """The messages of a flow's log lines, once there are enough of them in the index."""
    while True:
        async with client.get(f"/api/v1/main/logs/search?size=100&filters[flowId][EQUALS]={flow}") as answer:
            found = (await answer.json())["results"]
        if len(found) >= least:
            return [line["message"] for line in found]
        await asyncio.sleep(0.05)


def _holding(folder: Path, text: str) -> list[str]:
    """The stored files that contain a text, in any case."""
    return sorted(
        path.name
        for path in folder.rglob("*")
        if path.is_file() and text.lower().encode() in path.read_bytes().lower()
    )


async def test_nothing_but_tasks_sees_a_secret(tmp_path: Path) -> None:
    """Input, condition, switch, subflow and outputs work, and no database and no answer holds the clear text."""
    async with _served(tmp_path, {"encryption.secret-key": KEY}) as client:
        await _save(client, "parent", "child")
        execution = await _run(client, "parent", password=TEXT)
        assert execution["state"]["current"] == "SUCCESS", execution
        assert execution["inputs"]["password"]["type"] == TYPE
        assert execution["outputs"]["echo"]["type"] == TYPE
        lines = await _lines(client, 4, "parent") + await _lines(client, 1, "child")
        assert sorted(lines) == [
            "back ******",
            f"child ****** ****** ****** {len(TEXT) + 1}",
            "matched",
            "picked ******",
            "told ******",
        ]
        async with client.get("/api/v1/main/executions/search?size=10") as answer:
            shown = [await answer.text()]
        for path in (f"executions/{execution['id']}", f"logs/{execution['id']}"):
            async with client.get(f"/api/v1/main/{path}") as answer:
                shown.append(await answer.text())
    for text in (TEXT, STORED):
        assert _holding(tmp_path, text) == []
        assert not any(text in answer for answer in [*shown, str(execution)])
    assert (
        len(_holding(tmp_path, "told ******")) >= 2
    )  # this look would have found it, on the log and in the index


async def test_what_would_show_a_secret_fails(tmp_path: Path) -> None:
    """A property whose value is recorded as it is refuses a SECRET, and the reason does not show it."""
    async with _served(tmp_path, {"encryption.secret-key": KEY}) as client:
        await _save(client, "loop")
        execution = await _run(client, "loop", password=TEXT)
        assert execution["state"]["current"] == "FAILED"
        assert "property `values` shows the value of a SECRET" in "".join(await _lines(client, 1, "loop"))
    assert _holding(tmp_path, TEXT) == []


async def test_an_encrypted_value_cannot_be_given(tmp_path: Path) -> None:
    """Else anybody who sees one could give it to a flow that shows it."""
    async with _served(tmp_path, {"encryption.secret-key": KEY}) as client:
        await _save(client, "open")
        answer = await _run(client, "open", data=f'{{"a": {{"type": "{TYPE}", "value": "x"}}}}')
    assert "an encrypted value cannot be given" in str(answer)


async def test_checks_see_the_text(tmp_path: Path) -> None:
    """Before a start and at the start; the answers do not show it."""
    async with _served(tmp_path, {"encryption.secret-key": KEY}) as client:
        await _save(client, "checked")
        found = []
        for text in (TEXT, "abc"):
            form = FormData(default_to_multipart=True)
            form.add_field("password", text)
            async with client.post("/api/v1/main/executions/tests/checked/validate", data=form) as answer:
                found.append((await answer.json())["checks"])
                assert f'"{text}"' not in await answer.text()
        assert [len(failed) for failed in found] == [0, 1]
        assert "too short" not in str(await _run(client, "checked", password=TEXT))
        assert "too short" in str(await _run(client, "checked", password="abc"))


async def test_schedules_hand_secrets_on(tmp_path: Path) -> None:
    """What a schedule's inputs read with `secret()` is not on the log either."""
    async with _served(tmp_path, {"encryption.secret-key": KEY}) as client:
        await _save(client, "scheduled")
        assert (await _lines(client, 1, "scheduled"))[0] == f"told ****** of {len(STORED)}"
    assert _holding(tmp_path, STORED) == []


async def test_without_a_key_the_error_names_the_setting(tmp_path: Path) -> None:
    """The execution is refused, and the sentence says what to do (KEY-40)."""
    async with _served(tmp_path, {}) as client:
        await _save(client, "parent", "child")
        answer = await _run(client, "parent", password=TEXT)
    assert "flowtide.encryption.secret-key" in str(answer)
    assert TEXT not in str(answer)


@pytest.mark.parametrize("key", ["nonsense!", b64encode(bytes(16)).decode()])
def test_a_wrong_key_is_told_at_the_start(tmp_path: Path, key: str) -> None:
    """A key that is no base64, or of another length, stops the start; it is not shown."""
    settings = Settings.load(
        environment={}, overrides={"data-path": str(tmp_path), "encryption.secret-key": key}
    )
    with pytest.raises(SettingsError, match=r"`flowtide.encryption.secret-key` must be 32 bytes") as caught:
        Process(settings, (ServiceType.EXECUTOR,))
    assert key not in caught.value.message
