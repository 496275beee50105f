"""A SECRET that travels through every construct, trigger and restart is nowhere readable in what a server keeps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData

from tests.integration.test_state_around_flows import API, House, served

PLANTED = "correct-horse-battery"
PLAIN = "seen-by-everybody"

_TRAVELS = """id: travels
labels: {plain: seen-by-everybody}
inputs:
  - {id: password, type: SECRET}
variables: {copy: "{{ inputs.password }}"}
tasks:
  - {id: said, type: io.kestra.plugin.core.log.Log, message: "it is {{ inputs.password }}, or {{ render(vars.copy) }}"}
  - {id: set, type: io.kestra.plugin.core.execution.SetVariables, variables: {mine: "{{ inputs.password }}"},
     allowFailure: true}
  - {id: labelled, type: io.kestra.plugin.core.execution.Labels, labels: {mine: "{{ inputs.password }}"},
     allowFailure: true}
  - id: chosen
    type: io.kestra.plugin.core.flow.Switch
    value: "{{ inputs.password }}"
    allowFailure: true
    cases: {other: [{id: never, type: io.kestra.plugin.core.log.Log, message: no}]}
  - id: asked
    type: io.kestra.plugin.core.flow.If
    condition: "{{ inputs.password == 'correct-' ~ 'horse-' ~ 'battery' }}"
    then: [{id: right, type: io.kestra.plugin.core.log.Log, message: "right: {{ inputs.password }}"}]
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: ["{{ inputs.password }}"]
    allowFailure: true
    tasks: [{id: one, type: io.kestra.plugin.core.log.Log, message: "{{ taskrun.value }}"}]
  - id: until
    type: io.kestra.plugin.core.flow.LoopUntil
    condition: "{{ inputs.password != '' }}"
    checkFrequency: {interval: PT0S, maxIterations: 2}
    tasks: [{id: tried, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.password }}"}]
  - id: folder
    type: io.kestra.plugin.core.flow.WorkingDirectory
    tasks: [{id: inside, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.password }}"}]
  - id: child
    type: io.kestra.plugin.core.flow.Subflow
    namespace: company.team
    flowId: takes
    wait: true
    inputs: {token: "{{ inputs.password }}"}
  - {id: fails, type: io.kestra.plugin.core.execution.Fail, errorMessage: "no {{ inputs.password }}"}
errors:
  - {id: told, type: io.kestra.plugin.core.log.Log, message: "it was {{ inputs.password }}, {{ errorLogs() }}"}
outputs:
  - {id: token, type: SECRET, value: "{{ inputs.password }}"}
"""

_TAKES = """id: takes
inputs:
  - {id: token, type: SECRET}
tasks:
  - {id: said, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.token }}"}
outputs:
  - {id: token, type: SECRET, value: "{{ inputs.token }}"}
"""

_FOLLOWS = """id: follows
inputs:
  - {id: token, type: SECRET}
triggers:
  - id: after
    type: io.kestra.plugin.core.trigger.Flow
    inputs: {token: "{{ trigger.outputs.token }}"}
    preconditions: {id: taken, flows: [{namespace: company.team, flowId: takes}]}
tasks:
  - {id: said, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.token }} and {{ trigger.outputs.token }}"}
"""

_AGREED = """id: agreed
inputs:
  - {id: password, type: SECRET}
sla:
  - {id: right, type: EXECUTION_ASSERTION, assert: "{{ inputs.password == 'x' }}", behavior: FAIL}
tasks:
  - {id: first, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.password }}"}
"""


async def _ended(house: House, execution_id: str) -> dict[str, Any]:
    while True:
        execution: dict[str, Any] = await house.call("GET", f"executions/{execution_id}")
        if execution["state"]["current"] in ("SUCCESS", "WARNING", "FAILED", "KILLED"):
            return execution
        await asyncio.sleep(0.02)


async def _started(house: House, flow: str) -> dict[str, Any]:
    form = FormData()
    form.add_field("password", PLANTED)
    answer = await house.client.post(f"{API}/executions/company.team/{flow}?wait=true", data=form)
    execution: dict[str, Any] = await answer.json()
    assert answer.status == 200, execution
    return execution


def _kept(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.timeout(120)
async def test_a_secret_is_nowhere_readable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """INP-13, V22, R11: neither in the log, the index, the files nor in what the server says and answers."""
    async with served(tmp_path) as house:
        for source in (_TAKES, _TRAVELS, _FOLLOWS, _AGREED):
            await house.save(source)
        execution = await _started(house, "travels")
        assert execution["state"]["current"] == "FAILED", [
            (run["taskId"], run["state"]["current"]) for run in execution["taskRunList"]
        ]
        assert {run["taskId"] for run in execution["taskRunList"]} >= {
            "right",
            "inside",
            "tried",
            "fails",
            "told",
        }
        execution_id = execution["id"]
        await house.call("POST", f"executions/{execution_id}/restart")
        await _ended(house, execution_id)
        replayed = await house.call("POST", f"executions/{execution_id}/replay")
        await _ended(house, replayed["id"])
        last = next(run for run in execution["taskRunList"] if run["taskId"] == "child")
        replayed = await house.call("POST", f"executions/{execution_id}/replay?taskRunId={last['id']}")
        await _ended(house, replayed["id"])
        agreed = await _started(house, "agreed")
        assert agreed["state"]["current"] == "FAILED"
        while True:
            page = await house.call("GET", "executions/search?flowId=follows&size=10")
            followers = [one for one in page["results"] if one["flowId"] == "follows"]
            if len(followers) >= 3 and all(one["state"]["current"] == "SUCCESS" for one in followers):
                break
            await asyncio.sleep(0.05)
        answers = []
        for one in (execution_id, replayed["id"], agreed["id"], followers[0]["id"]):
            answers.append(str(await house.call("GET", f"executions/{one}")))
            answers.append(str(await house.call("GET", f"logs/{one}")))
        lines = answers[1]
        assert "***" in lines
    kept = await asyncio.to_thread(_kept, tmp_path)
    assert any(PLAIN.encode() in content for content in kept.values()), "nothing is readable here"
    found = [path for path, content in kept.items() if PLANTED.encode() in content]
    said = capsys.readouterr()
    assert found == []
    assert not [answer for answer in answers if PLANTED in answer]
    assert PLANTED not in said.out + said.err
