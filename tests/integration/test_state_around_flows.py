"""Pairs, namespace files, namespaces and the functions that read them, through a whole process on the embedded log."""

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
from flowtide.model.services import ServiceType
from flowtide.secrets import open_encryption, open_secrets_file
from flowtide.services.process import Process, Surroundings
from flowtide.settings import Settings

LOGIN = {"Authorization": "Basic " + b64encode(b"a@example.org:Secret123").decode()}
KEY = b64encode(bytes(range(32))).decode()
API = "/api/v1/main"


class House:
    """A server, and the host's folder that flows may read."""

    def __init__(self, client: ClientSession, address: str, host: Path, data: Path) -> None:
        self.client = client
        self.address = address
        self.host = host
        self.data = data

    async def save(self, source: str) -> None:
        """Save a flow of company.team; the first line is its id."""
        text = f"namespace: company.team\n{source}"
        async with self.client.post(f"{API}/flows", data=text.encode()) as answer:
            assert answer.status == 200, await answer.text()

    async def run(self, flow: str) -> dict[str, Any]:
        """Run a flow to its end."""
        async with self.client.post(f"{API}/executions/company.team/{flow}?wait=true") as answer:
            execution: dict[str, Any] = await answer.json()
        assert "state" in execution, execution
        return execution

    async def outputs(self, flow: str, task: str = "out") -> dict[str, Any]:
        """The outputs of a task of a new execution, which succeeds."""
        execution = await self.run(flow)
        assert execution["state"]["current"] == "SUCCESS", execution
        found: dict[str, Any] = next(
            run["outputs"] for run in execution["taskRunList"] if run["taskId"] == task
        )
        return found

    async def error(self, flow: str) -> str:
        """Why a new execution fails."""
        execution = await self.run(flow)
        assert execution["state"]["current"] == "FAILED", execution
        lines: list[str] = []
        while not lines:
            async with self.client.get(f"{API}/logs/{execution['id']}?minLevel=ERROR") as answer:
                lines = [line["message"] for line in await answer.json()]
            await asyncio.sleep(0.02)
        return lines[0]

    async def call(self, method: str, path: str, **given: Any) -> Any:
        """Call the API; the answer must be a success."""
        async with self.client.request(method, f"{API}/{path}", **given) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else await answer.read()

    async def upload(self, namespace: str, path: str, content: str) -> None:
        """Write a namespace file."""
        form = FormData()
        form.add_field("fileContent", content.encode(), filename="f")
        await self.call("POST", f"namespaces/{namespace}/files", params={"path": path}, data=form)


@asynccontextmanager
async def served(folder: Path, more: Mapping[str, Any] | None = None) -> AsyncIterator[House]:
    """Everything in one process."""
    host, data = folder / "host", folder / "data"
    await asyncio.to_thread(host.mkdir)
    overrides = {
        "data-path": str(data),
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.basic-auth.username": "a@example.org",
        "server.basic-auth.password": "Secret123",
        "local-files.allowed-paths": [str(host)],
        "encryption.secret-key": KEY,
        "secret.type": "file",
        **(more or {}),
    }
    settings = Settings.load(environment={}, overrides=overrides)
    process = Process(
        settings,
        tuple(ServiceType),
        web_application=web_application,
        surroundings=Surroundings(environment={}, host="test"),
    )
    async with process.serving():
        address = f"http://127.0.0.1:{process.parts['webserver'].port}"
        async with ClientSession(address, headers=LOGIN) as client:
            yield House(client, address, host, data)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A running server."""
    async with served(tmp_path) as started:
        yield started


async def test_pairs_travel_between_tasks_and_expressions(house: House) -> None:
    """RUN-12 to RUN-15, KVS-04, KVS-05, trap 9: what one task sets the next expression reads, typed."""
    await house.save("""
id: pairs
inputs:
  - {id: before, type: STRING, defaults: "{{ kv('text', errorOnMissing=false) ?? 'none' }}"}
tasks:
  - {id: text, type: io.kestra.plugin.core.kv.Set, key: text, value: '{"song": "x"}', kvDescription: why}
  - id: json
    type: io.kestra.plugin.core.kv.Set
    key: "typed_{{ flow.id }}"
    kvType: JSON
    value: '{"a": [1, 2]}'
    ttl: P1D
  - {id: keys, type: io.kestra.plugin.core.kv.GetKeys, prefix: "t"}
  - {id: get, type: io.kestra.plugin.core.kv.Get, key: typed_pairs}
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: "{{ kv('typed_pairs').a }}"
    tasks:
      - {id: one, type: io.kestra.plugin.core.kv.Set, key: "each_{{ taskrun.value }}", value: x, namespace: company}
  - {id: gone, type: io.kestra.plugin.core.kv.Delete, key: typed_pairs}
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values:
      before: "{{ inputs.before }}"
      song: "{{ json(kv('text')).song }}"
      keys: "{{ outputs.keys.keys }}"
      got: "{{ outputs.get.value.a[1] }}"
      gone: "{{ outputs.gone.deleted }} {{ kv('typed_pairs', namespace, false) ?? 'gone' }}"
      other: "{{ kv('each_1', 'company') }}{{ kv(key='each_2', namespace='company') }}"
