"""Who there is: users, service accounts, groups, roles, bindings, tokens, sessions, tenants, as they are saved.

Each is the body of a saved thing (model/resources.py says where it stands); its id is the key's identifier and is
not repeated in the body.  No state.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from flowtide.model.access import Action, Permission, SubjectType
from flowtide.model.records import Value


class User(Value, frozen=True):
    """A person (REC-05).  Its password, when it has one, is a thing of its own."""

    email: str  # also the user name (AUTH-06)
    created: datetime
    first_name: str | None = None
    last_name: str | None = None
    description: str | None = None
    super_admin: bool = False  # IAM-09
    restricted: bool = False  # a demonstration account: it changes neither its profile nor its password
    logins: tuple[str, ...] = ()  # other ways in than the password: `OIDC:<provider>`, `LDAP` (AUTH-13)
    providers: tuple[UserProvider, ...] = ()  # who provisioned it

    @property
    def display_name(self) -> str:
        """The name as people read it."""
        return " ".join(each for each in (self.first_name, self.last_name) if each) or self.email


class UserProvider(Value, frozen=True):
    """An identity provider that knows a user by a name of its own (SCIM-05)."""

    external_id: str
    integration_id: str | None = None
    tenant: str | None = None
    attributes: dict[str, Any] = {}


class UserName(Value, frozen=True):
    """Which user has an e-mail address: the claim that keeps two servers from giving it twice."""

    user_id: str
    at: datetime


class Password(Value, frozen=True):
    """How a user proves who they are."""

    hash: str  # bcrypt
    changed: datetime
    locked_until: datetime | None = None  # AUTH-07
    must_change: bool = False  # whether it opens nothing until its owner has chosen another one
    reset_sent: datetime | None = None  # when the last mail to reset it was sent (AUTH-09)


class ServiceAccount(Value, frozen=True):
    """A program (REC-06): it has tokens and no password.  Which tenants it may enter is said by TenantAccess."""

    name: str  # SA-02
    created: datetime
    description: str | None = None
    super_admin: bool = False
    integration_id: str | None = None  # of the provisioning that it was made for (SCIM-03)


class ApiToken(Value, frozen=True):
    """A token of a user or service account, without the token itself (TOK-02)."""

    owner_type: SubjectType
    owner_id: str
    name: str
    hash: str  # SHA-256 of the token, in hexadecimal
    prefix: str  # the first characters of the token, by which people tell them apart
    created: datetime
    description: str | None = None
    expires: datetime | None = None
    max_age: timedelta | None = None
    extended: bool = False  # whether each use moves the expiry (TOK-01)
    last_used: datetime | None = None  # written at most once a minute


class Session(Value, frozen=True):
    """A login by browser: what its signed token names, so that it can be ended from here."""

    user_id: str
    created: datetime
    expires: datetime
    refresh_hash: str  # SHA-256 of the secret that renews it
    way: str = "BASIC"  # BASIC, OIDC:<provider>, LDAP
    impersonator: str | None = None  # the name of who acts as the user (IAM-14)
    address: str | None = None  # from where it was opened
    agent: str | None = None  # what the browser calls itself
    renewed: datetime | None = None
    former: tuple[
        str, ...
    ] = ()  # hashes of the last secrets; who shows one of them has stolen it, or was robbed


class Tenant(Value, frozen=True):
    """An isolated part of the instance (REC-01)."""

    name: str
    created: datetime
    require_existing_namespace: bool | None = None
    outputs_in_internal_storage: bool | None = None
    storage_type: str | None = None
    storage_configuration: dict[str, Any] | None = None
    storage_isolation: dict[str, Any] | None = None  # {enabled, deniedServices}
    secret_type: str | None = None
    secret_configuration: dict[str, Any] | None = None
    secret_isolation: dict[str, Any] | None = None
    secret_read_only: bool | None = None
    worker_group: dict[str, Any] | None = None  # {key, fallback}
    sdk_default_authentication: dict[str, Any] | None = None  # its secrets are encrypted
    app_catalog_config: dict[str, Any] | None = None
    logo: str | None = None
    closed: bool = False  # while it is being deleted: nobody enters any more
    keeps_history: bool = False  # when it is deleted, its executions, pairs and files stay (TEN-08)


class TenantAccess(Value, frozen=True):
    """That a user or service account may enter a tenant (TEN-03); what they may do there, bindings say."""

    created: datetime
    type: SubjectType = SubjectType.USER


class Role(Value, frozen=True):
    """Permissions by a name; grants nothing until it is bound (REC-02).  Managed roles are not saved."""

    name: str
    permissions: dict[Permission, frozenset[Action]] = {}
    description: str | None = None
    is_default: bool = False  # bound to everybody who is given access to the tenant (SSO-06)


class BindingType(StrEnum):
    """To what a role is bound; service accounts are bound as users (REC-03)."""

    USER = "USER"
    GROUP = "GROUP"


class Binding(Value, frozen=True):
    """A role for a user, service account or group, in a namespace and below or in the whole tenant (IAM-04)."""

    type: BindingType
    external_id: str  # of the user, service account or group
    role_id: str
    namespace: str | None = None


class Group(Value, frozen=True):
    """Users and service accounts that roles are bound to together (REC-04)."""

    name: str  # unique in the tenant (IAM-19)
    description: str | None = None
    external: str | None = None  # the provider that says who is in it
    external_id: str | None = None  # the provider's own name for it (SCIM-05)


class MembershipType(StrEnum):
    """What a member is; owners may change who is in the group (PERM-X11)."""

    MEMBER = "MEMBER"
    OWNER = "OWNER"


class GroupMembership(Value, frozen=True):
    """That a user or service account is in a group; the identifier is `group/user`."""

    membership: MembershipType = MembershipType.MEMBER
    managed_externally: bool = False


class InvitationStatus(StrEnum):
    """Where an invitation is; that it has expired is read off its date."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"


