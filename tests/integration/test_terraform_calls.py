"""What the Terraform provider asks for, resource by resource (G §15): create, read, no difference, update, delete.

A resource that reads back something else than what was written is changed by each `terraform apply`, for ever.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import FormData

from tests.integration.api_requests import Api, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

YAML = {"Content-Type": "application/x-yaml"}
TEXT = {"Content-Type": "text/plain"}

FLOW = """\
# A comment, and  spaces   that stay.
id: hello
namespace: company.terraform

tasks:
  - id: say   # here, too
    type: io.kestra.plugin.core.log.Log
    message: "Hello"
"""
DASHBOARD = """\
title: Overview
timeWindow:
  default: P30D
  max: P365D
charts:
  - id: note
    type: io.kestra.plugin.core.dashboard.chart.Markdown
    content: "{number}"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The server of this module."""
    async with serving(tmp_path_factory.mktemp("terraform")) as started:
        yield started


@dataclass(frozen=True, kw_only=True)
class Json:
    """A resource whose bodies are JSON."""

    path: str  # of all of them, below the tenant or below /api/v1 where it starts with `//`
    first: Mapping[str, Any]
    second: Mapping[str, Any]


RESOURCES: dict[str, Json] = {
    "kestra_namespace": Json(
        path="/namespaces",
        first={
            "id": "company.terraform.sub",
            "description": "A place",
            "variables": {"a": 1, "b": {"c": [1, 2]}},
            "pluginDefaults": [{"type": "io.kestra.plugin.core.log.Log", "values": {"level": "WARN"}}],
            "allowedNamespaces": [{"namespace": "company.other"}],
        },
        second={"id": "company.terraform.sub", "description": "Another place"},
    ),
    "kestra_role": Json(
        path="/roles",
        first={
            "name": "Operators",
            "description": "They run things",
            "isDefault": False,
            "permissions": {"FLOW": ["READ"], "EXECUTION": ["READ", "UPDATE"]},
        },
        second={
            "name": "Operators",
            "description": "They watch",
            "isDefault": False,
            "permissions": {"FLOW": ["READ"]},
        },
    ),
    "kestra_group": Json(
        path="/groups",
        first={"name": "Team", "description": "Us"},
        second={"name": "Team", "description": "All of us"},
    ),
    "kestra_service_account": Json(
        path="/service-accounts",
        first={"name": "deployer", "description": "Deploys"},
        second={"name": "deployer", "description": "Deploys and checks"},
    ),
    "kestra_user": Json(
        path="//users",
        first={"email": "someone@example.org", "firstName": "Some", "lastName": "One"},
        second={"email": "someone@example.org", "firstName": "Some", "lastName": "Body"},
    ),
    "kestra_tenant": Json(
        path="//tenants",
        first={"id": "terraformed", "name": "Terraformed"},
        second={"id": "terraformed", "name": "By Terraform", "requireExistingNamespace": True},
    ),
    "kestra_worker_group": Json(
        path="//instance/workergroups",
        first={"key": "large", "description": "With much memory", "allowedTenants": ["main"]},
        second={"key": "large", "description": "With more memory"},
    ),
    "kestra_security_integration": Json(
        path="/security-integrations",
        first={"name": "directory", "type": "SCIM", "description": "People"},
        second={},
    ),
}


async def _call(api: Api, method: str, path: str, status: int = 200, **arguments: Any) -> Any:
    prefix = "/api/v1" if path.startswith("//") else "/api/v1/main"
    place = prefix + path.replace("//", "/", 1)
    async with api.system.client.request(method, place, **arguments) as response:
        body = await response.read()
        expected = (status,) if status != 200 else (200, 201, 204)
        assert response.status in expected, (method, place, response.status, body.decode())
        return json.loads(body) if body and response.content_type == "application/json" else body.decode()


def _same(read: Any, written: Any) -> None:
    """What was written is read back; what was not written has no value, so that no difference is planned."""
    assert {name: read.get(name) for name in written} == dict(written)


@pytest.mark.parametrize("name", RESOURCES)
async def test_resources_of_json_read_back_what_was_written(api: Api, name: str) -> None:
    """Create, read, read for an import, update, delete, and 404 for what is gone: Terraform then creates it anew."""
    resource = RESOURCES[name]
    created = await _call(api, "POST", resource.path, json=resource.first)
    identifier = created["id"]
    place = f"{resource.path}/{identifier}"
    _same(created, resource.first)
    _same(await _call(api, "GET", place), resource.first)
    if resource.second:
        _same(await _call(api, "PUT", place, json=resource.second), resource.second)
        read = await _call(api, "GET", place)
        _same(read, resource.second)
        gone = resource.first.keys() - resource.second.keys()
        assert not [each for each in gone if read.get(each)], "what is not sent any more stays"
    await _call(api, "DELETE", place)
    await _call(api, "GET", place, 404)


async def test_a_namespace_has_no_fields_that_were_not_sent(api: Api) -> None:
    """Defaults of the server's own in an answer would be differences."""
    await _call(api, "POST", "/namespaces", json={"id": "company.plain"})
    read = await _call(api, "GET", "/namespaces/company.plain")
    assert {each for each, value in read.items() if value not in (None, False)} <= {"id", "tenantId"}
    await _call(api, "DELETE", "/namespaces/company.plain")