""")
    first = (await house.outputs("pairs"))["values"]
    assert first == {
        "before": "none",
        "song": "x",
        "keys": '["text","typed_pairs"]',
        "got": "2",
        "gone": "true gone",
        "other": "xx",
    }
    assert (await house.outputs("pairs"))["values"]["before"] == '{"song": "x"}'
    pairs = await house.call("GET", "namespaces/company.team/kv")
    assert [(each["key"], each["version"], each["description"]) for each in pairs] == [("text", 2, "why")]


async def test_what_is_missing_or_refused_says_so(house: House) -> None:
    """H, FIL-03, NSP-06: a missing key raises; the host's files and other namespaces need permission."""
    flow = '\nid: {}\ntasks: [{{id: a, type: io.kestra.plugin.core.log.Log, message: "{{{{ {} }}}}"}}]\n'
    await house.save(flow.format("missing", "kv('nothing')"))
    assert "The key 'nothing' does not exist in the namespace 'company.team'" in await house.error("missing")
    await house.save(flow.format("host", "read('file:///etc/hostname')"))
    assert "The path /etc/hostname is not authorized. Only files inside the working directory" in (
        await house.error("host")
    )
    await house.save(flow.format("scheme", "read('ftp://x/y')"))
    assert "scheme ftp not supported" in await house.error("scheme")
    await house.call("POST", "namespaces", json={"id": "closed", "allowedNamespaces": []})
    await house.upload("closed", "a.txt", "1")
    await house.save(flow.format("closed", "read('nsfile://closed/a.txt')"))
    assert "does not let flows of `company.team`" in await house.error("closed")
    await house.save("""
id: twice
tasks:
  - {id: one, type: io.kestra.plugin.core.kv.Set, key: once, value: x}
  - {id: two, type: io.kestra.plugin.core.kv.Set, key: once, value: y, overwrite: false}
""")
    assert "exists in the namespace" in await house.error("twice")


async def test_files_by_every_protocol(house: House) -> None:
    """FIL-01, FIL-02, NSF-05, N09, N10, N35 to N37: stored, of a namespace, of the host; FILE defaults too."""
    await asyncio.to_thread((house.host / "h.txt").write_text, "host")
    for namespace, path, content in (
        ("company.team", "sql/q.sql", "one"),
        ("company.team", "sql/q.sql", "two"),
        ("company", "sql/q.sql", "parent"),
        ("company.team", "empty", ""),
    ):
        await house.upload(namespace, path, content)
    await house.save(f"""
id: files
inputs: [{{id: file, type: FILE, defaults: "nsfile:///sql/q.sql"}}]
tasks:
  - id: up
    type: io.kestra.plugin.core.namespace.UploadFiles
    destination: /up
    filesMap: {{a.txt: "text {{{{ flow.id }}}}", b.txt: "nsfile://company/sql/q.sql", c.txt: "file://{house.host}/h.txt"}}
  - {{id: down, type: io.kestra.plugin.core.namespace.DownloadFiles, files: ["/up/*.txt"]}}
  - id: script
    type: io.kestra.plugin.scripts.shell.Commands
    taskRunner: {{type: io.kestra.plugin.core.runner.Process}}
    namespaceFiles: {{include: ["up/**"], exclude: ["b.txt"]}}
    inputFiles: {{parent.sql: "nsfile://company/sql/q.sql", host.txt: "file://{house.host}/h.txt"}}
    outputFiles: ["all.csv"]
    commands: ["ls up > all.csv; cat parent.sql host.txt >> all.csv"]
  - {{id: del, type: io.kestra.plugin.core.namespace.DeleteFiles, files: "up/**", deleteParentFolder: true}}
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values:
      input: "{{{{ read(inputs.file) }}}}"
      own: "{{{{ read('sql/q.sql') }}}} {{{{ read('sql/q.sql', namespace='company') }}}}"
      older: "{{{{ read('sql/q.sql', revision=1) }}}} {{{{ read('sql/q.sql.v1') }}}}"
      uri: "{{{{ read(fileURI('sql/q.sql')) }}}}"
      host: "{{{{ read('file://{house.host}/h.txt') }}}}"
      down: "{{{{ read(outputs.down.files['/up/b.txt']) }}}} {{{{ read(outputs.down.files['/up/c.txt']) }}}}"
      script: "{{{{ read(outputs.script.outputFiles['all.csv']) }}}}"
      facts: "{{{{ fileSize('sql/q.sql') }}}} {{{{ isFileEmpty('empty') }}}} {{{{ fileExists('up/a.txt') }}}}"
""")
    execution = await house.run("files")
    assert execution["state"]["current"] == "SUCCESS", execution
    runs = {run["taskId"]: run["outputs"] for run in execution["taskRunList"]}
    assert runs["out"]["values"] == {
        "input": "two",
        "own": "two parent",
        "older": "one one",
        "uri": "two",
        "host": "host",
        "down": "parent host",
        "script": "a.txt\nc.txt\nparenthost",
        "facts": "3 true false",
    }
    assert runs["del"] == {"deleted": 3}
    query = {"path": runs["script"]["outputFiles"]["all.csv"], "maxRows": "1"}
    shown = await house.call("GET", f"executions/{execution['id']}/file/preview", params=query)
    assert shown == {"extension": "csv", "type": "LIST", "content": [{"a.txt": "c.txt"}], "truncated": True}


