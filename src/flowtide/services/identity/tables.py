"""Who there is and what they may do, as tables in memory that follow what is saved.

In come changes of the catalog; out go users by name, tokens by hash, and what a subject may do in a tenant.  State:
the tables, and the answers that were worked out since the last change.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec
import structlog

from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.log.keys import ResourceKey
from flowtide.model.access import (
    EVERYTHING,
    NOTHING,
    SUPERADMIN_PERMISSIONS,
    Action,
    Grants,
    Permission,
    Permissions,
    SubjectType,
    union,
)
from flowtide.model.identifiers import derived_identifier
from flowtide.model.identity import (
    API_TOKEN_DECODER,
    BINDING_DECODER,
    GROUP_DECODER,
    GROUP_MEMBERSHIP_DECODER,
    INVITATION_DECODER,
    PASSWORD_DECODER,
    ROLE_DECODER,
    SECURITY_INTEGRATION_DECODER,
    SERVICE_ACCOUNT_DECODER,
    SESSION_DECODER,
    TENANT_ACCESS_DECODER,
    TENANT_DECODER,
    USER_DECODER,
    USER_NAME_DECODER,
    ApiToken,
    Binding,
    BindingType,
    Group,
    GroupMembership,
    Invitation,
    Password,
    Role,
    SecurityIntegration,
    ServiceAccount,
    Session,
    Tenant,
    TenantAccess,
    User,
    UserName,
)
from flowtide.model.records import UNREADABLE
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.identity.roles import MANAGED_ROLES

DEFAULT_TENANT = "main"

_DECODERS: Mapping[ResourceKind, msgspec.json.Decoder[Any]] = {
    ResourceKind.USER: USER_DECODER,
    ResourceKind.USER_NAME: USER_NAME_DECODER,
    ResourceKind.PASSWORD: PASSWORD_DECODER,
    ResourceKind.SERVICE_ACCOUNT: SERVICE_ACCOUNT_DECODER,
    ResourceKind.API_TOKEN: API_TOKEN_DECODER,
    ResourceKind.SESSION: SESSION_DECODER,
    ResourceKind.TENANT: TENANT_DECODER,
    ResourceKind.TENANT_ACCESS: TENANT_ACCESS_DECODER,
    ResourceKind.ROLE: ROLE_DECODER,
    ResourceKind.BINDING: BINDING_DECODER,
    ResourceKind.GROUP: GROUP_DECODER,
    ResourceKind.GROUP_MEMBERSHIP: GROUP_MEMBERSHIP_DECODER,
    ResourceKind.INVITATION: INVITATION_DECODER,
    ResourceKind.SECURITY_INTEGRATION: SECURITY_INTEGRATION_DECODER,
}
_GRANTING = frozenset(
    {
        ResourceKind.USER, ResourceKind.SERVICE_ACCOUNT, ResourceKind.TENANT, ResourceKind.TENANT_ACCESS,
        ResourceKind.ROLE, ResourceKind.BINDING, ResourceKind.GROUP, ResourceKind.GROUP_MEMBERSHIP,
    }
)  # fmt: skip  # reads better as a paragraph
_BEGINNING = datetime.fromtimestamp(0, UTC)
_EVERY_ACTION = frozenset(Action)

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfiguredLogin:
    """A user that the configuration names, or the first set-up of old; it is a superadmin."""

    name: str  # an e-mail address
    admin_tenants: frozenset[str] = frozenset()  # where it is an administrator, too (TEN-10)

    @property
    def id(self) -> str:
        """The id of the user: the same as long as the name is."""
        return _configured_id(self.name.casefold())


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A user or a service account, by what both have in common."""

    id: str
    name: str
    display_name: str
    type: SubjectType
    super_admin: bool