async def test_a_flow_keeps_its_source_byte_for_byte(api: Api) -> None:
    """Also after an update and for the data source; JSON is taken as well (`keep_original_source = false`)."""
    created = await _call(api, "POST", "/flows", data=FLOW.encode(), headers=YAML)
    assert (created["source"], created["revision"]) == (FLOW, 1)
    place = "/flows/company.terraform/hello"
    assert (await _call(api, "GET", f"{place}?source=true"))["source"] == FLOW
    again = await _call(api, "PUT", place, data=FLOW.encode(), headers=YAML)
    assert again["revision"] == 1  # nothing changed
    changed = FLOW.replace("Hello", "Good evening")
    assert (await _call(api, "PUT", place, data=changed.encode(), headers=YAML))["revision"] == 2
    assert (await _call(api, "GET", f"{place}?source=true"))["source"] == changed
    body = {
        "id": "from_json",
        "namespace": "company.terraform",
        "tasks": [{"id": "a", "type": "io.kestra.plugin.core.log.Log", "message": "x"}],
    }
    assert (await _call(api, "POST", "/flows", json=body))["id"] == "from_json"
    for flow_id in ("hello", "from_json"):
        await _call(api, "DELETE", f"/flows/company.terraform/{flow_id}")
        await _call(api, "GET", f"/flows/company.terraform/{flow_id}", 404)


async def test_a_dashboard_keeps_what_was_written(api: Api) -> None:
    """A dashboard has the id that its creation gave; its source comes back as it is."""
    source = DASHBOARD.replace("{number}", "one")
    created = await _call(api, "POST", "/dashboards", data=source.encode(), headers=YAML)
    place = f"/dashboards/{created['id']}"
    assert (await _call(api, "GET", place))["sourceCode"] == source
    changed = DASHBOARD.replace("{number}", "two")
    await _call(api, "PUT", place, data=changed.encode(), headers=YAML)
    assert (await _call(api, "GET", place))["sourceCode"] == changed
    await _call(api, "DELETE", place)
    await _call(api, "GET", place, 404)