async def test_namespaces_hand_down(house: House) -> None:
    """V32, PLD-04: variables and plugin defaults of the namespaces above; a change is in the next execution."""
    await house.save("""
id: inherits
tasks:
  - {id: log, type: io.kestra.plugin.core.debug.Return}
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values: {token: "{{ namespace.github.token ?? 'none' }}", own: "{{ render(namespace.own ?? '') }}"}
""")
    assert (await house.outputs("inherits"))["values"] == {"token": "none", "own": ""}
    returned = [{"type": "io.kestra.plugin.core.debug", "values": {"format": "from {{ flow.namespace }}"}}]
    company = {
        "id": "company",
        "variables": {"github.token": "abc", "own": "far"},
        "pluginDefaults": returned,
    }
    await house.call("POST", "namespaces", json=company)
    team = {"id": "company.team", "variables": {"own": "{{ flow.id }}"}}
    await house.call("PUT", "namespaces/company.team", json=team)
    execution = await house.run("inherits")
    runs = {run["taskId"]: run["outputs"] for run in execution["taskRunList"]}
    assert runs["out"]["values"] == {"token": "abc", "own": "inherits"}
    assert runs["log"] == {"value": "from company.team"}


async def test_errors_are_read_by_handlers(house: House) -> None:
    """N18: errorLogs() gives the lines of the execution, which may still be on their way to the index."""
    await house.save("""
id: handled
tasks: [{id: bad, type: io.kestra.plugin.core.execution.Fail, errorMessage: on purpose}]
errors:
  - id: out
    type: io.kestra.plugin.core.output.OutputValues
    values: {first: "{{ errorLogs()[0].message }}", port: "{{ randomPort() > 1023 }}"}
""")
    execution = await house.run("handled")
    outputs = next(run for run in execution["taskRunList"] if run["taskId"] == "out")["outputs"]
    assert outputs["values"] == {"first": "on purpose", "port": "true"}


async def test_answers_of_other_servers_are_choices(house: House) -> None:
    """N34: http() in the expression of an input, here asked of this very server."""
    await house.upload("company.team", "x", "1")
    headers = "{" + f"'Authorization': '{LOGIN['Authorization']}'" + "}"
    await house.save(f"""
id: asks
inputs:
  - id: choice
    type: SELECT
    expression: >-
      {{{{ http(uri='{house.address}{API}/namespaces/company.team/files/search', query={{'q': ''}},
      headers={headers}) }}}}
    defaults: /x
tasks: [{{id: out, type: io.kestra.plugin.core.output.OutputValues, values: {{choice: "{{{{ inputs.choice }}}}"}}}}]
""")
    assert (await house.outputs("asks"))["values"] == {"choice": "/x"}


async def test_secrets_of_the_file(house: House) -> None:
    """SEC-01, N07: a secret that is set while the server runs is seen by its namespace and those below, and masked."""
    await house.save("""
id: secret
tasks: [{id: out, type: io.kestra.plugin.core.output.OutputValues, values: {length: "{{ secret('KEY') | length }}"}}]
""")
    assert "flowtide secrets set" in await house.error("secret")
    file = open_secrets_file({}, open_encryption(KEY), house.data)
    await asyncio.to_thread(file.set, tenant_id="main", namespace="company", name="KEY", value="hunter22")
    assert (await house.outputs("secret"))["values"] == {"length": "8"}
    assert b"hunter22" not in await asyncio.to_thread((house.data / "secrets.json").read_bytes)
    listed = await house.call("GET", "secrets")
    assert listed == {
        "readOnly": True,
        "results": [{"namespace": "company", "key": "KEY", "tags": []}],
        "total": 1,
    }