class Identities:
    """The tables.  `configured` names the logins of the configuration, which may change while the process runs.

    Whatever was saved when it is made is in it at once; from then on it follows the catalog.
    """

    def __init__(
        self, catalog: Catalog, *, configured: Callable[[], Sequence[ConfiguredLogin]] = lambda: ()
    ) -> None:
        self._catalog = catalog
        self._configured = configured
        self._things: dict[tuple[ResourceKind, str], dict[str, Any]] = {}
        self._by_email: dict[str, str] = {}
        self._by_hash: dict[str, str] = {}
        self._owned: dict[str, set[str]] = {}  # owner -> its tokens
        self._sessions: dict[str, set[str]] = {}  # user -> its sessions
        self._entering: dict[str, set[str]] = {}  # subject -> the tenants it may enter
        self._bound: dict[tuple[str, BindingType, str], set[str]] = {}  # (tenant, type, subject) -> bindings
        self._groups_of: dict[tuple[str, str], set[str]] = {}  # (tenant, subject) -> groups
        self._members: dict[tuple[str, str], set[str]] = {}  # (tenant, group) -> subjects
        self._grants: dict[tuple[str, str], Grants] = {}  # (subject, tenant) -> worked out
        self._fresh: asyncio.Task[None] | None = None
        self._next_fresh: asyncio.Task[None] | None = None
        for tenant in catalog.tenants():
            for kind in _DECODERS:
                for identifier, resource in catalog.list(kind, tenant):
                    self._take_in(ResourceKey(tenant, kind, identifier), resource)
        self._end = catalog.on_change(self._take_in)

    def close(self) -> None:
        """Follow the catalog no more."""
        self._end()

    async def catch_up(self) -> None:
        """Return when everything that was saved before this call is here.

        Many callers at once cost one look at the log, and another one for those who came while it was under way.
        Raises LogUnavailable.
        """
        running = self._fresh
        if running is None or running.done():
            running = self._fresh = asyncio.create_task(self._catalog.catch_up(), name="identities")
        else:
            following = self._next_fresh
            if following is None or following.done():
                following = self._next_fresh = asyncio.create_task(self._after(running), name="identities")
            running = following
        await asyncio.shield(running)

    async def _after(self, running: asyncio.Task[None]) -> None:
        with suppress(Exception):
            await asyncio.shield(running)
        self._fresh = asyncio.current_task()
        self._next_fresh = None
        await self._catalog.catch_up()

    # Users and service accounts.

    def user(self, user_id: str) -> User | None:
        """A user by id, also one of the configuration."""
        found: User | None = self._table(ResourceKind.USER, SYSTEM_TENANT).get(user_id)
        if found is not None:
            return found
        for login in self._configured():
            if login.id == user_id:
                return User(email=login.name, created=_BEGINNING, super_admin=True)
        return None

    def is_configured(self, user_id: str) -> bool:
        """Whether a user stands in the configuration, so that it cannot be changed here."""
        return any(login.id == user_id for login in self._configured())

    def users(self) -> Iterator[tuple[str, User]]:
        """Every user with its id, those of the configuration first."""
        for login in self._configured():
            yield login.id, User(email=login.name, created=_BEGINNING, super_admin=True)
        yield from tuple(self._table(ResourceKind.USER, SYSTEM_TENANT).items())

    def user_id(self, email: str) -> str | None:
        """The id of the user of an e-mail address, whatever its case."""
        name = email.casefold()
        for login in self._configured():
            if login.name.casefold() == name:
                return login.id
        return self._by_email.get(name)

    def claim(self, email: str) -> UserName | None:
        """Who claimed an e-mail address."""
        found: UserName | None = self._table(ResourceKind.USER_NAME, SYSTEM_TENANT).get(email.casefold())
        return found

    def password(self, user_id: str) -> Password | None:
        """How a user proves who they are; None for those who have no password."""
        found: Password | None = self._table(ResourceKind.PASSWORD, SYSTEM_TENANT).get(user_id)
        return found

    def service_account(self, account_id: str) -> ServiceAccount | None:
        """A service account by id."""
        found: ServiceAccount | None = self._table(ResourceKind.SERVICE_ACCOUNT, SYSTEM_TENANT).get(
            account_id
        )
        return found

    def service_accounts(self) -> Iterator[tuple[str, ServiceAccount]]:
        """Every service account with its id."""
        yield from tuple(self._table(ResourceKind.SERVICE_ACCOUNT, SYSTEM_TENANT).items())

    def subject(self, subject_id: str) -> Subject | None:
        """A user or service account by id."""
        user = self.user(subject_id)
        if user is not None:
            return Subject(
                id=subject_id,
                name=user.email,
                display_name=user.display_name,
                type=SubjectType.USER,
                super_admin=user.super_admin,
            )
        account = self.service_account(subject_id)
        if account is None:
            return None
        return Subject(
            id=subject_id,
            name=account.name,
            display_name=account.name,
            type=SubjectType.SERVICE_ACCOUNT,
            super_admin=account.super_admin,
        )

    # Tokens and sessions.

    def token_by_hash(self, token_hash: str) -> tuple[str, ApiToken] | None:
        """The token with this SHA-256, and its id."""
        token_id = self._by_hash.get(token_hash)
        token = None if token_id is None else self.token(token_id)
        return None if token_id is None or token is None else (token_id, token)

    def token(self, token_id: str) -> ApiToken | None:
        """A token by id."""
        found: ApiToken | None = self._table(ResourceKind.API_TOKEN, SYSTEM_TENANT).get(token_id)
        return found

    def tokens_of(self, owner_id: str) -> list[tuple[str, ApiToken]]:
        """The tokens of a user or service account with their ids, the oldest first."""
        table = self._table(ResourceKind.API_TOKEN, SYSTEM_TENANT)
        found = [(token_id, table[token_id]) for token_id in self._owned.get(owner_id, ())]
        return sorted(found, key=lambda each: (each[1].created, each[0]))

    def session(self, session_id: str) -> Session | None:
        """A session by id."""
        found: Session | None = self._table(ResourceKind.SESSION, SYSTEM_TENANT).get(session_id)
        return found

    def sessions_of(self, user_id: str) -> list[tuple[str, Session]]:
        """The sessions of a user with their ids, the oldest first."""
        table = self._table(ResourceKind.SESSION, SYSTEM_TENANT)
        found = [(session_id, table[session_id]) for session_id in self._sessions.get(user_id, ())]
        return sorted(found, key=lambda each: (each[1].created, each[0]))

    # Tenants and who may enter them.

    def tenant(self, tenant: str) -> Tenant | None:
        """A tenant; `main` is always there, a deleted one not."""
        found: Tenant | None = self._table(ResourceKind.TENANT, SYSTEM_TENANT).get(tenant)
        if found is None and tenant == DEFAULT_TENANT:
            return Tenant(name=DEFAULT_TENANT, created=_BEGINNING)
        return None if found is None or found.closed else found

    def tenants(self) -> list[tuple[str, Tenant]]:
        """Every tenant with its id, by id."""
        names = {DEFAULT_TENANT, *self._table(ResourceKind.TENANT, SYSTEM_TENANT)}
        found = ((name, self.tenant(name)) for name in sorted(names))
        return [(name, tenant) for name, tenant in found if tenant is not None]

    def access(self, tenant: str, subject_id: str) -> TenantAccess | None:
        """The record that lets somebody into a tenant."""
        found: TenantAccess | None = self._table(ResourceKind.TENANT_ACCESS, tenant).get(subject_id)
        return found

    def accesses(self, tenant: str) -> list[tuple[str, TenantAccess]]:
        """Everybody who was let into a tenant, by id."""
        return sorted(self._table(ResourceKind.TENANT_ACCESS, tenant).items())

    def tenants_of(self, subject_id: str) -> list[tuple[str, Tenant]]:
        """The tenants that somebody may enter, by id: all of them for a superadmin."""
        subject = self.subject(subject_id)
        if subject is None:
            return []
        if subject.super_admin:
            return self.tenants()
        found = ((name, self.tenant(name)) for name in sorted(self._entering.get(subject_id, ())))
        return [(name, tenant) for name, tenant in found if tenant is not None]

    # Roles, bindings, groups, and what a provisioning or an invitation says; all of one tenant.

    def role(self, tenant: str, role_id: str) -> Role | None:
        """A role of the tenant, or one that is there in every tenant."""
        found: Role | None = self._table(ResourceKind.ROLE, tenant).get(role_id)
        return MANAGED_ROLES.get(role_id) if found is None else found

    def roles(self, tenant: str) -> list[tuple[str, Role]]:
        """Every role with its id: those that are there in every tenant, then the tenant's own by id."""
        return [*MANAGED_ROLES.items(), *sorted(self._table(ResourceKind.ROLE, tenant).items())]

    def binding(self, tenant: str, binding_id: str) -> Binding | None:
        """A binding by id."""
        found: Binding | None = self._table(ResourceKind.BINDING, tenant).get(binding_id)
        return found

    def bindings(self, tenant: str) -> list[tuple[str, Binding]]:
        """Every binding with its id, by id."""
        return sorted(self._table(ResourceKind.BINDING, tenant).items())

    def bindings_of(self, tenant: str, type_: BindingType, external_id: str) -> list[tuple[str, Binding]]:
        """What is bound to a user, service account or group itself, by id."""
        table = self._table(ResourceKind.BINDING, tenant)
        return [(each, table[each]) for each in sorted(self._bound.get((tenant, type_, external_id), ()))]

    def group(self, tenant: str, group_id: str) -> Group | None:
        """A group by id."""
        found: Group | None = self._table(ResourceKind.GROUP, tenant).get(group_id)
        return found

    def groups(self, tenant: str) -> list[tuple[str, Group]]:
        """Every group with its id, by id."""
        return sorted(self._table(ResourceKind.GROUP, tenant).items())

    def groups_of(self, tenant: str, subject_id: str) -> list[tuple[str, Group, GroupMembership]]:
        """The groups that a user or service account is in, by id."""
        found = []
        for group_id in sorted(self._groups_of.get((tenant, subject_id), ())):
            group, membership = self.group(tenant, group_id), self.membership(tenant, group_id, subject_id)
            if group is not None and membership is not None:
                found.append((group_id, group, membership))
        return found

    def membership(self, tenant: str, group_id: str, subject_id: str) -> GroupMembership | None:
        """Whether, and as what, somebody is in a group."""
        table = self._table(ResourceKind.GROUP_MEMBERSHIP, tenant)
        found: GroupMembership | None = table.get(f"{group_id}/{subject_id}")
        return found

    def members(self, tenant: str, group_id: str) -> list[tuple[str, GroupMembership]]:
        """Who is in a group, by id."""
        table = self._table(ResourceKind.GROUP_MEMBERSHIP, tenant)
        subjects = sorted(self._members.get((tenant, group_id), ()))
        return [(subject, table[f"{group_id}/{subject}"]) for subject in subjects]

    def invitation(self, tenant: str, invitation_id: str) -> Invitation | None:
        """An invitation by id."""
        found: Invitation | None = self._table(ResourceKind.INVITATION, tenant).get(invitation_id)
        return found

    def invitations(self, tenant: str) -> list[tuple[str, Invitation]]:
        """Every invitation to a tenant with its id, by id."""
        return sorted(self._table(ResourceKind.INVITATION, tenant).items())

    def integration(self, tenant: str, integration_id: str) -> SecurityIntegration | None:
        """A provisioning by id."""
        table = self._table(ResourceKind.SECURITY_INTEGRATION, tenant)
        found: SecurityIntegration | None = table.get(integration_id)
        return found

    def integrations(self, tenant: str) -> list[tuple[str, SecurityIntegration]]:
        """Every provisioning of a tenant with its id, by id."""
        return sorted(self._table(ResourceKind.SECURITY_INTEGRATION, tenant).items())

    # What somebody may do.

    def grants(self, subject_id: str, tenant: str) -> Grants:
        """What somebody may do in a tenant; the same object until something changes."""
        configured = next((login for login in self._configured() if login.id == subject_id), None)
        if configured is not None:
            return self._grants_of_configured(configured, tenant)
        found = self._grants.get((subject_id, tenant))
        if found is None:
            found = self._grants[subject_id, tenant] = self._work_out(subject_id, tenant)
        return found

    def assignments(self, tenant: str, subject_id: str) -> list[tuple[Binding, str, str | None]]:
        """The bindings that count for somebody: binding, its id, and the group that it comes through."""
        found: list[tuple[Binding, str, str | None]] = [
            (binding, binding_id, None)
            for binding_id, binding in self.bindings_of(tenant, BindingType.USER, subject_id)
        ]
        for group_id, _, _ in self.groups_of(tenant, subject_id):
            found += [
                (binding, binding_id, group_id)
                for binding_id, binding in self.bindings_of(tenant, BindingType.GROUP, group_id)
            ]
        return found

    def _work_out(self, subject_id: str, tenant: str) -> Grants:
        subject = self.subject(subject_id)
        if subject is None or self.tenant(tenant) is None:
            return NOTHING
        entering = self.access(tenant, subject_id) is not None
        if not entering and not subject.super_admin:
            return NOTHING
        everywhere: list[Permissions] = []
        within: dict[str, list[Permissions]] = {}
        if subject.super_admin:
            everywhere.append(_MANAGING)
        for binding, _, _ in self.assignments(tenant, subject_id):
            role = self.role(tenant, binding.role_id)
            if role is None:
                continue
            if binding.namespace is None:
                everywhere.append(role.permissions)
            else:
                within.setdefault(binding.namespace, []).append(role.permissions)
        return Grants(
            everywhere=union(everywhere), within={name: union(held) for name, held in within.items()}
        )

    def _grants_of_configured(self, login: ConfiguredLogin, tenant: str) -> Grants:
        if self.tenant(tenant) is None:
            return NOTHING
        if tenant in login.admin_tenants:
            return _ADMINISTRATOR
        own = self._work_out(login.id, tenant)  # what was bound to it here
        return own if own.has_access else _SUPERADMIN

    # How changes come in.

    def _table(self, kind: ResourceKind, tenant: str) -> dict[str, Any]:
        return self._things.get((kind, tenant), {})

    def _take_in(self, key: ResourceKey, resource: Resource | None) -> None:
        try:
            kind = ResourceKind(key.kind)
        except ValueError:
            return
        decoder = _DECODERS.get(kind)
        if decoder is None:
            return
        table = self._things.setdefault((kind, key.tenant), {})
        before = table.pop(key.identifier, None)
        if before is not None:
            self._index(kind, key, before, add=False)
        if resource is not None and not resource.deleted:
            try:
                table[key.identifier] = now = decoder.decode(resource.body)
            except UNREADABLE as error:
                # Whom it gave rights has none until it can be read.
                logger.error("a record of identities cannot be read", key=str(key), reason=str(error))
            else:
                self._index(kind, key, now, add=True)
        if kind in _GRANTING:
            self._forget_grants(kind, key)

    def _forget_grants(self, kind: ResourceKind, key: ResourceKey) -> None:
        if kind in (ResourceKind.USER, ResourceKind.SERVICE_ACCOUNT):
            stale = [each for each in self._grants if each[0] == key.identifier]
        else:
            tenant = key.identifier if kind is ResourceKind.TENANT else key.tenant
            stale = [each for each in self._grants if each[1] == tenant]
        for each in stale:
            del self._grants[each]

    def _index(self, kind: ResourceKind, key: ResourceKey, thing: Any, *, add: bool) -> None:
        match kind:
            case ResourceKind.USER:
                name = thing.email.casefold()
                if add:
                    self._by_email[name] = key.identifier
                elif self._by_email.get(name) == key.identifier:
                    del self._by_email[name]
            case ResourceKind.API_TOKEN:
                if add:
                    self._by_hash[thing.hash] = key.identifier
                else:
                    self._by_hash.pop(thing.hash, None)
                _note(self._owned, thing.owner_id, key.identifier, add=add)
            case ResourceKind.SESSION:
                _note(self._sessions, thing.user_id, key.identifier, add=add)
            case ResourceKind.TENANT_ACCESS:
                _note(self._entering, key.identifier, key.tenant, add=add)
            case ResourceKind.BINDING:
                _note(self._bound, (key.tenant, thing.type, thing.external_id), key.identifier, add=add)
            case ResourceKind.GROUP_MEMBERSHIP:
                group_id, _, subject_id = key.identifier.partition("/")
                _note(self._groups_of, (key.tenant, subject_id), group_id, add=add)
                _note(self._members, (key.tenant, group_id), subject_id, add=add)
            case _:
                pass


def hash_of(secret: str) -> str:
    """The SHA-256 under which a token or another random secret is saved.

    A slow hash would add nothing: there are 2^256 of them to try.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


@lru_cache(maxsize=64)
def _configured_id(name: str) -> str:
    return derived_identifier("configured login", name)


def _note(table: dict[Any, set[str]], key: Any, value: str, *, add: bool) -> None:
    if add:
        table.setdefault(key, set()).add(value)
        return
    noted = table.get(key)
    if noted is not None:
        noted.discard(value)
        if not noted:
            del table[key]


_MANAGING: dict[Permission, frozenset[Action]] = dict.fromkeys(SUPERADMIN_PERMISSIONS, _EVERY_ACTION)
_SUPERADMIN = Grants(everywhere=_MANAGING, within={})
_ADMINISTRATOR = Grants(everywhere=EVERYTHING, within={})