class InvitedRole(Value, frozen=True):
    """A role that is bound when the invitation is accepted."""

    role_id: str
    namespaces: tuple[str, ...] = ()  # empty: the whole tenant


class Invitation(Value, frozen=True):
    """An invitation to a tenant (REC-07)."""

    email: str
    sent: datetime
    expires: datetime
    status: InvitationStatus = InvitationStatus.PENDING
    roles: tuple[InvitedRole, ...] = ()
    group_ids: tuple[str, ...] = ()
    super_admin: bool = False
    accepted: datetime | None = None


class SecurityIntegration(Value, frozen=True):
    """A provisioning by SCIM 2.0 (REC-11); its secret is a token of its service account."""

    name: str
    created: datetime
    type: str = "SCIM2.0"
    description: str | None = None
    enabled: bool = True
    service_account_id: str | None = None


USER_DECODER: msgspec.json.Decoder[User] = msgspec.json.Decoder(User)
USER_NAME_DECODER: msgspec.json.Decoder[UserName] = msgspec.json.Decoder(UserName)
PASSWORD_DECODER: msgspec.json.Decoder[Password] = msgspec.json.Decoder(Password)
SERVICE_ACCOUNT_DECODER: msgspec.json.Decoder[ServiceAccount] = msgspec.json.Decoder(ServiceAccount)
API_TOKEN_DECODER: msgspec.json.Decoder[ApiToken] = msgspec.json.Decoder(ApiToken)
SESSION_DECODER: msgspec.json.Decoder[Session] = msgspec.json.Decoder(Session)
TENANT_DECODER: msgspec.json.Decoder[Tenant] = msgspec.json.Decoder(Tenant)
TENANT_ACCESS_DECODER: msgspec.json.Decoder[TenantAccess] = msgspec.json.Decoder(TenantAccess)
ROLE_DECODER: msgspec.json.Decoder[Role] = msgspec.json.Decoder(Role)
BINDING_DECODER: msgspec.json.Decoder[Binding] = msgspec.json.Decoder(Binding)
GROUP_DECODER: msgspec.json.Decoder[Group] = msgspec.json.Decoder(Group)
GROUP_MEMBERSHIP_DECODER: msgspec.json.Decoder[GroupMembership] = msgspec.json.Decoder(GroupMembership)
INVITATION_DECODER: msgspec.json.Decoder[Invitation] = msgspec.json.Decoder(Invitation)
SECURITY_INTEGRATION_DECODER: msgspec.json.Decoder[SecurityIntegration] = msgspec.json.Decoder(
    SecurityIntegration
)
