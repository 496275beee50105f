"""Users and tenants of the installation whose settings are read here: written to its log, as a server does.

So a first user can be made before any server runs.  An embedded log belongs to one process: its server must be
stopped, or be asked by `--server`.
"""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flowtide.api.application import authentication_of
from flowtide.api.iam.fields import EMAIL
from flowtide.api.iam.tenants import check_tenant_id
from flowtide.api.security import security_of
from flowtide.cli.administration import ADMIN_ROLE, Administration
from flowtide.cli.options import Invocation
from flowtide.cli.saving_services import saving_services
from flowtide.errors import FlowtideError, LogLocked, ValueInvalid
from flowtide.model.audit_note import Actor
from flowtide.model.identity import Binding, BindingType, Tenant, User
from flowtide.services.identity import ConfiguredLogin, Directory, Identities, Passwords
from flowtide.services.identity.groups import Groups
from flowtide.services.identity.tables import DEFAULT_TENANT
from flowtide.services.process import Process
from flowtide.services.trail import TRAIL, Trail
from flowtide.settings import Settings

_BY = "flowtide auths"


class LocalAdministration(Administration):
    """On the log of a process that is serving."""

    def __init__(self, process: Process, identities: Identities, directory: Directory) -> None:
        self._process = process
        self._identities = identities
        self._directory = directory

    async def user_id(self, name: str) -> str | None:
        """See `Administration.user_id`."""
        return self._identities.user_id(name)

    async def users(self) -> list[tuple[str, str]]:
        """See `Administration.users`."""
        found = [(user_id, user.email) for user_id, user in self._identities.users()]
        return [each for each in found if not self._identities.is_configured(each[0])]

    async def create_user(self, name: str, password: str | None, *, super_admin: bool) -> str:
        """See `Administration.create_user`."""
        if EMAIL.fullmatch(name) is None:
            raise ValueInvalid(f"the name of a user is an e-mail address, which `{name}` is not")
        user = User(email=name, created=self._process.surroundings.clock(), super_admin=super_admin)
        return await self._directory.create_user(user, password=password, by=_BY)

    async def set_password(self, user_id: str, password: str) -> None:
        """See `Administration.set_password`."""
        await self._directory.set_password(user_id, password, by=_BY)

    async def set_super_admin(self, user_id: str, wanted: bool) -> None:
        """See `Administration.set_super_admin`."""
        import msgspec

        user = self._identities.user(user_id)
        if user is None or self._identities.is_configured(user_id):
            raise ValueInvalid("this user stands in the configuration; change it there")
        others = any(each.super_admin for other, each in self._identities.users() if other != user_id)
        if not wanted and not others:
            raise ValueInvalid("this is the last superadmin; make another one first")
        await self._directory.update_user(user_id, msgspec.structs.replace(user, super_admin=wanted), by=_BY)

    async def has_tenant(self, tenant: str) -> bool:
        """See `Administration.has_tenant`."""
        return tenant == DEFAULT_TENANT or self._identities.tenant(tenant) is not None

    async def create_tenant(self, tenant: str, name: str) -> None:
        """See `Administration.create_tenant`."""
        check_tenant_id(tenant)
        value = Tenant(name=name, created=self._process.surroundings.clock())
        await self._directory.create_tenant(tenant, value, by=_BY)

    async def grant_access(self, tenant: str, user_id: str) -> bool:
        """See `Administration.grant_access`."""
        return await self._directory.grant_access(tenant, user_id, by=_BY)

    async def make_admin(self, tenant: str, user_id: str) -> None:
        """See `Administration.make_admin`."""
        await self._directory.grant_access(tenant, user_id, by=_BY)
        binding = Binding(type=BindingType.USER, external_id=user_id, role_id=ADMIN_ROLE)
        await self._directory.bind(tenant, binding, by=_BY)

    async def group_id(self, tenant: str, name: str) -> str | None:
        """See `Administration.group_id`."""
        return Groups(self._identities, self._directory).named(tenant, name)

    async def join(self, tenant: str, group_id: str, user_id: str) -> None:
        """See `Administration.join`."""
        await Groups(self._identities, self._directory).join(tenant, group_id, user_id, by=_BY)


@asynccontextmanager
async def local_administration(invocation: Invocation) -> AsyncIterator[Administration]:
    """Open the installation; what is changed is noted in its audit log as done by this machine's user."""
    settings = invocation.settings()
    invocation.configure_logging(settings, default="ERROR")
    try:
        process = Process(settings, await saving_services(settings))
        async with process.serving():
            trail = Trail(actor=Actor(id=f"{getpass.getuser()}@{process.surroundings.host}", type="SYSTEM"))
            token = TRAIL.set(trail)
            try:
                async with _identities(process, settings) as (identities, directory):
                    yield LocalAdministration(process, identities, directory)
            finally:
                TRAIL.reset(token)
    except LogLocked as error:
        raise FlowtideError(f"{error.message}, or name the server with --server and a login") from None


@asynccontextmanager
async def _identities(process: Process, settings: Settings) -> AsyncIterator[tuple[Identities, Directory]]:
    security = security_of(settings)
    authentication = authentication_of(settings, process.catalog, process.client)
    names = (security.superadmin_username, authentication.login_name)
    configured = [ConfiguredLogin(name=name) for name in names if name is not None]
    identities = Identities(process.catalog, configured=lambda: configured)
    passwords = Passwords(rounds=security.hash_rounds, rule=security.password_rule)
    try:
        yield (
            identities,
            Directory(
                identities,
                process.catalog,
                process.client,
                passwords,
                clock=process.surroundings.clock,
                ids=process.surroundings.ids,
                default_role=security.default_role,
            ),
        )
    finally:
        identities.close()
        passwords.close()
