"""Secrets, credentials, the audit log and the operations of an installation, over HTTP on a whole process."""

from __future__ import annotations

import asyncio
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flowtide.cli.web import web_application
from flowtide.log.topics import load_topics
from flowtide.model.services import ServiceType
from flowtide.services.process import Process, Surroundings
from flowtide.settings import Settings
from flowtide.testing.servers import kafka_shape
from tests.integration.outside import remove_topics_and_indices

LOGIN = {"Authorization": "Basic " + b64encode(b"a@example.org:Secret123").decode()}
NEEDLE = "Xyzzyplugh77"
LATER = "Frotzblorb55"
TELL = """
id: tell
namespace: company.team
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: "value {{ secret('API_KEY') }} said"}
"""
SLEEP = """
id: sleep
namespace: company.team
tasks:
  - {id: first, type: io.kestra.plugin.core.http.Request, uri: "ADDRESS"}
  - {id: second, type: io.kestra.plugin.core.log.Log, message: never}
"""


class Client:
    """A logged-in client that reads JSON and waits for what it is told to wait for."""

    def __init__(self, session: ClientSession, process: Process) -> None:
        self._session = session
        self.process = process
        self.seen: list[str] = []  # every answer

    async def call(self, method: str, path: str, body: Any = None, *, status: int = 200, **more: Any) -> Any:
        """One request below /api/v1 whose status is known; gives the JSON of the answer, or its text."""
        arguments: dict[str, Any] = {} if body is None else {"json": body}
        if isinstance(body, str):
            arguments = {"data": body}
        async with self._session.request(method, f"/api/v1{path}", **arguments, **more) as response:
            text = await response.text()
            self.seen.append(text)
            assert response.status == status, f"{method} {path}: {response.status} {text[:500]}"
            return await response.json() if response.content_type == "application/json" and text else text

    async def flow(self, source: str) -> None:
        """Save a flow."""
        await self.call("POST", "/main/flows", source, headers={"Content-Type": "application/x-yaml"})

    async def run(self, flow: str, *, wait: bool = True) -> dict[str, Any]:
        """Run a flow of the namespace."""
        found: dict[str, Any] = await self.call(
            "POST", f"/main/executions/company.team/{flow}?wait={str(wait).lower()}"
        )
        return found

    async def until(self, path: str, holds: Callable[[Any], bool]) -> Any:
        """Ask again until the answer is as wanted."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.call("GET", path)
                if holds(answer):
                    return answer
                await asyncio.sleep(0.02)

    async def state(self, execution: Mapping[str, Any], wanted: str) -> Any:
        """Wait for a state of an execution."""
        path = f"/main/executions/{execution['id']}"
        return await self.until(path, lambda found: found["state"]["current"] == wanted)


@asynccontextmanager
async def served(folder: Path, more: Mapping[str, Any] | None = None) -> AsyncIterator[Client]:
    """A whole process with a client."""
    overrides = {
        "data-path": str(folder),
        "tutorial-flows.enabled": False,
        "server.host": "127.0.0.1",
        "server.port": "0",
        "server.basic-auth.username": "a@example.org",
        "server.basic-auth.password": "Secret123",
        "server.liveness.heartbeat-interval": "PT0.5S",
        **(more or {}),
    }
    process = Process(
        Settings.load(environment={}, overrides=overrides),
        tuple(ServiceType),
        web_application=web_application,
        surroundings=Surroundings(environment={}, host="test"),
    )
    async with process.serving():
        address = f"http://127.0.0.1:{process.parts['webserver'].port}"
        async with ClientSession(address, headers=LOGIN) as session:
            yield Client(session, process)


async def records(process: Process) -> bytes:
    """Everything that is on the log."""
    found: list[bytes] = []
    for topic in load_topics():
        reader = await process.log.reader(topic, "beginning")
        while not await reader.at_end():
            found += [
                record.value or b"" for record in await reader.poll(maximum=1_000, timeout=timedelta(0))
            ]
        await reader.close()
    return b"\n".join(found)


@pytest.fixture(
    params=["embedded", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.elasticsearch])]
)
async def backends(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Mapping[str, Any]]:
    """The settings of the log and the index: in files, and real ones with topics and indices of their own."""
    if request.param == "embedded":
        yield {}
        return
    kafka, url = request.getfixturevalue("kafka_address"), request.getfixturevalue("elasticsearch_url")
    prefix = f"test_audit_{uuid.uuid4().hex[:10]}_"
    shape = kafka_shape(tmp_path, kafka=kafka, elasticsearch=url, prefix=prefix, partitions=1)
    yield {**shape.overrides, "indexer.batch-duration": "PT0.05S"}
    await asyncio.to_thread(remove_topics_and_indices, kafka, url, prefix)


async def test_a_secret_is_used_and_never_shown(tmp_path: Path) -> None:
    """SEC-01, SEC-02, SEC-24: a flow below its namespace uses it; no answer, record, document or log line has it."""
    async with served(tmp_path) as client:
        secrets = "/main/namespaces/company/secrets"
        tag = {"key": "owner", "value": "ops"}
        put = {"key": "API_KEY", "value": NEEDLE, "description": "for tests", "tags": [tag]}
        (known,) = await client.call("PUT", secrets, put)
        assert known == {"namespace": "company", "key": "API_KEY", "description": "for tests", "tags": [tag]}
        listed = await client.call("GET", "/main/secrets?q=api&page=1&size=5")
        assert listed == {"readOnly": False, "results": [known], "total": 1}
        assert await client.call("GET", "/main/namespaces/company.team/inherited-secrets") == {
            "company": ["API_KEY"]
        }
        await client.flow(TELL)
        first = await client.run("tell")
        (line,) = await client.until(f"/main/logs/{first['id']}", bool)
        assert line["message"] == "value ****** said"

        own = {"key": "API_KEY", "value": LATER}
        await client.call("PUT", "/main/namespaces/company.team/secrets", own)
        (patched,) = await client.call("PATCH", f"{secrets}/API_KEY", {"key": "API_KEY", "tags": []})
        assert patched["tags"] == []
        assert patched["description"] == "for tests"
        assert (await client.run("tell"))["state"]["current"] == "SUCCESS"
        await client.call("DELETE", "/main/namespaces/company.team/secrets/API_KEY", status=204)
        await client.call("DELETE", "/main/namespaces/company.team/secrets/API_KEY", status=404)
        await client.until("/main/auditlogs/search?resources=SECRET", lambda found: found["total"] == 4)
        await client.call("GET", "/main/auditlogs/export?format=json")
        assert (tmp_path / "secrets.key").stat().st_mode & 0o777 == 0o600
        kept = await records(client.process)
        for needle in (NEEDLE, LATER):
            assert needle not in "\n".join(client.seen)
            assert needle.encode() not in kept
    for path in tmp_path.rglob("*"):  # noqa: ASYNC240 - nothing else runs any more
        content = path.read_bytes() if path.is_file() else b""
        assert NEEDLE.encode() not in content, path
        assert LATER.encode() not in content, path


async def test_secrets_that_are_read_only_are_not_changed(tmp_path: Path) -> None:
    """SEC-22: with `secret.read-only` the list says so, and every change is refused."""
    async with served(tmp_path, {"secret.read-only": True}) as client:
        assert (await client.call("GET", "/main/secrets"))["readOnly"] is True
        secrets = "/main/namespaces/company/secrets"
        refused = await client.call("PUT", secrets, {"key": "A", "value": "b"}, status=403)
        assert "read-only" in refused["message"]


async def test_a_credential_gives_tokens(tmp_path: Path) -> None:
    """CRED-02 to CRED-07: tokens are got with what secrets hold, kept while they are good, and masked."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    asked: list[Mapping[str, str]] = []

    async def token(request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked.append(form)
        if form.get("client_secret", NEEDLE) != NEEDLE:
            return web.json_response({"error": "invalid_client"}, status=401)
        return web.json_response({"access_token": f"{LATER}{len(asked)}", "expires_in": 3600})

    app = web.Application()
    app.router.add_post("/token", token)
    server = TestServer(app)
    await server.start_server()
    try:
        async with served(tmp_path) as client:
            endpoint = str(server.make_url("/token"))
            secrets = "/main/namespaces/company/secrets"
            await client.call(
                "PUT", secrets, [{"key": "CLIENT", "value": NEEDLE}, {"key": "KEY", "value": pem}]
            )
            config = {"type": "CLIENT_CREDENTIALS", "clientId": "me", "clientSecret": NEEDLE + " "}
            document = {"type": "OAUTH2", "name": "api", "tokenEndpoint": endpoint, "authConfig": config}
            credentials = "/main/namespaces/company/credentials"
            await client.call("POST", credentials, document, status=422)  # a value in place of a reference
            config["clientSecret"] = "CLIENT"
            await client.call("POST", credentials, document)
            await client.call("POST", credentials, document, status=409)
            assert (await client.call("POST", f"{credentials}/api/test"))["success"] is True
            inherited = await client.call("GET", "/main/namespaces/company.team/credentials/inherited")
            assert [level["namespace"] for level in inherited["levels"]] == ["company"]
            await client.flow(TELL.replace("secret('API_KEY')", "credential('api')"))
            for _ in range(2):
                execution = await client.run("tell")
                assert execution["state"]["current"] == "SUCCESS", execution
            (line,) = await client.until(f"/main/logs/{execution['id']}", bool)
            assert line["message"] == "value ****** said"
            assert len(asked) == 2  # the test, and one for both executions

            signed = {
                "type": "OAUTH2",
                "name": "signed",
                "tokenEndpoint": endpoint,
                "authConfig": {
                    "type": "JWT_BEARER",
                    "issuer": "me@example.org",
                    "subject": "you@example.org",
                    "privateKey": {"type": "SECRET", "secretKey": "KEY"},
                    "keyId": "k1",
                    "additionalClaims": {"scope": "a b"},
                },
            }
            await client.call("POST", "/main/credentials", signed)
            assert (await client.call("POST", "/main/credentials/signed/test"))["success"] is True
            assertion = asked[-1]["assertion"]
            claims = jwt.decode(assertion, key.public_key(), algorithms=["RS256"], audience=endpoint)
            assert (claims["iss"], claims["sub"], claims["scope"]) == (
                "me@example.org",
                "you@example.org",
                "a b",
            )
            assert jwt.get_unverified_header(assertion)["kid"] == "k1"
            await client.call("DELETE", "/main/credentials/signed", status=204)
            await client.call("GET", "/main/credentials/signed", status=404)
            assert LATER.encode() not in await records(client.process)
            assert LATER not in "\n".join(client.seen)
    finally:
        await server.close()


async def test_every_change_has_an_entry(tmp_path: Path, backends: Mapping[str, Any]) -> None:
    """AUD-01 to AUD-05: who, what, before and after; found by details, compared, exported."""
    async with served(tmp_path, backends) as client:
        await client.call("PUT", "/main/namespaces/company/secrets", {"key": "API_KEY", "value": NEEDLE})
        await client.flow(TELL)
        changed = TELL.replace("said", "changed")
        headers = {"Content-Type": "application/x-yaml"}
        await client.call("PUT", "/main/flows/company.team/tell", changed, headers=headers)
        execution = await client.run("tell")
        await client.call("DELETE", "/main/flows/company.team/tell", status=204)
        await client.call("GET", "/main/flows/search")  # no read has an entry
        found = await client.until("/main/auditlogs/search?size=50", lambda found: found["total"] == 5)
        entries = [each["auditLog"] for each in reversed(found["results"])]
        assert [(each["detail"]["resourceType"], each["type"]) for each in entries] == [
            ("SECRET", "CREATE"),
            ("FLOW", "CREATE"),
            ("FLOW", "UPDATE"),
            ("EXECUTION", "CREATE"),
            ("FLOW", "DELETE"),
        ]
        assert {each["userId"] for each in entries} == {"a@example.org"}
        assert {each["ipAddress"] for each in entries} == {"127.0.0.1"}
        update = entries[2]
        assert update["detail"]["flowId"] == "tell"
        assert update["detail"]["revision"] == "2"
        difference = await client.call("GET", f"/main/auditlogs/{update['id']}/diff")
        assert difference == {"before": TELL, "after": changed}
        secret = await client.call("GET", f"/main/auditlogs/{entries[0]['id']}/diff")
        assert "******" in secret["after"]
        assert NEEDLE not in secret["after"]

        wanted = "filters[details][EQUALS][namespace]=company.team&filters[resources][IN]=FLOW"
        assert (await client.call("GET", f"/main/auditlogs/search?{wanted}"))["total"] == 3
        assert (await client.call("GET", "/main/auditlogs/search?filters[type][EQUALS]=DELETE"))["total"] == 1
        assert (await client.call("GET", "/auditlogs/search"))["total"] >= 5
        assert len(await client.call("GET", "/main/auditlogs/history/tell")) >= 3
        assert await client.call("GET", "/main/auditlogs/history/unknown") == []
        await client.call("GET", "/main/auditlogs/unknown/diff", status=404)
        latest = await client.call(
            "POST", "/main/auditlogs/find", {"resource": "FLOW", "detail": {"flowId": "tell"}}
        )
        assert latest["auditLog"]["type"] == "DELETE"
        exported = await client.call("GET", "/main/auditlogs/export")
        assert exported.splitlines()[0].startswith("date,tenantId,resource,action,userId")
        assert len(exported.splitlines()) == 6
        assert execution["state"]["current"] == "SUCCESS"

        await client.flow(PURGE)
        assert (await client.run("purge"))["state"]["current"] == "SUCCESS"
        rest = await client.until("/main/auditlogs/search", lambda found: not _resources(found) & {"SECRET"})
        assert _resources(rest) == {"FLOW", "EXECUTION"}


PURGE = """
id: purge
namespace: company.team
tasks:
  - id: purge
    type: io.kestra.plugin.ee.core.log.PurgeAuditLogs
    endDate: "{{ now() | dateAdd(1, 'HOURS') }}"
    resources: [SECRET]
"""


def _resources(found: Mapping[str, Any]) -> set[str]:
    return {each["auditLog"]["detail"]["resourceType"] for each in found["results"]}


@asynccontextmanager
async def _gate() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """An address that answers when it is told to; gives it, what says that somebody asked, and what lets it answer."""
    asked, opened = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        asked.set()
        await opened.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", answer)
    server = TestServer(app)
    await server.start_server()
    try:
        yield str(server.make_url("/")), asked, opened
    finally:
        opened.set()
        await server.close()


async def test_a_kill_switch_stops_its_namespace(tmp_path: Path) -> None:
    """KS-01 to KS-05: what runs finishes, what waits and what comes ends at once, others go on."""
    async with _gate() as (address, asked, opened), served(tmp_path) as client:
        await client.flow(SLEEP.replace("ADDRESS", address))
        await client.flow(
            "id: wait\nnamespace: company.team\ntasks: [{id: p, type: io.kestra.plugin.core.flow.Pause}]"
        )
        await client.flow(
            "id: other\nnamespace: elsewhere\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: x}]"
        )
        running, paused = await client.run("sleep", wait=False), await client.run("wait", wait=False)
        await client.state(paused, "PAUSED")
        await asked.wait()
        switch = {"name": "stop", "tenantId": "main", "namespace": "company", "evaluationType": "KILL"}
        await client.call("POST", "/kill-switches", {**switch, "tenantId": None}, status=422)
        made = await client.call("POST", "/kill-switches", switch)
        label = {"key": "system.killSwitch", "value": made["id"]}
        assert label in (await client.state(paused, "KILLED"))["labels"]
        await client.state(running, "KILLING")
        new = await client.run("sleep")
        assert new["state"]["current"] == "KILLED"
        assert label in new["labels"]
        assert not new.get("taskRunList")
        opened.set()
        over = await client.state(running, "KILLED")
        assert [(run["taskId"], run["state"]["current"]) for run in over["taskRunList"]] == [
            ("first", "SUCCESS")
        ]
        elsewhere = await client.call("POST", "/main/executions/elsewhere/other?wait=true")
        assert elsewhere["state"]["current"] == "SUCCESS"

        await client.call("DELETE", f"/kill-switches/{made['id']}", status=204)
        (archived,) = await client.call("GET", "/kill-switches/search")
        assert archived["deleted"] is True
        assert (await client.run("sleep"))["state"]["current"] == "SUCCESS"
        cancelling = {**switch, "evaluationType": "CANCEL", "flowId": "sleep"}
        again = await client.call("POST", "/kill-switches", cancelling)
        assert (await client.run("sleep"))["state"]["current"] == "CANCELLED"
        await client.call("PUT", f"/kill-switches/{again['id']}", {**cancelling, "enabled": False})
        assert (await client.run("sleep"))["state"]["current"] == "SUCCESS"


async def test_in_maintenance_nothing_begins(tmp_path: Path) -> None:
    """MM-01, MM-02: new executions wait, what runs finishes, servers say that they rest; then everything goes on."""
    async with _gate() as (address, asked, opened), served(tmp_path) as client:
        await client.flow(SLEEP.replace("ADDRESS", address))
        running = await client.run("sleep", wait=False)
        await asked.wait()
        entered = await client.call("POST", "/instance/maintenance/enter")
        assert entered["maintenance"] is True
        status = "/instance/maintenance/status"
        rested = await client.until(status, lambda found: found["ready"])
        assert rested["services"]["WORKER"] == {"total": 1, "inMaintenance": 1}
        held = await client.run("sleep", wait=False)
        opened.set()
        path = f"/main/executions/{running['id']}"
        await client.until(path, lambda found: len(found.get("taskRunList", [])) == 2)
        assert (await client.call("GET", f"/main/executions/{held['id']}"))["state"]["current"] == "CREATED"
        assert (await client.call("POST", "/instance/maintenance/exit"))["maintenance"] is False
        await client.state(running, "SUCCESS")
        await client.state(held, "SUCCESS")
        await client.until(status, lambda found: found["services"]["WORKER"]["inMaintenance"] == 0)


async def test_the_installation_shows_itself(tmp_path: Path) -> None:
    """INS-02, WG-01, ANN-01: servers, worker groups and announcements; what there is not says so."""
    async with served(tmp_path) as client:
        active = await client.until(
            "/instance/services/active", lambda found: found["total"] == len(ServiceType)
        )
        assert {each["type"] for each in active["services"]} == set(ServiceType)
        found = await client.call("GET", "/instance/services/search?filters[type][EQUALS]=WORKER&size=5")
        assert found["total"] == 1
        one = await client.call("GET", f"/instance/services/{found['results'][0]['id']}")
        assert one["type"] == "WORKER"
        assert one["props"]["managementPort"]
        assert one["events"]
        await client.call("GET", "/instance/services/unknown", status=404)
        assert await client.call("GET", "/instance/metrics/WORKER")

        group = {"key": "gpu", "description": "fast", "allowedTenants": ["other"]}
        made = await client.call("POST", "/instance/workergroups", group)
        assert made == {"id": "gpu", **group}
        await client.call("POST", "/instance/worker-groups", group, status=409)
        listed = await client.call("GET", "/instance/worker-groups")
        assert [each["activeWorkers"] for each in listed["workerGroups"]] == [0]
        await client.flow(
            TELL.replace("id: say,", "id: say, workerGroup: {key: gpu},").replace("secret('API_KEY')", "1")
        )
        assert (await client.run("tell"))["state"]["current"] == "FAILED"  # the tenant may not use the group
        await client.call("DELETE", "/instance/workergroups/gpu", status=204)

        banner = await client.call("POST", "/banners", {"message": "tonight", "type": "WARNING"})
        past = {"message": "gone", "startDate": "2020-01-01T00:00:00Z", "endDate": "2020-01-02T00:00:00Z"}
        await client.call("POST", "/banners", past)
        assert {each["message"]: each["active"] for each in await client.call("GET", "/banners/search")} == {
            "tonight": True,
            "gone": False,
        }
        await client.call("DELETE", f"/banners/{banner['id']}", status=204)
        refused = await client.call(
            "POST", "/instance/versioned-plugins/install", {"plugins": []}, status=403
        )
        assert "pip" in refused["message"]