async def test_pairs_keep_their_type_and_value(api: Api) -> None:
    """A value is sent as text or JSON without saying which; the type is deduced, and read back with the value."""
    for sent, type_, value in (
        ("hello", "STRING", "hello"),
        ('"5"', "STRING", "5"),
        ("5", "NUMBER", 5),
        ("true", "BOOLEAN", True),
        ("2026-01-31", "DATE", "2026-01-31"),
        ("PT5M", "DURATION", "PT5M"),
        ('{"a": [1]}', "JSON", {"a": [1]}),
    ):
        place = "/namespaces/company.terraform/kv/pair"
        await _call(api, "PUT", place, data=sent.encode(), headers=TEXT)
        assert await _call(api, "GET", place) | {"type": type_, "value": value} == await _call(
            api, "GET", place
        )
    await _call(api, "DELETE", "/namespaces/company.terraform/kv/pair")
    await _call(api, "GET", "/namespaces/company.terraform/kv/pair", 404)


async def test_a_namespace_file_is_created_with_its_folders_and_overwritten(api: Api) -> None:
    """`filename` may have folders that are not there; the content comes back as it is."""
    place = "/namespaces/company.terraform/files?path=/a/b/note.txt"
    for content in ("one\n", "zwei ä\n"):
        form = FormData()
        form.add_field("fileContent", content.encode(), filename="note.txt")
        await _call(api, "POST", place, data=form)
        assert await _call(api, "GET", place) == content
    await _call(api, "DELETE", place)
    await _call(api, "GET", place, 404)


async def test_secrets_are_written_and_never_read(api: Api) -> None:
    """The list has key, description and tags, which is all that a plan compares."""
    secrets = "/namespaces/company.terraform/secrets"
    secret = {
        "key": "TOKEN",
        "value": "hush",
        "description": "of the robot",
        "tags": [{"key": "team", "value": "a"}],
    }
    await _call(api, "PUT", secrets, json=secret)
    listed = await _call(api, "GET", secrets)
    assert "hush" not in json.dumps(listed)
    (entry,) = [each for each in listed["results"] if each["key"] == "TOKEN"]
    assert (entry["description"], entry["tags"]) == ("of the robot", [{"key": "team", "value": "a"}])
    await _call(api, "DELETE", f"{secrets}/TOKEN")


async def test_bindings_passwords_and_tokens(api: Api) -> None:
    """A binding is created, read and deleted; a token is shown once, and listed without itself."""
    user = await _call(api, "POST", "//users", json={"email": "bound@example.org"})
    role = await _call(api, "POST", "/roles", json={"name": "Bound", "permissions": {"FLOW": ["READ"]}})
    written = {"type": "USER", "externalId": user["id"], "roleId": role["id"], "namespaceId": "company"}
    binding = await _call(api, "POST", "/bindings", json=written)
    read = await _call(api, "GET", f"/bindings/{binding['id']}")
    _same(read, written)
    account = await _call(api, "POST", "//service-accounts", json={"name": "robot"})
    for owner in (f"//users/{user['id']}", f"//service-accounts/{account['id']}"):
        wanted = {"name": "ci", "description": "of CI", "maxAge": "P1D", "extended": False}
        token = await _call(api, "POST", f"{owner}/api-tokens", json=wanted)
        assert token["fullToken"]
        listed = await _call(api, "GET", f"{owner}/api-tokens")
        (entry,) = listed["results"]
        assert (entry["name"], entry["description"], entry["extended"]) == ("ci", "of CI", False)
        assert token["fullToken"] not in json.dumps(listed)
        assert {"prefix", "exp", "iat", "expired"} <= {
            each.replace("tokenPrefix", "prefix") for each in entry
        }
        await _call(api, "DELETE", f"{owner}/api-tokens/{token['id']}")
    await _call(api, "DELETE", f"/bindings/{binding['id']}")
    await _call(api, "GET", f"/bindings/{binding['id']}", 404)


async def test_what_is_not_there_says_so(api: Api) -> None:
    """Apps and unit tests of flows are answered 501, so that an apply fails with a sentence."""
    refused = await _call(api, "POST", "/apps", 501, data=b"id: x", headers=YAML)
    assert "apps are not part" in refused["message"]
    await _call(api, "POST", "/tests", 501, data=b"id: x", headers=YAML)
