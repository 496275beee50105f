"""Identities without a log: saved things in a dictionary, a clock that is set, and what recognises callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from flowtide.api.authentication import Authentication, StoredCredentials
from flowtide.api.recognition import Recognition
from flowtide.api.security import Security
from flowtide.api.session_tokens import SessionTokens
from flowtide.errors import ResourceConflict
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.log.keys import ResourceKey
from flowtide.model.access import Action, Permission, SubjectType
from flowtide.model.identity import ApiToken, Binding, BindingType, Role, TenantAccess, User
from flowtide.model.records import Value, encode
from flowtide.model.resources import FORGOTTEN_KINDS, Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.identity import Attempts, ConfiguredLogin, Directory, Identities, Limits, Passwords
from flowtide.services.identity.tables import hash_of
from flowtide.services.saving import ResourceClient

Listener = Callable[[ResourceKey, Resource | None], None]
START = datetime(2030, 1, 1, 12, tzinfo=UTC)


@dataclass
class Saved:
    """What the catalog and the client that saves are together: a dictionary."""

    now: datetime = START
    things: dict[tuple[str, str], dict[str, Resource]] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    caught_up: int = 0

    def tenants(self) -> set[str]:
        """The tenants that have something."""
        return {tenant for tenant, _ in self.things}

    def get(self, kind: ResourceKind, tenant: str, identifier: str) -> Resource | None:
        """A thing, also a deleted one."""
        return self.things.get((tenant, kind), {}).get(identifier)

    def list(self, kind: ResourceKind, tenant: str) -> Iterator[tuple[str, Resource]]:
        """The things of a kind."""
        return iter(
            [each for each in sorted(self.things.get((tenant, kind), {}).items()) if not each[1].deleted]
        )

    def on_change(self, listener: Listener) -> Callable[[], None]:
        """Tell of changes."""
        self.listeners.append(listener)
        return lambda: self.listeners.remove(listener)

    async def catch_up(self) -> None:
        """Everything is here at once."""
        self.caught_up += 1

    async def save(
        self,
        kind: ResourceKind,
        tenant: str,
        identifier: str,
        body: bytes,
        expected_revision: int | None = None,
        *,
        by: str | None = None,
    ) -> Resource:
        """Save as the processor would."""
        return self.put(kind, tenant, identifier, body, expected_revision)

    def put(
        self, kind: ResourceKind, tenant: str, identifier: str, body: bytes, expected: int | None = None
    ) -> Resource:
        """Save at once."""
        table = self.things.setdefault((tenant, kind), {})
        known = table.get(identifier)
        there = 0 if known is None or known.deleted else known.revision
        if expected is not None and expected != there:
            raise ResourceConflict("it is at another revision", key=identifier)
        resource = Resource(
            revision=1 if known is None else known.revision + 1, updated=self.now, body=msgspec.Raw(body)
        )
        table[identifier] = resource
        self._tell(ResourceKey(tenant, kind, identifier), resource)
        return resource

    async def delete(
        self,
        kind: ResourceKind,
        tenant: str,
        identifier: str,
        expected_revision: int | None = None,
        *,
        by: Any = None,
    ) -> Resource:
        """Delete as the processor would."""
        table = self.things.setdefault((tenant, kind), {})
        known = table.get(identifier)
        if known is None or known.deleted:
            raise ResourceConflict("it does not exist", key=identifier)
        gone = msgspec.structs.replace(known, deleted=True, body=msgspec.Raw(b"null"))
        if kind in FORGOTTEN_KINDS:
            del table[identifier]
            self._tell(ResourceKey(tenant, kind, identifier), None)
        else:
            table[identifier] = gone
            self._tell(ResourceKey(tenant, kind, identifier), gone)
        return gone

    def _tell(self, key: ResourceKey, resource: Resource | None) -> None:
        for listener in tuple(self.listeners):
            listener(key, resource)


class NoLogin:
    """Nothing is stored by a set-up."""

    def load(self) -> StoredCredentials | None:
        """Nothing."""
        return None

    async def store(self, credentials: StoredCredentials) -> bool:
        """Nothing is kept."""
        return False


class World:
    """A recognition on saved things, and short ways to put people in."""

    def __init__(self, *, limits: Limits | None = None, superadmin: tuple[str, str] | None = None) -> None:
        self.saved = Saved()
        catalog, client = cast("Catalog", self.saved), cast("ResourceClient", self.saved)
        numbers = iter(range(1, 1_000_000))
        security = Security(
            signing_key=b"k" * 32,
            limits=limits or Limits(),
            superadmin_username=superadmin and superadmin[0],
            superadmin_password=superadmin and superadmin[1],
        )
        logins = (
            []
            if superadmin is None
            else [ConfiguredLogin(name=superadmin[0], admin_tenants=frozenset({"red"}))]
        )
        self.identities = Identities(catalog, configured=lambda: logins)
        self.passwords = Passwords(rounds=4)
        self.attempts = Attempts(self.clock, security.limits)
        self.directory = Directory(
            self.identities,
            catalog,
            client,
            self.passwords,
            clock=self.clock,
            ids=lambda: f"id{next(numbers)}",
            on_lock_end=self.attempts.forget,
        )
        self.tokens = SessionTokens(
            security.signing_key, catalog, client, clock=self.clock, lifetime=timedelta(hours=1)
        )
        self.recognition = Recognition(
            Authentication(NoLogin(), hash_rounds=4),
            self.identities,
            self.directory,
            self.passwords,
            self.attempts,
            self.tokens,
            security,
            clock=self.clock,
        )

    def clock(self) -> datetime:
        """The time that the test set."""
        return self.saved.now

    def save(self, kind: ResourceKind, tenant: str, identifier: str, value: Value) -> None:
        """Put a record in."""
        self.saved.put(kind, tenant, identifier, encode(value))

    def person(self, name: str, *, super_admin: bool = False, tenant: str | None = "main") -> str:
        """A user with a token of the same name; gives the header that says so."""
        user = User(email=f"{name}@example.org", created=START, super_admin=super_admin)
        self.save(ResourceKind.USER, SYSTEM_TENANT, name, user)
        if tenant is not None:
            self.save(ResourceKind.TENANT_ACCESS, tenant, name, TenantAccess(created=START))
        token = ApiToken(
            owner_type=SubjectType.USER,
            owner_id=name,
            name=name,
            hash=hash_of(f"ft_{name}"),
            prefix="ft_",
            created=START,
            last_used=START,
        )
        self.save(ResourceKind.API_TOKEN, SYSTEM_TENANT, name, token)
        return f"Bearer ft_{name}"

    def role(self, role_id: str, held: dict[Permission, frozenset[Action]], tenant: str = "main") -> str:
        """A role."""
        self.save(ResourceKind.ROLE, tenant, role_id, Role(name=role_id, permissions=held))
        return role_id

    def bind(self, name: str, role_id: str, namespace: str | None = None, tenant: str = "main") -> None:
        """A role for somebody."""
        binding = Binding(type=BindingType.USER, external_id=name, role_id=role_id, namespace=namespace)
        self.save(ResourceKind.BINDING, tenant, f"{name}-{role_id}-{namespace}", binding)
