"""The lines of the table of permissions that say `handler`: each with a role that holds what it asks, and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowtide.api.permissions import Caller
from flowtide.api.routes import ROUTES
from flowtide.api.security import Security
from tests.integration.api_system import System, running
from tests.integration.test_api_identities import LOGGING, OWN, PASSWORD, YAML, asked, basic

MAIN = "/api/v1/main"
ACTIONS = ("CREATE", "READ", "UPDATE", "DELETE")


async def person(
    system: System, name: str, permissions: dict[str, list[str]] | None = None, namespace: str | None = None
) -> tuple[str, dict[str, str]]:
    """A user of the tenant with a role of just these permissions; gives their id, and the header of their login."""
    email = f"{name}@b.org"
    body: dict[str, Any] = {"email": email, "password": PASSWORD, "tenants": ["main"]}
    user = await asked(system.client, "POST", "/api/v1/users", 201, json=body)
    if permissions:
        body = {"name": name, "permissions": permissions}
        role = await asked(system.client, "POST", f"{MAIN}/roles", json=body)
        body = {"type": "USER", "externalId": user["id"], "roleId": role["id"], "namespaceId": namespace}
        await asked(system.client, "POST", f"{MAIN}/bindings", json=body)
    return user["id"], basic(email)


async def status(system: System, login: dict[str, str], method: str, path: str, **body: Any) -> int:
    """How a request of somebody is answered."""
    async with system.stranger.request(method, MAIN + path, headers=login, **body) as response:
        return response.status


async def test_who_is_in_a_group_is_for_its_owners_and_who_holds_the_permission(tmp_path: Path) -> None:
    """GROUP_MEMBERSHIP-01 to -05, PERM-X11: exactly the action, another one, none, an owner, an ordinary member."""
    async with running(tmp_path, with_executor=False, security=Security(hash_rounds=4)) as system:
        group = await asked(system.client, "POST", f"{MAIN}/groups", json={"name": "shop"})
        members = f"/groups/{group['id']}/members"
        rows = {
            "CREATE": ("PUT", f"{members}/{{somebody}}"),
            "READ": ("GET", members),
            "UPDATE": ("PUT", f"{members}/membership/{{somebody}}?membership=MEMBER"),
            "DELETE": ("DELETE", f"{members}/{{somebody}}"),
        }
        callers: dict[str, tuple[dict[str, str], set[str]]] = {}
        for action in ACTIONS:
            _, login = await person(system, action.lower(), {"GROUP_MEMBERSHIP": [action], "GROUP": ["READ"]})
            callers[action] = (login, {action})
        owner, login = await person(system, "owner")
        await asked(system.client, "PUT", f"{MAIN}{members}/{owner}")
        await asked(system.client, "PUT", f"{MAIN}{members}/membership/{owner}?membership=OWNER")
        callers["owner"] = (login, set(ACTIONS))
        member, login = await person(system, "member")
        await asked(system.client, "PUT", f"{MAIN}{members}/{member}")
        callers["member"] = (login, set())
        _, login = await person(system, "nothing", {"GROUP": list(ACTIONS)})
        callers["nothing"] = (login, set())
        somebody, _ = await person(system, "somebody")
        for action, (method, path) in rows.items():
            for name, (login, allowed) in callers.items():
                there = f"{MAIN}{members}/{somebody}"
                async with system.client.request("DELETE" if action == "CREATE" else "PUT", there):
                    pass  # so that the request finds what it needs
                found = await status(system, login, method, path.format(somebody=somebody))
                assert (found < 300) == (action in allowed), f"{action} as {name}: {found}"
                assert found < 300 or found == 403, f"{action} as {name}: {found}"


async def test_entries_of_the_audit_log_are_for_who_may_read_the_thing_or_the_log(tmp_path: Path) -> None:
    """AUDITLOG-03, AUDITLOG-04, PERM-X10: of a flow in this namespace, of another kind, of the log; and of none."""
    async with running(tmp_path, security=Security(hash_rounds=4)) as system:
        await asked(system.client, "POST", f"{MAIN}/flows", headers=YAML, data=LOGGING)
        await system.indexed()
        found = await asked(system.client, "GET", f"{MAIN}/auditlogs/search?resources=FLOW")
        entry = found["results"][0]["auditLog"]["id"]
        callers: dict[str, tuple[dict[str, str], bool, bool]] = {}
        for name, permissions, namespace, sees, searches in (
            ("reader", {"FLOW": ["READ"]}, OWN, True, False),
            ("auditor", {"AUDITLOG": ["READ"]}, None, True, True),
            ("elsewhere", {"FLOW": ["READ"]}, "company.other", False, False),
            ("other", {"EXECUTION": list(ACTIONS)}, None, False, False),
            ("writer", {"FLOW": ["UPDATE"]}, None, False, False),
            ("nobody", None, None, False, False),
        ):
            _, login = await person(system, name, permissions, namespace)
            callers[name] = (login, sees, searches)
        for name, (login, sees, searches) in callers.items():
            assert await status(system, login, "GET", f"/auditlogs/{entry}/diff") == (200 if sees else 403), (
                name
            )
            async with system.stranger.get(f"{MAIN}/auditlogs/history/hello", headers=login) as response:
                shown = await response.json() if response.status == 200 else []
            assert bool(shown) is sees, name
            search = await status(system, login, "GET", "/auditlogs/search")
            assert search == (200 if searches else 403), name


async def test_who_may_enter_is_shown_to_readers_and_to_oneself(tmp_path: Path) -> None:
    """TENANT_ACCESS-05, PERM-X11: everybody sees their own access, READ shows that of others."""
    async with running(tmp_path, with_executor=False, security=Security(hash_rounds=4)) as system:
        reader, of_reader = await person(system, "reader", {"TENANT_ACCESS": ["READ"]})
        plain, of_plain = await person(system, "plain", {"TENANT_ACCESS": ["CREATE", "DELETE"]})
        for login, user_id, expected in (
            (of_reader, plain, 200),
            (of_reader, reader, 200),
            (of_plain, plain, 200),
            (of_plain, reader, 403),
        ):
            assert await status(system, login, "GET", f"/tenant-access/{user_id}") == expected


def test_no_other_line_leaves_it_to_its_handler() -> None:
    """What the table leaves open is tested here, so nothing is left open unseen."""
    left = {
        f"{route.method} {route.path}"
        for route in ROUTES
        if route.permission is not None
        and route.permission.caller is Caller.TENANT
        and "/blueprints/community/" not in route.path  # for everybody in the tenant (PERM-X12)
    }
    assert left == {
        "GET /{tenant}/auditlogs/history/{detailId:.+}",
        "GET /{tenant}/auditlogs/{id}/diff",
        "PUT /{tenant}/groups/{id}/members/{userId}",
        "GET /{tenant}/groups/{id}/members",
        "PUT /{tenant}/groups/{id}/members/membership/{userId}",
        "DELETE /{tenant}/groups/{id}/members/{userId}",
        "GET /{tenant}/tenant-access/{userId}",
    }
