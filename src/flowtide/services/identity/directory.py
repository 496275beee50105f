"""Changes of who there is and what they may do: values in, saved things out, one's own write seen at once.

State: none; what is there is read from the tables.
"""

from __future__ import annotations

import secrets as system_secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from flowtide.errors import ResourceConflict, ValueInvalid
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.access import Permissions, SubjectType
from flowtide.model.identifiers import derived_identifier
from flowtide.model.identity import (
    ApiToken,
    Binding,
    BindingType,
    Password,
    Role,
    Session,
    Tenant,
    TenantAccess,
    User,
    UserName,
)
from flowtide.model.records import Value, encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.services.catalog import Catalog
from flowtide.services.identity.passwords import Passwords
from flowtide.services.identity.tables import DEFAULT_TENANT, Identities, hash_of
from flowtide.services.repeats import is_taken_over
from flowtide.services.saving import ResourceClient
from flowtide.services.tenant_settings import kept_setting

TOKEN_MARK = "ft_"  # noqa: S105 - what tokens begin with, so that scanners of leaked secrets know them
_PREFIX_LENGTH = 9
_CLAIM_PATIENCE = timedelta(minutes=1)  # after which a claim of an e-mail address that nobody filled is void
_LAST_USED_GRAIN = timedelta(minutes=1)
_FORMER_SECRETS = 20  # of a session: whoever shows one of them has not its last one
_MOST_SESSIONS = 100  # of one user; the oldest ends


@dataclass(frozen=True, kw_only=True)
class DefaultRole:
    """The role that the configuration gives to everybody who is let into a tenant (SSO-06)."""

    name: str
    permissions: Permissions = field(default_factory=dict)
    description: str | None = None
    tenant: str | None = None  # None: in every tenant


