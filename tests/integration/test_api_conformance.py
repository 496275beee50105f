"""Every operation of the OpenAPI document against a running server: made-up requests in, answers as described out.

A few requests of each kind by default; `make fuzz` makes many.  A failure names the request as a `curl` command.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from flowtide.api.openapi import openapi
from tests.integration.api_standalone import LOGIN, standalone

EXAMPLES = max(2, int(os.environ.get("FLOWTIDE_FUZZ_EXAMPLES", "0")) // 200)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ANSWER_SECONDS = 30
NAMESPACE = "fuzz.team"
FLOW = """\
id: sample
namespace: fuzz.team
labels: {team: fuzz}
inputs: [{id: word, type: STRING, defaults: hello}]
variables: {depth: {of: it}}
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.word }}"}
  - {id: give, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.word }}"}
outputs: [{id: word, type: STRING, value: "{{ outputs.give.value }}"}]
triggers:
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: thekey}
  - {id: daily, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 4 * * *"}
"""
DASHBOARD = """\
id: board
title: Board
timeWindow: {default: P30D, max: P365D}
charts:
  - id: table
    type: io.kestra.plugin.core.dashboard.chart.Table
    chartOptions: {displayName: Executions}
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns: {id: {field: ID}, state: {field: STATE}}
"""

DOCUMENT = openapi()
TAGS = sorted({each["tags"][0] for path in DOCUMENT["paths"].values() for each in path.values()})


@dataclass(frozen=True, kw_only=True)
class Target:
    """A running server with something in it."""

    url: str
    schema: Any
    known: dict[str, str]  # parameters of paths


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A standalone server of its own, with a flow that ran and a thing of each kind."""
    with standalone(tmp_path_factory.mktemp("fuzz")) as url:
        known = _fill(url)
        schema = schemathesis.openapi.from_dict(DOCUMENT)
        schema.config.generation.update(with_security_parameters=False)
        yield Target(url=url, schema=schema, known=known)


def _fill(url: str) -> dict[str, str]:
    api = requests.Session()
    api.headers["Authorization"] = LOGIN
    root = f"{url}/api/v1/main"
    yaml = {"Content-Type": "application/x-yaml"}

    def ask(method: str, path: str, **arguments: Any) -> Any:
        answer = api.request(
            method, path if "://" in path else root + path, timeout=ANSWER_SECONDS, **arguments
        )
        assert answer.ok, (method, path, answer.status_code, answer.text)
        return answer.json() if answer.text else None

    ask("POST", "/flows", data=FLOW, headers=yaml)
    ask("POST", "/dashboards", data=DASHBOARD, headers=yaml)
    execution = ask("POST", f"/executions/{NAMESPACE}/sample?wait=true")
    ask("PUT", f"/namespaces/{NAMESPACE}/kv/key", data='"value"', headers={"Content-Type": "text/plain"})
    ask("POST", f"/namespaces/{NAMESPACE}/files?path=/a.txt", files={"fileContent": ("a.txt", b"text")})
    blueprint = ask(
        "POST", "/blueprints/flows", json={"title": "A", "description": "b", "source": FLOW, "tags": ["t"]}
    )
    instance = f"{url}/api/v1"
    user = ask("POST", f"{instance}/users", json={"email": "fuzz@example.org", "password": "Fuzz12345"})
    group = ask("POST", "/groups", json={"name": "fuzzers"})
    role = ask("POST", "/roles", json={"name": "fuzzer", "permissions": {"FLOW": ["READ"]}})
    return {
        "tenant": "main",
        "namespace": NAMESPACE,
        "flowId": "sample",
        "executionId": execution["id"],
        "taskRunId": execution["taskRunList"][0]["id"],
        "taskId": "say",
        "triggerId": "hook",
        "key": "key",
        "kind": "flow",
        "chartId": "table",
        "metric": "duration",
        "serviceType": "EXECUTOR",
        "schemaType": "flow",
        "inputType": "STRING",
        "cls": "io.kestra.plugin.core.log.Log",
        "tenantId": "main",
        "userId": user["id"],
        "id:flows": "sample",
        "id:executions": "sample",
        "id:dashboards": "board",
        "id:namespaces": NAMESPACE,
        "id:blueprints": blueprint["id"],
        "id:users": user["id"],
        "id:groups": group["id"],
        "id:roles": role["id"],
        "id:tenants": "main",
    }


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tag", TAGS)
def test_answers_are_as_described(tag: str, target: Target) -> None:
    """No operation answers 500, or a status, a content type or a document that the description does not have."""
    found: dict[str, list[str]] = defaultdict(list)
    operations = [result.ok() for result in target.schema.get_all_operations()]
    for operation in operations:
        if operation.definition.raw["tags"][0] != tag:
            continue
        _explore(operation, GenerationMode.POSITIVE, target, found)
        if operation.query or operation.body:  # any text may stand in a path
            _explore(operation, GenerationMode.NEGATIVE, target, found)
    assert not found, "\n\n".join(f"{name}:\n" + "\n".join(lines) for name, lines in found.items())


def _explore(operation: Any, mode: GenerationMode, target: Target, found: dict[str, list[str]]) -> None:
    """Make requests of one operation; the first failure of each kind is noted."""
    seen: set[str] = set()

    @seed(20_26)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: Case[Any]) -> None:
        _make_known(case, target.known)
        try:
            case.call_and_validate(
                base_url=target.url,
                headers={"Authorization": LOGIN},
                checks=CHECKS,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
            )
        except FailureGroup as group:
            for failure in group.exceptions:
                if type(failure).__name__ not in seen:
                    seen.add(type(failure).__name__)
                    found[operation.label].append(f"{mode.name}: {failure}\n{case.as_curl_command()}")

    with suppress(Unsatisfiable):  # of some parameters nothing is wrong, and text is all that can be sent
        explore()


def _make_known(case: Case[Any], known: dict[str, str]) -> None:
    """Let most parameters of the path name what is there, as what is not there answers 404 and shows little."""
    if case.path.endswith("/replay/by-query"):  # each one of all would double what is there
        case.query = {**(case.query or {}), "filters[id][EQUALS]": known["executionId"]}
    for name, made_up in dict(case.path_parameters or {}).items():
        area = case.path.removeprefix("/api/v1/").removeprefix("{tenant}/").partition("/")[0]
        value = known.get(f"{name}:{area}") or known.get(name)
        if value is not None and (name == "tenant" or crc32(str(made_up).encode()) % 4):
            case.path_parameters[name] = value
