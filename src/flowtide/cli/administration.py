"""Users and tenants changed from the command line: the port, and its adapter that asks a server (CLI-26 to CLI-29).

The other adapter, `flowtide.cli.local_administration`, writes to the installation whose settings are read here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from flowtide.cli.client import Client
from flowtide.cli.options import Invocation
from flowtide.cli.server_options import ServerOptions
from flowtide.errors import FlowtideError

ADMIN_ROLE = "admin"
"""The id of the role with every permission, which every tenant has."""


class Unknown(FlowtideError):
    """There is no such user, group or tenant."""

    code = "unknown-identity"


class Administration(ABC):
    """What the commands do.  Users are named by their e-mail address, and known by their id."""

    @abstractmethod
    async def user_id(self, name: str) -> str | None:
        """The id of the user of this name."""

    @abstractmethod
    async def users(self) -> list[tuple[str, str]]:
        """(id, name) of all users that are saved, which those of the configuration are not."""

    @abstractmethod
    async def create_user(self, name: str, password: str | None, *, super_admin: bool) -> str:
        """Make a user and give its id.  Raises FlowtideError when the name or the password is refused."""

    @abstractmethod
    async def set_password(self, user_id: str, password: str) -> None:
        """Give a user another password."""

    @abstractmethod
    async def set_super_admin(self, user_id: str, wanted: bool) -> None:
        """Make a user a superadmin, or not."""

    @abstractmethod
    async def has_tenant(self, tenant: str) -> bool:
        """Whether there is a tenant of this id."""

    @abstractmethod
    async def create_tenant(self, tenant: str, name: str) -> None:
        """Make a tenant.  Raises FlowtideError when the id is refused or taken."""

    @abstractmethod
    async def grant_access(self, tenant: str, user_id: str) -> bool:
        """Let a user into a tenant; gives whether they could not enter before."""

    @abstractmethod
    async def make_admin(self, tenant: str, user_id: str) -> None:
        """Bind the role of administrators."""

    @abstractmethod
    async def group_id(self, tenant: str, name: str) -> str | None:
        """The id of the group of this name."""

    @abstractmethod
    async def join(self, tenant: str, group_id: str, user_id: str) -> None:
        """Add a user to a group, which lets them into the tenant."""

    async def known_group(self, tenant: str, name: str) -> str:
        """The id of the group of this name.  Raises Unknown when there is none."""
        found = await self.group_id(tenant, name)
        if found is None:
            raise Unknown(f"there is no group `{name}` in the tenant `{tenant}`")
        return found

    async def known_user(self, name: str) -> str:
        """The id of the user of this name.  Raises Unknown when there is none."""
        found = await self.user_id(name)
        if found is None:
            raise Unknown(f"there is no user {name}")
        return found

    async def check_tenant(self, tenant: str) -> None:
        """Raises Unknown when there is no such tenant."""
        if not await self.has_tenant(tenant):
            raise Unknown(f"there is no tenant `{tenant}`; make it with `flowtide tenants create`")


class RemoteAdministration(Administration):
    """By the API of a server, as a superadmin."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def user_id(self, name: str) -> str | None:
        """See `Administration.user_id`."""
        wanted = name.casefold()
        found = self._client.pages("/api/v1/users", {"q": name})
        return next((str(each["id"]) for each in found if each["username"].casefold() == wanted), None)

    async def users(self) -> list[tuple[str, str]]:
        """See `Administration.users`."""
        return [(each["id"], each["username"]) for each in self._client.pages("/api/v1/users")]

    async def create_user(self, name: str, password: str | None, *, super_admin: bool) -> str:
        """See `Administration.create_user`."""
        document: dict[str, Any] = {"email": name, "superAdmin": super_admin}
        if password is not None:
            document["password"] = password
        return str(self._client.send("POST", "/api/v1/users", document=document)["id"])

    async def set_password(self, user_id: str, password: str) -> None:
        """See `Administration.set_password`."""
        self._client.send("PATCH", f"/api/v1/users/{user_id}/password", document={"password": password})

    async def set_super_admin(self, user_id: str, wanted: bool) -> None:
        """See `Administration.set_super_admin`."""
        self._client.send("PATCH", f"/api/v1/users/{user_id}/superadmin", document={"superAdmin": wanted})

    async def has_tenant(self, tenant: str) -> bool:
        """See `Administration.has_tenant`."""
        return any(each["id"] == tenant for each in self._client.pages("/api/v1/tenants"))

    async def create_tenant(self, tenant: str, name: str) -> None:
        """See `Administration.create_tenant`."""
        self._client.send("POST", "/api/v1/tenants", document={"id": tenant, "name": name})

    async def grant_access(self, tenant: str, user_id: str) -> bool:
        """See `Administration.grant_access`."""
        entering = self._client.pages(f"/api/v1/{tenant}/tenant-access")
        if any(each["id"] == user_id for each in entering):
            return False
        self._client.send("PUT", f"/api/v1/{tenant}/tenant-access/{user_id}")
        return True

    async def make_admin(self, tenant: str, user_id: str) -> None:
        """See `Administration.make_admin`."""
        document = {"type": "USER", "externalId": user_id, "roleId": ADMIN_ROLE}
        self._client.send("POST", f"/api/v1/{tenant}/bindings", document=document)

    async def group_id(self, tenant: str, name: str) -> str | None:
        """See `Administration.group_id`."""
        found = self._client.pages(f"/api/v1/{tenant}/groups/search", {"q": name})
        return next((str(each["id"]) for each in found if each["name"] == name), None)

    async def join(self, tenant: str, group_id: str, user_id: str) -> None:
        """See `Administration.join`."""
        self._client.send("PUT", f"/api/v1/{tenant}/groups/{group_id}/members/{user_id}")


@asynccontextmanager
async def administration(invocation: Invocation, options: ServerOptions) -> AsyncIterator[Administration]:
    """The server that options name or log in to; without any, the installation whose settings are read here.

    Raises FlowtideError.
    """
    if options.names_server:
        yield RemoteAdministration(options.client(invocation))
        return
    from flowtide.cli.local_administration import local_administration

    async with local_administration(invocation) as local:
        yield local
