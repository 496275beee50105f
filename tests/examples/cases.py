"""An example of the documentation as a case: its YAML made a whole flow, saved, run and looked at through the API.

In come the example's text and its line of the table; out goes what was seen.  State is the server's alone: a flow is
deleted when its case is over, so that examples of one name can follow each other.
"""

from __future__ import annotations

import asyncio
import re
import textwrap
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from flowtide.testing.servers import TERMINAL, Answer, Api

_FLOW_KEYS = {"inputs", "tasks", "triggers", "errors", "pluginDefaults", "variables", "listeners", "outputs"}
_FLOW_KEYS |= {"finally", "afterExecution", "concurrency", "labels", "sla", "checks", "retry", "namespace"}
_HELLO = {"id": "example", "type": "io.kestra.plugin.core.log.Log", "message": "Hello"}
_SHELL = "id: example\ntype: io.kestra.plugin.scripts.shell.Commands\ncommands: [echo Hello]\n"
DOCKER = re.compile(r"io\.kestra\.plugin\.scripts\.runner\.docker\.Docker\b")
_DEPENDENCIES = re.compile(r"^( *)dependencies:\n(?:\1  - .*\n)+", re.M)
_INSTALLS = re.compile(r"^( +- )pip install\b.*$", re.M)
PROCESS = "io.kestra.plugin.core.runner.Process"


def whole(text: str, name: str) -> str:
    """A part of a flow as a flow: what flows have at their top is completed, tasks and what is in one are put there."""
    part = yaml.safe_load(text)
    if isinstance(part, list):
        key = "pluginDefaults" if all("id" not in each for each in part) else "tasks"
        return whole(f"{key}:\n" + textwrap.indent(text, "  "), name)
    if "type" in part:
        text = text if "id" in part else f"id: example\n{text}"
        key = "triggers" if ".trigger." in part["type"] else "tasks"
        return whole(f"{key}:\n" + _item(text), name)
    if not part.keys() & _FLOW_KEYS or part.keys() == {"retry"}:
        task = {"message": "log.Log", "format": "debug.Return"}.get(next(iter(part)))
        head = f"id: example\ntype: io.kestra.plugin.core.{task}\n" if task else _SHELL
        return whole("tasks:\n" + _item(head + text), name)
    missing = {"id": re.sub(r"\W", "-", name), "namespace": "company.team", "tasks": [_HELLO]}
    top = yaml.safe_dump({key: value for key, value in missing.items() if key not in part}, sort_keys=False)
    return f"{top}{text}"


def _item(text: str) -> str:
    return "  - " + textwrap.indent(text, "    ")[4:]


@dataclass
class Seen:
    """What became of an example."""

    refused: str | None = None  # why the API did not take the flow, or the execution
    state: str | None = None
    execution: Mapping[str, Any] = field(default_factory=dict)
    logs: list[tuple[str, str]] = field(default_factory=list)  # level and message, in the order of the API
    answer: Any = None  # what a webhook said that gives the outputs