async def test_a_namespace_with_a_file_of_its_own(house: House) -> None:
    """ISO-03, NSM-08: its secrets come from there, are listed by their keys, and no other namespace sees them."""
    path = house.data / "apart.json"
    own = {"id": "company.apart", "secretType": "file", "secretConfiguration": {"path": str(path)}}
    await house.call("POST", "namespaces", json=own)
    file = open_secrets_file({"path": str(path)}, open_encryption(KEY), None)
    for namespace in ("company.apart", "company"):
        await asyncio.to_thread(file.set, tenant_id="main", namespace=namespace, name="KEY", value="hunter22")
    text = "tasks: [{id: out, type: io.kestra.plugin.core.debug.Return, format: \"{{ secret('KEY') | length }}\"}]"
    header = {"Content-Type": "application/x-yaml"}
    await house.call("POST", "flows", data=f"id: own\nnamespace: company.apart\n{text}", headers=header)
    ended = await house.call("POST", "executions/company.apart/own?wait=true")
    assert ended["taskRunList"][0]["outputs"] == {"value": "8"}
    await house.save(f"id: other\n{text}")
    assert "there is no secret `KEY`" in await house.error("other")
    listed = await house.call("GET", "secrets")
    assert [(each["namespace"], each["key"]) for each in listed["results"]] == [("company.apart", "KEY")]


async def test_triggers_read_files_and_pairs(house: House) -> None:
    """NSF-11: the inputs of a schedule are rendered with files and pairs of the flow's namespace."""
    await house.upload("company.team", "a.txt", "file")
    await house.call("PUT", "namespaces/company.team/kv/k", data=b'"pair"')
    await house.save("""
id: scheduled
inputs: [{id: both, type: STRING}]
tasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: "{{ inputs.both }}"}]
triggers:
  - id: often
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "* * * * * *"
    withSeconds: true
    inputs: {both: "{{ read('a.txt') }} and {{ kv('k') }}"}
""")
    inputs = None
    while inputs is None:
        async with house.client.get(f"{API}/executions/search?flowId=scheduled&size=1") as answer:
            found = (await answer.json())["results"]
        inputs = found[0]["inputs"] if found else None
        await asyncio.sleep(0.05)
    assert inputs == {"both": "file and pair"}


async def test_expired_pairs_are_removed(tmp_path: Path) -> None:
    """KVS-03, PURGE-7: the job of the server removes them, as the settings say."""
    quick = {"kv.purge-expired.initial-delay": "PT0.05S", "kv.purge-expired.fixed-delay": "PT0.05S"}
    async with served(tmp_path, quick) as house:
        await house.call(
            "PUT", "namespaces/company.team/kv/k", data=b'"' + b"x" * 9_000 + b'"', headers={"ttl": "PT0.1S"}
        )
        folder = house.data / "storage" / "main" / "company" / "team" / "_kv"
        while await asyncio.to_thread(lambda: list(folder.iterdir())):  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(0.02)


async def test_namespaces_keep_others_from_their_flows_and_lead_to_their_workers(house: House) -> None:
    """NSM-13: subflows and Flow triggers of others are kept out as pairs are; NSM-07: the default group counts."""
    header = {"Content-Type": "application/x-yaml"}
    log = "tasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: hi}]"
    closed = f"id: own\nnamespace: closed\n{log}"
    await house.call("POST", "flows", data=closed, headers=header)
    await house.save("""
id: calls
tasks: [{id: sub, type: io.kestra.plugin.core.flow.Subflow, namespace: closed, flowId: own}]
""")
    listens = "triggers: [{id: up, type: io.kestra.plugin.core.trigger.Flow, states: [SUCCESS]}]"
    await house.save(f"id: listens\n{listens}\n{log}")
    await house.call("POST", "flows", data=f"id: near\nnamespace: closed\n{listens}\n{log}", headers=header)
    await house.call("POST", "namespaces", json={"id": "closed", "allowedNamespaces": []})
    assert "does not let flows of `company.team`" in await house.error("calls")
    await house.call("POST", "executions/closed/own?wait=true")

    async def started(namespace: str, flow: str) -> int:
        query = {"namespace": namespace, "flowId": flow}
        found: int = (await house.call("GET", "executions/search", params=query))["total"]
        return found

    while True:
        if await started("closed", "near"):
            break
        await asyncio.sleep(0.05)
    assert await started("company.team", "listens") == 0
    group = {"key": "nobody", "fallback": "FAIL"}
    await house.call("PUT", "namespaces/closed", json={"id": "closed", "workerGroup": group})
    ended = await house.call("POST", "executions/closed/own?wait=true")
    assert ended["state"]["current"] == "FAILED"
