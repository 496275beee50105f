"""What tenants and namespaces have of their own, over HTTP: taken, refused, shown without secrets, and in force."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from flowtide.errors import SecretInvalid, SecretMissing
from flowtide.model.resources import ResourceKind
from flowtide.services.dedicated import Backend
from tests.integration.api_system import System, running

PHRASE = "a phrase of the tenant that nobody else knows"
OTHER = "another phrase, of a namespace, that nobody knows"
YAML = {"Content-Type": "application/x-yaml"}
FLOW = "id: hello\nnamespace: shop.orders\ntasks: [{id: say, type: io.kestra.plugin.core.log.Log, message: hello}]"


async def asked(
    client: TestClient[Any, Any], method: str, path: str, status: int = 200, **arguments: Any
) -> Any:
    """The body of an answer with this status."""
    async with client.request(method, f"/api/v1{path}", **arguments) as response:
        text = await response.text()
        assert response.status == status, f"{method} {path}: {response.status} {text}"
        return await response.json() if text else None


def tenant(**settings: Any) -> dict[str, Any]:
    """The document of the tenant that is tested."""
    return {"id": "blue", "name": "Blue", "deleted": False, **settings}


async def test_what_cannot_be_used_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    """Unknown kinds and options, what is missing, too short phrases, services that are none: for both owners."""
    wrong: tuple[dict[str, Any], ...] = (
        {"storageType": "tape"},
        {"storageType": "local"},
        {"storageType": "local", "storageConfiguration": {"basePath": "/a", "bucket": "b"}},
        {"storageConfiguration": {"basePath": "/a"}},
        {"storageIsolation": {"enabled": True, "deniedServices": ["PRINTER"]}},
        {"secretType": "vault"},
        {"secretType": "embedded", "secretConfiguration": {"secret": "short"}},
        {"secretType": "file", "secretConfiguration": {}},
        {"secretReadOnly": "yes"},
        {"workerGroup": {"fallback": "WAIT"}},
        {"sdkDefaultAuthentication": {"apiToken": "t"}},
    )
    async with running(tmp_path, with_executor=False) as system:
        for each in wrong:
            await asked(system.client, "POST", "/tenants", 422, json=tenant(**each))
            body = {"id": "shop", "deleted": False, **each}
            await asked(system.client, "POST", "/main/namespaces", 422, json=body)


async def test_configurations_are_encrypted_and_shown_with_stars(tmp_path: Path) -> None:
    """On the log there is nothing to read; stars that come back keep what they stand for (SEC-04, TEN-15)."""
    async with running(tmp_path, with_executor=False) as system:
        settings = {"secretType": "embedded", "secretConfiguration": {"secret": PHRASE}}
        made = await asked(system.client, "POST", "/tenants", json=tenant(**settings))
        assert made["secretConfiguration"] == {"secret": "******"}
        await asked(system.client, "PUT", "/tenants/blue", json={**made, "name": "Sky"})
        saved = system.catalog.get(ResourceKind.TENANT, "_system", "blue")
        assert saved is not None
        assert PHRASE.encode() not in bytes(saved.body)
        manager = system.backends.dedicated.secrets("blue", "shop")
        assert manager == Backend(tenant="blue", namespace=None, kind="embedded", options={"secret": PHRASE})
        for path in ("/tenants/blue", "/tenants/search"):
            assert PHRASE not in str(await asked(system.client, "GET", path))


async def test_the_nearest_owner_counts(tmp_path: Path) -> None:
    """Namespace, those above it, tenant, instance (ISO-03, WG-10); a namespace cannot lift what its tenant denies."""
    async with running(tmp_path, with_executor=False) as system:
        dedicated = system.backends.dedicated
        assert dedicated.storage("blue", "shop.orders") is None
        of_tenant = {"storageType": "local", "storageConfiguration": {"basePath": str(tmp_path / "t")}}
        denied = {"enabled": True, "deniedServices": ["SCHEDULER"]}
        settings = {**of_tenant, "workerGroup": {"key": "far"}, "secretIsolation": denied}
        await asked(system.client, "POST", "/tenants", json=tenant(**settings))
        of_namespace = {
            "id": "shop",
            "storageType": "local",
            "storageConfiguration": {"local": {"base-path": str(tmp_path / "n")}},
            "workerGroup": {"key": "near", "fallback": "FAIL"},
            "secretIsolation": {"enabled": False, "deniedServices": ["SCHEDULER"]},
        }
        await asked(system.client, "POST", "/blue/namespaces", json=of_namespace)
        found = dedicated.storage("blue", "shop.orders")
        assert found is not None
        assert found.namespace == "shop"
        assert (getattr(dedicated.storage("blue", "other"), "options", None)) == {
            "basePath": str(tmp_path / "t")
        }
        groups = [
            (name, group.key, group.fallback)
            for name, group in dedicated.worker_groups("blue", "shop.orders")
        ]
        assert groups == [
            ("workerGroup.key of the namespace `shop`", "near", "FAIL"),
            ("workerGroup.key of the tenant `blue`", "far", "WAIT"),
        ]
        assert dedicated.trigger_group("blue", "shop.orders") == "near"
        assert dedicated.denied("secret", "blue", "shop") == {"SCHEDULER"}
        assert dedicated.storage("main", "shop") is None


async def test_only_superadmins_name_disks_of_the_servers(tmp_path: Path) -> None:
    """An administrator of a tenant may keep what is there and change the rest, and not point at another folder."""
    async with running(tmp_path, with_executor=False) as system:
        await asked(system.client, "POST", "/tenants", json=tenant())
        user = await asked(
            system.client, "POST", "/users", 201,
            json={"email": "u@b.org", "password": "Secret1234", "tenants": ["blue"]},
        )  # fmt: skip  # reads better as a paragraph
        body = {"type": "USER", "externalId": user["id"], "roleId": "admin"}
        await asked(system.client, "POST", "/blue/bindings", json=body)
        login = {"Authorization": "Basic dUBiLm9yZzpTZWNyZXQxMjM0"}
        own = {"id": "shop", "storageType": "local", "storageConfiguration": {"basePath": str(tmp_path)}}
        await asked(system.stranger, "POST", "/blue/namespaces", 403, json=own, headers=login)
        kept = await asked(system.client, "POST", "/blue/namespaces", json=own)
        described = {**kept, "description": "what it is for"}
        await asked(system.stranger, "PUT", "/blue/namespaces/shop", json=described, headers=login)
        moved = {**own, "storageConfiguration": {"basePath": "/etc"}}
        await asked(system.stranger, "PUT", "/blue/namespaces/shop", 403, json=moved, headers=login)


async def test_secrets_of_an_owner_have_a_key_and_a_place_of_their_own(tmp_path: Path) -> None:
    """Each is found through the manager of the namespace that has it; without the phrase it cannot be read (SEC-09)."""
    async with running(tmp_path, with_executor=False) as system:
        secrets = system.backends.secrets
        settings = {"secretType": "embedded", "secretConfiguration": {"secret": PHRASE}}
        await asked(system.client, "POST", "/tenants", json=tenant(**settings))
        await asked(
            system.client, "PUT", "/blue/namespaces/shop/secrets", json={"key": "KEY", "value": "value"}
        )

        def found(name: str) -> str:
            return secrets.find(tenant_id="blue", namespace="shop.orders", name=name)

        assert found("KEY") == "value"
        with pytest.raises(SecretMissing):
            found("OTHER")
        changed = tenant(secretType="embedded", secretConfiguration={"secret": OTHER})
        await asked(system.client, "PUT", "/tenants/blue", json=changed)
        with pytest.raises(SecretInvalid):
            found("KEY")
        await asked(system.client, "PUT", "/tenants/blue", json=tenant(**settings, secretReadOnly=True))
        assert found("KEY") == "value"
        listed = await asked(system.client, "GET", "/blue/secrets")
        assert (listed["readOnly"], listed["total"]) == (True, 1)
        body = {"key": "NEW", "value": "value"}
        await asked(system.client, "PUT", "/blue/namespaces/shop/secrets", 403, json=body)


async def test_flows_stand_in_namespaces_that_exist_where_the_tenant_insists(tmp_path: Path) -> None:
    """A flow in a namespace that nobody made is refused; after it was made it is taken (NSM-12)."""
    async with running(tmp_path, with_executor=False) as system:
        await asked(system.client, "POST", "/tenants", json=tenant(requireExistingNamespace=True))
        refused = await asked(system.client, "POST", "/blue/flows", 422, data=FLOW, headers=YAML)
        assert "create it first" in refused["message"]
        await asked(system.client, "POST", "/blue/namespaces", json={"id": "shop.orders"})
        await asked(system.client, "POST", "/blue/flows", data=FLOW, headers=YAML)


async def test_what_another_key_encrypted_is_encrypted_again(tmp_path: Path) -> None:
    """Once for all secrets after a key was changed; a second call finds nothing to do."""
    async with running(tmp_path, with_executor=False) as system:
        await asked(
            system.client, "PUT", "/main/namespaces/shop/secrets", json={"key": "KEY", "value": "value"}
        )
        phrase = {"secretType": "embedded", "secretConfiguration": {"secret": PHRASE}}
        await asked(system.client, "POST", "/main/namespaces", json={"id": "shop", **phrase})
        counts = [await asked(system.client, "POST", "/instance/secrets/encrypt-again") for _ in range(2)]
        assert counts == [{"configurations": 0, "secrets": 1}, {"configurations": 0, "secrets": 0}]
        assert _value(system) == "value"


def _value(system: System) -> str:
    return system.backends.secrets.find(tenant_id="main", namespace="shop", name="KEY")


async def test_what_the_instance_offers_is_told(tmp_path: Path) -> None:
    """Everybody learns what there is; announcements are for who is logged in; no licence is needed (EE-1, EE-6)."""
    async with running(tmp_path, with_executor=False) as system:
        await asked(system.client, "POST", "/banners", json={"message": "soon", "type": "INFO"})
        shown = await asked(system.stranger, "GET", "/configs")
        assert "local" in [each["id"] for each in shown["supportedStorages"]]
        assert (shown["tenants"], shown["inMaintenance"]) == (
            {"storageByTenant": True, "secretByTenant": True},
            False,
        )
        assert "banner" not in shown
        assert (await asked(system.client, "GET", "/configs"))["banner"]["message"] == "soon"
        assert (await asked(system.client, "GET", "/license-info"))["expired"] is False