class Directory:
    """The one place that changes identities.

    `ids` gives a fresh id, `token_bytes` randomness.  Each change names who made it as `by`.
    """

    def __init__(
        self,
        identities: Identities,
        catalog: Catalog,
        resources: ResourceClient,
        passwords: Passwords,
        *,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        token_bytes: Callable[[int], bytes] = system_secrets.token_bytes,
        default_role: DefaultRole | None = None,
        on_lock_end: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._identities = identities
        self._catalog = catalog
        self._resources = resources
        self._passwords = passwords
        self._clock = clock
        self._ids = ids
        self._token_bytes = token_bytes
        self._default_role = default_role
        self._on_lock_end = on_lock_end  # forgets the failed logins of a name

    # Any kind.

    async def save(
        self,
        kind: ResourceKind,
        tenant: str,
        identifier: str,
        value: Value,
        *,
        expected_revision: int | None = None,
        by: str | None = None,
    ) -> Resource:
        """Save a record of identities.  Raises ResourceConflict, ReplyMissing, LogUnavailable."""
        return await self._resources.save(kind, tenant, identifier, encode(value), expected_revision, by=by)

    async def delete(
        self, kind: ResourceKind, tenant: str, identifier: str, *, by: str | None = None
    ) -> bool:
        """Delete a record of identities; gives whether it was there."""
        try:
            await self._resources.delete(kind, tenant, identifier, by=by)
        except ResourceConflict:
            return False
        return True

    def revision(self, kind: ResourceKind, tenant: str, identifier: str) -> int:
        """The revision at which a record is now, for `expected_revision`; 0 when it is not there."""
        resource = self._catalog.get(kind, tenant, identifier)
        return 0 if resource is None or resource.deleted else resource.revision

    def new_id(self) -> str:
        """A fresh id."""
        return self._ids()

    # Users.

    async def create_user(
        self,
        user: User,
        *,
        password: str | None = None,
        must_change: bool = False,
        tenants: Iterable[str] = (),
        by: str | None = None,
    ) -> str:
        """Create a user and give its id; with `must_change` the password is only for the first login.

        Raises ResourceConflict when the e-mail address is taken, ValueInvalid for a poor password.
        """
        self._check_password(password)
        user_id = self._ids()
        await self._claim(user.email, user_id, by)
        await self.save(ResourceKind.USER, SYSTEM_TENANT, user_id, user, expected_revision=0, by=by)
        if password is not None:
            await self.set_password(user_id, password, must_change=must_change, by=by)
        for tenant in tenants:
            await self.grant_access(tenant, user_id, by=by)
        return user_id

    async def update_user(self, user_id: str, changed: User, *, by: str | None = None) -> None:
        """Save a user as `changed` says.  Raises ResourceConflict when its new e-mail address is taken."""
        before = self._identities.user(user_id)
        if before is None or self._identities.is_configured(user_id):
            raise ValueInvalid("this user stands in the configuration; change it there")
        moved = before.email.casefold() != changed.email.casefold()
        if moved:
            await self._claim(changed.email, user_id, by)
        revision = self.revision(ResourceKind.USER, SYSTEM_TENANT, user_id)
        await self.save(ResourceKind.USER, SYSTEM_TENANT, user_id, changed, expected_revision=revision, by=by)
        if moved:
            await self.delete(ResourceKind.USER_NAME, SYSTEM_TENANT, before.email.casefold(), by=by)

    async def delete_user(self, user_id: str, *, by: str | None = None) -> None:
        """Delete a user with everything that gave it rights; the user goes last, so that nothing is left behind."""
        user = self._identities.user(user_id)
        if user is None or self._identities.is_configured(user_id):
            raise ValueInvalid("this user stands in the configuration; remove it there")
        await self.end_sessions(user_id, by=by)
        await self._delete_subject(user_id, by)
        await self.delete(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id, by=by)
        await self.delete(ResourceKind.USER, SYSTEM_TENANT, user_id, by=by)
        await self.delete(ResourceKind.USER_NAME, SYSTEM_TENANT, user.email.casefold(), by=by)

    async def delete_service_account(self, account_id: str, *, by: str | None = None) -> None:
        """Delete a service account with everything that gave it rights."""
        await self._delete_subject(account_id, by)
        await self.delete(ResourceKind.SERVICE_ACCOUNT, SYSTEM_TENANT, account_id, by=by)

    async def set_password(
        self,
        user_id: str,
        password: str,
        *,
        must_change: bool = False,
        expected_revision: int | None = None,
        by: str | None = None,
    ) -> None:
        """Give a user a password, which ends a lock and all sessions.

        With `must_change` it opens nothing but the way to another one.  Raises ValueInvalid for a poor one, and
        ResourceConflict when the old one was changed since `expected_revision`.
        """
        self._check_password(password)
        user = self._identities.user(user_id)
        hashed = await self._passwords.hash(password)
        value = Password(hash=hashed, changed=self._clock(), must_change=must_change)
        await self.save(
            ResourceKind.PASSWORD, SYSTEM_TENANT, user_id, value, expected_revision=expected_revision, by=by
        )
        if user is not None:
            self._on_lock_end(user.email)
        await self.end_sessions(user_id, by=by)

    async def note_reset(self, user_id: str, at: datetime, *, by: str | None = None) -> Password | None:
        """Note that a mail to reset a password is sent; None when there is none, or it changed just now."""
        known = self._identities.password(user_id)
        revision = self.revision(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id)
        if known is None or not revision:
            return None
        noted = msgspec.structs.replace(known, reset_sent=at)
        try:
            await self.save(
                ResourceKind.PASSWORD, SYSTEM_TENANT, user_id, noted, expected_revision=revision, by=by
            )
        except ResourceConflict:
            return None
        return noted

    async def remove_password(self, user_id: str, *, by: str | None = None) -> bool:
        """Take a user's password away; gives whether there was one."""
        removed = await self.delete(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id, by=by)
        await self.end_sessions(user_id, by=by)
        return removed

    async def lock(self, user_id: str, until: datetime) -> None:
        """Refuse a user's password for a while (AUTH-07)."""
        known = self._identities.password(user_id)
        revision = self.revision(ResourceKind.PASSWORD, SYSTEM_TENANT, user_id)
        if known is None or not revision:
            return
        locked = msgspec.structs.replace(known, locked_until=until)
        try:
            await self.save(
                ResourceKind.PASSWORD,
                SYSTEM_TENANT,
                user_id,
                locked,
                expected_revision=revision,
                by="lock-out",
            )
        except ResourceConflict:
            return  # the password was changed meanwhile, which ends a lock

    # Tokens.

    async def create_token(
        self,
        owner_type: SubjectType,
        owner_id: str,
        name: str,
        *,
        description: str | None = None,
        max_age: timedelta | None = None,
        extended: bool = False,
        by: str | None = None,
    ) -> tuple[str, str, ApiToken]:
        """Create a token: its id, the token itself, which nobody can look up again, and its record (TOK-02)."""
        full = TOKEN_MARK + _text(self._token_bytes(32))
        now = self._clock()
        token = ApiToken(
            owner_type=owner_type,
            owner_id=owner_id,
            name=name,
            description=description,
            hash=hash_of(full),
            prefix=full[:_PREFIX_LENGTH],
            created=now,
            max_age=max_age,
            expires=None if max_age is None else now + max_age,
            extended=extended,
        )
        token_id = self._ids()
        await self.save(ResourceKind.API_TOKEN, SYSTEM_TENANT, token_id, token, expected_revision=0, by=by)
        return token_id, full, token

    async def delete_token(self, token_id: str, *, by: str | None = None) -> bool:
        """Delete a token; gives whether it was there."""
        return await self.delete(ResourceKind.API_TOKEN, SYSTEM_TENANT, token_id, by=by)

    def use_of(self, token: ApiToken) -> ApiToken | None:
        """The token as it is after a use now; None when it was written a moment ago and need not be written again."""
        now = self._clock()
        if token.last_used is not None and now - token.last_used < _LAST_USED_GRAIN:
            return None
        expires = now + token.max_age if token.extended and token.max_age is not None else token.expires
        return msgspec.structs.replace(token, last_used=now, expires=expires)

    async def note_use(self, token_id: str, used: ApiToken) -> None:
        """Write the use of a token; one that was deleted or changed meanwhile stays as it is."""
        revision = self.revision(ResourceKind.API_TOKEN, SYSTEM_TENANT, token_id)
        if not revision:
            return
        try:
            await self.save(
                ResourceKind.API_TOKEN, SYSTEM_TENANT, token_id, used, expected_revision=revision, by="use"
            )
        except ResourceConflict:
            return

    # Sessions.

    async def open_session(
        self,
        user_id: str,
        *,
        lifetime: timedelta,
        way: str = "BASIC",
        impersonator: str | None = None,
        address: str | None = None,
        agent: str | None = None,
    ) -> tuple[str, str, Session]:
        """Open a session: its id, the secret that renews it, and its record."""
        now = self._clock()
        held = self._identities.sessions_of(user_id)
        over = [session_id for session_id, session in held if session.expires <= now]
        over += [session_id for session_id, _ in held[: max(0, len(held) - _MOST_SESSIONS + 1)]]
        for session_id in dict.fromkeys(over):
            await self.delete(ResourceKind.SESSION, SYSTEM_TENANT, session_id, by="expiry")
        renewal = _text(self._token_bytes(32))
        session = Session(
            user_id=user_id,
            created=now,
            expires=now + lifetime,
            refresh_hash=hash_of(renewal),
            way=way,
            impersonator=impersonator,
            address=address,
            agent=agent,
        )
        session_id = self._ids()
        await self.save(
            ResourceKind.SESSION, SYSTEM_TENANT, session_id, session, expected_revision=0, by=user_id
        )
        await self._identities.catch_up()
        return session_id, renewal, session

    async def renew_session(
        self, session_id: str, session: Session, *, lifetime: timedelta
    ) -> tuple[str, Session] | None:
        """Prolong a session, which gives it another secret; None when somebody else did it a moment ago."""
        renewal = _text(self._token_bytes(32))
        now = self._clock()
        renewed = msgspec.structs.replace(
            session,
            expires=now + lifetime,
            refresh_hash=hash_of(renewal),
            renewed=now,
            former=(*session.former, session.refresh_hash)[-_FORMER_SECRETS:],
        )
        revision = self.revision(ResourceKind.SESSION, SYSTEM_TENANT, session_id)
        if not revision:
            return None
        try:
            await self.save(
                ResourceKind.SESSION,
                SYSTEM_TENANT,
                session_id,
                renewed,
                expected_revision=revision,
                by=session.user_id,
            )
        except ResourceConflict:
            return None
        await self._identities.catch_up()
        return renewal, renewed

    async def end_session(self, session_id: str, *, by: str | None = None) -> None:
        """End a session: its signed token is worth nothing from now on."""
        if await self.delete(ResourceKind.SESSION, SYSTEM_TENANT, session_id, by=by):
            await self._identities.catch_up()

    async def end_sessions(self, user_id: str, *, but: str | None = None, by: str | None = None) -> None:
        """End all sessions of a user, but this one."""
        ended = False
        for session_id, _ in self._identities.sessions_of(user_id):
            if session_id == but:
                continue
            ended |= await self.delete(ResourceKind.SESSION, SYSTEM_TENANT, session_id, by=by)
        if ended:
            await self._identities.catch_up()

    # Tenants, and who may do what in them.

    async def create_tenant(self, tenant: str, value: Tenant, *, by: str | None = None) -> None:
        """Create a tenant.  Raises ResourceConflict when there is one of this name, or was one whose history is there.

        What a deleted tenant left behind (TEN-08) would come back to life under its name (TRAP-11).
        """
        known = self._catalog.get(ResourceKind.TENANT, SYSTEM_TENANT, tenant)
        kept = self._catalog.get(ResourceKind.SETTING, SYSTEM_TENANT, kept_setting(tenant))
        message = ""
        if kept is not None and not kept.deleted:
            message = (
                f"there was a tenant `{tenant}`, whose history was kept and is still there; choose another id"
            )
        elif tenant == DEFAULT_TENANT or (known is not None and not known.deleted and not is_taken_over()):
            closed = self._identities.tenant(tenant) is None
            message = f"the tenant `{tenant}` " + ("is being removed" if closed else "exists already")
        if message:
            raise ResourceConflict(message, key=f"{SYSTEM_TENANT}/{ResourceKind.TENANT}/{tenant}")
        await self.save(ResourceKind.TENANT, SYSTEM_TENANT, tenant, value, expected_revision=0, by=by)

    async def update_tenant(self, tenant: str, value: Tenant, *, by: str | None = None) -> None:
        """Save what is known of a tenant; its name and settings, not its id."""
        revision = self.revision(ResourceKind.TENANT, SYSTEM_TENANT, tenant)
        await self.save(ResourceKind.TENANT, SYSTEM_TENANT, tenant, value, expected_revision=revision, by=by)

    async def delete_tenant(self, tenant: str, *, keep_history: bool = False, by: str | None = None) -> None:
        """Close a tenant: nobody enters from now on, and `TenantRemoval` removes what is of it.

        With `keep_history` executions, logs, metrics, pairs and files stay where they are (TEN-08).
        Raises ValueInvalid for the tenant that is always there.
        """
        if tenant == DEFAULT_TENANT:
            raise ValueInvalid(f"the tenant `{DEFAULT_TENANT}` is always there")
        known = self._identities.tenant(tenant)
        if known is not None:
            closed = msgspec.structs.replace(known, closed=True, keeps_history=keep_history)
            await self.update_tenant(tenant, closed, by=by)

    async def grant_access(
        self, tenant: str, subject_id: str, *, type_: SubjectType = SubjectType.USER, by: str | None = None
    ) -> bool:
        """Let somebody into a tenant, with its default role; gives whether they could not enter before (TEN-03)."""
        if self._identities.access(tenant, subject_id) is not None:
            return False
        access = TenantAccess(created=self._clock(), type=type_)
        await self.save(ResourceKind.TENANT_ACCESS, tenant, subject_id, access, by=by)
        role_id = await self._default_role_of(tenant, by)
        if role_id is not None:
            await self.bind(
                tenant, Binding(type=BindingType.USER, external_id=subject_id, role_id=role_id), by=by
            )
        return True

    async def revoke_access(self, tenant: str, subject_id: str, *, by: str | None = None) -> bool:
        """Let somebody out of a tenant, its groups and roles; gives whether they could enter."""
        for binding_id, _ in self._identities.bindings_of(tenant, BindingType.USER, subject_id):
            await self.delete(ResourceKind.BINDING, tenant, binding_id, by=by)
        for group_id, _, _ in self._identities.groups_of(tenant, subject_id):
            await self.delete(ResourceKind.GROUP_MEMBERSHIP, tenant, f"{group_id}/{subject_id}", by=by)
        return await self.delete(ResourceKind.TENANT_ACCESS, tenant, subject_id, by=by)

    async def bind(self, tenant: str, binding: Binding, *, by: str | None = None) -> str:
        """Bind a role, and give the binding's id.  The same binding is there once, however often it is made."""
        binding_id = derived_identifier(
            tenant, binding.type, binding.external_id, binding.role_id, binding.namespace or ""
        )
        if self._identities.binding(tenant, binding_id) is None:
            await self.save(ResourceKind.BINDING, tenant, binding_id, binding, by=by)
        return binding_id

    # Parts.

    async def _default_role_of(self, tenant: str, by: str | None) -> str | None:
        configured = self._default_role
        if configured is not None and configured.tenant in (None, tenant):
            for role_id, role in self._identities.roles(tenant):
                if role.name == configured.name:
                    return role_id
            role_id = derived_identifier(tenant, "default role", configured.name)
            role = Role(
                name=configured.name,
                description=configured.description,
                permissions=dict(configured.permissions),
            )
            await self.save(ResourceKind.ROLE, tenant, role_id, role, by=by)
            return role_id
        defaults = [role_id for role_id, role in self._identities.roles(tenant) if role.is_default]
        return defaults[-1] if defaults else None

    async def _claim(self, email: str, user_id: str, by: str | None) -> None:
        name = email.casefold()
        taken = ResourceConflict(
            f"there is a user {email} already", key=f"{SYSTEM_TENANT}/{ResourceKind.USER_NAME}/{name}"
        )
        holder = self._identities.user_id(email)
        if holder is not None and holder != user_id:
            raise taken
        now = self._clock()
        claim = self._identities.claim(email)
        # A claim that no user filled is of a server that died, or of one that is creating the user just now.
        if claim is not None and claim.user_id != user_id and now - claim.at < _CLAIM_PATIENCE:
            raise taken
        revision = self.revision(ResourceKind.USER_NAME, SYSTEM_TENANT, name)
        value = UserName(user_id=user_id, at=now)
        try:
            await self.save(
                ResourceKind.USER_NAME, SYSTEM_TENANT, name, value, expected_revision=revision, by=by
            )
        except ResourceConflict:
            raise taken from None

    async def _delete_subject(self, subject_id: str, by: str | None) -> None:
        for token_id, _ in self._identities.tokens_of(subject_id):
            await self.delete_token(token_id, by=by)
        for tenant, _ in self._identities.tenants():
            if (
                self._identities.access(tenant, subject_id) is not None
                or self._identities.bindings_of(tenant, BindingType.USER, subject_id)
                or self._identities.groups_of(tenant, subject_id)
            ):
                await self.revoke_access(tenant, subject_id, by=by)

    def _check_password(self, password: str | None) -> None:
        errors = [] if password is None else self._passwords.errors(password)
        if errors:
            raise ValueInvalid("; ".join(errors))


def _text(random: bytes) -> str:
    return msgspec.json.encode(random).decode().strip('"').rstrip("=").replace("+", "-").replace("/", "_")