class Stage:
    """One running installation with what the pages assume, on which examples are run, several at once."""

    def __init__(self, api: Api, address: str, folder: Path, hosts: Iterable[str], width: int = 8) -> None:
        self.api = api
        self._address = address  # of the web server that stands in for others
        self._folder = folder  # of the host, which flows may read
        self._hosts = re.compile(r"https?://(" + "|".join(map(re.escape, hosts)) + r")(?=[/?\s\"'`]|$)", re.M)
        self._turns = asyncio.Semaphore(width)
        self._locks: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def placed(self, text: str, case: Mapping[str, Any]) -> str:
        """The source with this machine's addresses, and what the table says is written differently here."""
        text = self._hosts.sub(lambda match: f"{self._address}/{match[1]}", text)
        if case.get("process"):
            text = DOCKER.sub(PROCESS, text)
        if case.get("provided"):
            text = _INSTALLS.sub(r"\1echo provided", _DEPENDENCIES.sub("", text))
        return text

    async def prepare(self, told: Mapping[str, Any]) -> None:
        """Store what the pages assume: `files` and `pairs` by namespace, and `flows`."""
        for namespace, files in told.get("files", {}).items():
            for path, content in files.items():
                form = aiohttp.FormData()
                form.add_field("fileContent", content.encode(), filename=path)
                answer = await self.api.call(
                    "POST", f"/namespaces/{namespace}/files", params={"path": f"/{path}"}, data=form
                )
                assert answer.status < 300, answer
        for template in told.get("templates", ()):
            answer = await self.api.call("POST", "/templates", data=template.encode())
            assert answer.status < 300, answer
        for namespace, pairs in told.get("pairs", {}).items():
            for key, value in pairs.items():
                answer = await self.api.call("PUT", f"/namespaces/{namespace}/kv/{key}", data=value.encode())
                assert answer.status < 300, answer

    async def show(self, text: str, case: Mapping[str, Any]) -> Seen:
        """Save the flow, with those it needs, run it as the case says and give what was seen."""
        for old, new in case.get("rewritten", {}).items():
            assert old in text, f"`{old}` is not in the example"
            text = text.replace(old, new.replace("{folder}", str(self._folder)))
        sources = [self.placed(source, case) for source in (*case.get("flows", ()), text)]
        documents = [yaml.safe_load(source) for source in sources]
        names = {f"{each.get('namespace')}/{each.get('id')}" for each in documents}
        # Examples of one name follow each other, and so do those that share key-value pairs.
        locks = sorted(names | ({"pairs"} if re.search(r"\bkv\(|core\.kv\.", text) else set()))
        async with AsyncExitStack() as stack:
            for name in locks:
                await stack.enter_async_context(self._locks[name])
            await stack.enter_async_context(self._turns)
            return await self._show(sources, documents, case)

    async def _show(self, sources: list[str], documents: list[Any], case: Mapping[str, Any]) -> Seen:
        if "set-up" in case:
            await self.prepare(case["set-up"])
        saved: list[Any] = []
        try:
            for source, document in zip(sources, documents, strict=True):
                answer = await self.api.save(source)
                if answer.status != 200:
                    return Seen(refused=_message(answer))
                saved.append(document)
            if "not run" in case:
                return Seen()
            return await self._run(documents[-1], case)
        finally:
            for document in saved:
                answer = await self.api.call("DELETE", f"/flows/{document['namespace']}/{document['id']}")
                assert answer.status < 300 or answer.status == 422, answer

    async def _run(self, flow: Mapping[str, Any], case: Mapping[str, Any]) -> Seen:
        started = await self._started(flow, case)
        if started.status != 200:
            return Seen(refused=_message(started))
        if "answers" in case:
            return Seen(answer=started.body)
        execution_id = started.body["id"]
        if "resume" in case:
            await self.until(execution_id, {"PAUSED"})
            form = _form(case["resume"])
            resumed = await self.api.call("POST", f"/executions/{execution_id}/resume", data=form)
            assert resumed.status < 300, resumed
        wanted = (
            {case["state"]} if case.get("state") in {"PAUSED", "QUEUED", "CREATED", "RUNNING"} else TERMINAL
        )
        execution = await self.until(execution_id, set(wanted))
        if not wanted & TERMINAL:
            await self.api.call("DELETE", f"/executions/{execution_id}/kill")
            killed = await self.until(execution_id, set(TERMINAL))
            assert killed["state"]["current"] == "KILLED", killed
        lines = await self._lines(execution_id, case)
        return Seen(state=execution["state"]["current"], execution=execution, logs=lines)

    async def _lines(
        self, execution_id: str, case: Mapping[str, Any], patience_seconds: float = 20.0
    ) -> list[tuple[str, str]]:
        """The lines of the execution, of which the index may have those that are expected a moment later."""
        ends = time.monotonic() + patience_seconds
        while True:
            lines = [(line["level"], line["message"]) for line in await self.api.logs(execution_id)]
            if not _missing(case, lines) or time.monotonic() > ends:
                return lines
            await asyncio.sleep(0.2)

    async def _started(self, flow: Mapping[str, Any], case: Mapping[str, Any]) -> Answer:
        path = f"{flow['namespace']}/{flow['id']}"
        if "webhook" in case:
            return await self.api.call(
                "POST",
                f"/executions/webhook/{path}/{case['webhook']}",
                json=case.get("body"),
                headers=case.get("headers"),
            )
        inputs = {name: self.placed(value, {}) for name, value in case.get("inputs", {}).items()}
        files = case.get("files", {})
        return await self.api.call("POST", f"/executions/{path}", data=_form(inputs, files))

    async def until(
        self, execution_id: str, states: set[str], patience_seconds: float = 180.0
    ) -> dict[str, Any]:
        """The execution in one of the states, with all its task runs; or as it is when patience ends."""
        ends = time.monotonic() + patience_seconds
        while True:
            execution = await self.api.execution(execution_id)
            if execution is not None and (
                time.monotonic() > ends
                or (
                    execution["state"]["current"] in states
                    and len(execution["taskRunList"]) == execution["taskRunCount"]["total"]
                )
            ):
                return execution
            assert time.monotonic() < ends, f"there is no execution {execution_id}"
            await asyncio.sleep(0.1)


