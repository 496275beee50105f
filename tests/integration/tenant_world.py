"""Two tenants with the same names of everything and different content: one's word must never reach the other."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.integration.installation import Answer, Caller, basic

NAMESPACE = "shared.team"
FLOW = """
id: work
namespace: shared.team
description: WORD
labels: {word: WORD}
inputs:
  - {id: name, type: STRING, defaults: WORD}
  - {id: upload, type: FILE}
outputs:
  - {id: said, type: STRING, value: "{{ inputs.name }}"}
tasks:
  - {id: say, type: io.kestra.plugin.core.log.Log, message: "WORD {{ inputs.name }}"}
  - {id: give, type: io.kestra.plugin.core.debug.Return, format: "WORD {{ inputs.name }}"}
triggers:
  - {id: yearly, type: io.kestra.plugin.core.trigger.Schedule, cron: "0 0 1 1 *"}
  - {id: hook, type: io.kestra.plugin.core.trigger.Webhook, key: "WORD-key-of-a-length"}
"""
DASHBOARD = """
id: board
title: WORD
charts:
  - id: table
    type: io.kestra.plugin.core.dashboard.chart.Table
    data:
      type: io.kestra.plugin.core.dashboard.data.Executions
      columns:
        id: {field: ID}
        labels: {field: LABELS}
"""
CHART = DASHBOARD.partition("charts:\n")[2].replace("\n    ", "\n").replace("  - id", "id", 1)
BLUEPRINT = {
    "title": "WORD",
    "description": "WORD",
    "tags": ["WORD"],
    "source": FLOW,
}


@dataclass
class Tenant:
    """One of the two."""

    name: str
    word: str  # stands in everything that is made here
    member: Caller  # an administrator of this tenant, who may not enter the other one
    random: random.Random
    known: dict[str, str] = field(default_factory=dict)  # what a parameter of a path may be here

    async def act(self, acts: int) -> None:
        """Make one of each, then change some of them at random."""
        await self._begin()
        for _ in range(acts):
            act: Callable[[], Awaitable[None]] = self.random.choice(
                [
                    self._save_flow,
                    self._run,
                    self._put_pair,
                    self._put_file,
                    self._save_dashboard,
                    self._label,
                ]
            )
            await act()

    def said(self, text: Any) -> Any:
        """With the tenant's word and what is known of it."""
        if isinstance(text, Mapping):
            return {key: self.said(value) for key, value in text.items()}
        if isinstance(text, list):
            return [self.said(each) for each in text]
        if not isinstance(text, str):
            return text
        text = text.replace("WORD", self.word)
        for name, value in self.known.items():
            text = text.replace(f"<{name}>", value)
        return text

    async def must(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A request of the member in this tenant that must succeed."""
        answer = await self.member.ask(method, f"/{self.name}{path}", self.said(body), **more)
        assert answer.status < 300, (method, path, answer.status, answer.text[:500])
        return answer.body

    async def _begin(self) -> None:
        known = self.known
        await self.must("POST", "/flows", FLOW)
        await self._run()
        await self._put_pair()
        await self._put_file()
        await self.must("POST", "/dashboards", DASHBOARD)
        await self.must(
            "PUT", f"/namespaces/{NAMESPACE}/secrets", {"key": "TOKEN", "value": "v", "description": "WORD"}
        )
        made = {"id": NAMESPACE, "description": "WORD", "variables": {"word": "WORD"}}
        await self.must("POST", "/namespaces", made)
        for name, path, body in (
            ("role", "/roles", {"name": "WORD", "permissions": {"FLOW": ["READ"]}}),
            ("group", "/groups", {"name": "WORD"}),
            ("account", "/service-accounts", {"name": self.word.lower()}),
            ("blueprint", "/blueprints/flows", BLUEPRINT),
            ("invitation", "/invitations", {"email": "guest-WORD@example.org", "roleIds": []}),
            (
                "integration",
                "/security-integrations",
                {"name": "WORD", "description": "WORD", "type": "SCIM"},
            ),
        ):
            found = await self.must("POST", path, body)
            known[name] = str(found.get("id") or found.get("securityIntegrationId"))
        bound = {"type": "GROUP", "externalId": known["group"], "roleId": known["role"]}
        known["binding"] = (await self.must("POST", "/bindings", bound))["id"]
        audited = await self.must("GET", "/auditlogs/search?resources=FLOW")
        known["audit"] = audited["results"][0]["auditLog"]["id"]

    async def _save_flow(self) -> None:
        number = self.random.randrange(1_000)
        await self.must("PUT", f"/flows/{NAMESPACE}/work", f"{FLOW}# {number}\n")

    async def _run(self) -> None:
        content, headers = _form("upload", "words.txt", f"{self.word} in a file")
        path = f"/executions/{NAMESPACE}/work?wait=true&labels=own:{self.word}"
        found = await self.must("POST", path, content, headers=headers)
        assert found["state"]["current"] == "SUCCESS", found
        self.known["executionId"] = found["id"]
        self.known["taskRunId"] = found["taskRunList"][0]["id"]
        self.known["file"] = found["inputs"]["upload"]

    async def _put_pair(self) -> None:
        await self.must("PUT", f"/namespaces/{NAMESPACE}/kv/colour", f'"WORD {self.random.random()}"')

    async def _put_file(self) -> None:
        content, headers = _form("fileContent", "a.txt", f"{self.word} {self.random.random()}")
        await self.must("POST", f"/namespaces/{NAMESPACE}/files?path=/a.txt", content, headers=headers)

    async def _save_dashboard(self) -> None:
        await self.must("PUT", "/dashboards/board", f"{DASHBOARD}# {self.random.random()}\n")

    async def _label(self) -> None:
        labels = [{"key": "word", "value": f"{self.word}{self.random.randrange(9)}"}]
        await self.must("POST", f"/executions/{self.known['executionId']}/labels", labels)


async def make_tenant(admin: Caller, name: str, seed: int) -> Tenant:
    """A tenant and a user who is its administrator and nothing elsewhere."""
    word = f"{name.capitalize()}needle"
    await admin.must("POST", "/tenants", {"id": name, "name": word})
    email, password = f"{word.lower()}@example.org", "Needle1234"
    user = await admin.must("POST", "/users", {"email": email, "password": password}, status=201)
    for path, method, body in (
        (f"/{name}/tenant-access/{user['id']}", "PUT", {}),
        (f"/{name}/bindings", "POST", {"type": "USER", "externalId": user["id"], "roleId": "admin"}),
    ):
        answer = await admin.ask(method, path, body)
        assert answer.status < 300, answer.text
    tenant = Tenant(name, word, admin.be(basic(email, password)), random.Random(f"{name} {seed}"))
    tenant.known |= {"user": user["id"], "tenant": name, "email": email}
    return tenant


def words_of(answer: Answer) -> str:
    """All that an answer says: its head, and what is in it, also when that is an archive."""
    text, content = answer.text, answer.content
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            text += "".join(
                each.filename + archive.read(each).decode(errors="replace") for each in archive.infolist()
            )
    return f"{answer.headers} {text}".casefold()


def _form(name: str, file_name: str, content: str) -> tuple[str, dict[str, str]]:
    """A form with one file, and its header."""
    head = f'Content-Disposition: form-data; name="{name}"; filename="{file_name}"'
    form = f"--part\r\n{head}\r\n\r\n{content}\r\n--part--\r\n"
    return form, {"Content-Type": "multipart/form-data; boundary=part"}
