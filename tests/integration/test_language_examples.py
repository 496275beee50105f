"""The examples that the classes show, each saved and run once on one server, as a reader of the pages would."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import yaml

from flowtide.services.plugins import discover_plugins
from flowtide.testing.servers import ALL, QUICK, Api, Server, embedded_shape

HELLO = """
id: hello
namespace: company.team
inputs: [{id: name, type: STRING, required: false}]
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: hello}]
"""
# What an example needs that is not on every machine.
ELSEWHERE = {
    "io.kestra.plugin.core.http.Download": "a web server",
    "io.kestra.plugin.core.http.Request": "a web server",
    "io.kestra.plugin.core.flow.ForEachItem": "flows that it calls",
    "io.kestra.plugin.core.flow.Template": "templates, which are switched off",
    "io.kestra.plugin.core.flow.LoopUntil": "minutes",
    "io.kestra.plugin.core.flow.Sleep": "seconds",
    "io.kestra.plugin.core.namespace.UploadFiles": "files that are there",
    "io.kestra.plugin.core.namespace.DownloadFiles": "files that are there",
    "io.kestra.plugin.core.namespace.DeleteFiles": "files that are there",
    "io.kestra.plugin.core.trigger.Toggle": "a flow with a trigger",
}
FLOWS = {
    name: yaml.safe_load(plugin.example)
    for kind, name, plugin in discover_plugins()
    if kind == "task" and "$" not in name and ".scripts." not in name and name not in ELSEWHERE
}


def _needs_nothing(flow: dict[str, Any]) -> bool:
    """Whether every task of the example, at any depth, runs without what is elsewhere."""
    text = yaml.safe_dump(flow)
    if any("defaults" not in each and each.get("required", True) for each in flow.get("inputs", ())):
        return False  # somebody has to give it a file
    return not any(f"type: {name}\n" in text for name in ELSEWHERE) and ".scripts." not in text


async def test_examples_run_as_their_pages_say(tmp_path: Path) -> None:
    """Every example that needs nothing outside ends well; editors get the schema from the server."""
    chosen = {name: flow for name, flow in FLOWS.items() if _needs_nothing(flow)}
    assert len(chosen) > 25
    with Server(embedded_shape(tmp_path, QUICK), ALL, name="standalone") as server:
        await server.start()
        async with Api(server.port) as api:
            schema = await api.call("GET", "/schemas/flow.json")
            assert (schema.status, "io.kestra.plugin.core.log.Log" in schema.text) == (200, True)
            await api.must_save(HELLO)
            for number, (name, flow) in enumerate(chosen.items()):
                flow["id"] = f"example_{number}"
                await api.must_save(yaml.safe_dump(flow, sort_keys=False))
                assert name in str(flow)
            ids = {}
            for number, (name, flow) in enumerate(chosen.items()):
                answer = await api.start(flow["namespace"], f"example_{number}")
                assert answer.status == 200, (name, answer)
                ids[name] = answer.body["id"]
            ended = await asyncio.gather(*(api.ended(each) for each in ids.values()))
    states = {name: each["state"]["current"] for name, each in zip(ids, ended, strict=True)}
    assert {name: state for name, state in states.items() if state not in ("SUCCESS", "WARNING")} == {}