def differences(case: Mapping[str, Any], seen: Seen) -> list[str]:
    """What was seen otherwise than the line of the table says; empty when all is as it says."""
    if seen.refused is not None or "refused" in case:
        expected = case.get("refused")
        as_said = expected is not None and seen.refused is not None and expected in seen.refused
        return [] if as_said else [f"refused: {seen.refused!r}, not {expected!r}"]
    if "answers" in case:
        return [] if seen.answer == case["answers"] else [f"answers: {seen.answer!r}"]
    found = _missing(case, seen.logs)
    if seen.state != case["state"]:
        found.append(
            f"state: {seen.state}, {[line for line in seen.logs if line[0] in ('ERROR', 'WARN')][:4]}"
        )
    runs = {run["taskId"]: run for run in seen.execution["taskRunList"] if run.get("value") is None}
    for task, outputs in case.get("outputs", {}).items():
        given = runs[task].get("outputs") or {} if task in runs else {}
        if {name: given.get(name) for name in outputs} != outputs:
            found.append(f"outputs of {task}: {given}")
    for task, state in case.get("runs", {}).items():
        if task not in runs or runs[task]["state"]["current"] != state:
            found.append(f"runs: {task} is {runs[task]['state']['current'] if task in runs else 'missing'}")
    for task, count in case.get("attempts", {}).items():
        if len(runs[task]["attempts"]) != count:
            found.append(f"attempts of {task}: {len(runs[task]['attempts'])}")
    found += [f"without: {task} ran" for task in case.get("without", ()) if task in runs]
    if "task runs" in case and len(seen.execution["taskRunList"]) != case["task runs"]:
        found.append(f"task runs: {len(seen.execution['taskRunList'])}")
    if "gives" in case and seen.execution.get("outputs") != case["gives"]:
        found.append(f"gives: {seen.execution.get('outputs')}")
    labels = {label["key"]: label["value"] for label in seen.execution.get("labels") or ()}
    if not labels.items() >= case.get("labels", {}).items():
        found.append(f"labels: {labels}")
    return found


def _missing(case: Mapping[str, Any], lines: list[tuple[str, str]]) -> list[str]:
    messages = [message for _, message in lines]
    found = [f"logs: no {expected!r}" for expected in case.get("logs", ()) if expected not in messages]
    error = case.get("error")
    if error is not None and not any(level == "ERROR" and error in message for level, message in lines):
        found.append(f"error: no {error!r}")
    return found


def _form(
    values: Mapping[str, str], files: Mapping[str, str] | None = None
) -> aiohttp.MultipartWriter | None:
    if not values and not files:
        return None
    form = aiohttp.MultipartWriter("form-data")
    for name, value in values.items():
        form.append(BytesIO(value.encode())).set_content_disposition("form-data", name=name)
    for name, content in (files or {}).items():
        part = form.append(BytesIO(content.encode()))
        part.set_content_disposition("form-data", name=name, filename=f"{name}.txt")
    return form


def _message(answer: Answer) -> str:
    return (
        str(answer.body["message"])
        if isinstance(answer.body, dict) and "message" in answer.body
        else str(answer)
    )
