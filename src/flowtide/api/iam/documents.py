"""Identities as the API shows them (G_models): records in, documents out; no hash and no token ever stands in one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flowtide.api.answers import without_nulls
from flowtide.model.access import SubjectType
from flowtide.model.identity import ApiToken, Tenant, User
from flowtide.model.records import format_date
from flowtide.services.dedicated import tenant_settings
from flowtide.services.identity import Identities


def auths_of(identities: Identities, user_id: str, user: User) -> list[dict[str, Any]]:
    """The ways in which a user may log in (AUTH-13)."""
    ways = list(user.logins)
    if identities.password(user_id) is not None or identities.is_configured(user_id):
        ways.insert(0, "BASIC")
    found = []
    for way in ways:
        kind, _, provider = way.partition(":")
        name = {"BASIC": "Basic auth", "LDAP": "LDAP"}.get(kind, provider or kind)
        found.append({"id": way, "uid": way, "name": name, "type": "BASIC_AUTH" if kind == "BASIC" else kind})
    return found


def tenant_summaries(identities: Identities, subject_id: str) -> list[dict[str, Any]]:
    """The tenants that somebody was let into."""
    return [
        {"id": name, "name": tenant.name}
        for name, tenant in identities.tenants()
        if identities.access(name, subject_id) is not None
    ]


def user_summary(identities: Identities, user_id: str, user: User) -> dict[str, Any]:
    """A user in a list."""
    return {
        "id": user_id,
        "username": user.email,
        "displayName": user.display_name,
        "tenants": tenant_summaries(identities, user_id),
        "auths": auths_of(identities, user_id, user),
        "superAdmin": user.super_admin,
        "instanceOwner": user.super_admin,
    }


def user_document(identities: Identities, user_id: str, user: User) -> dict[str, Any]:
    """A user in full."""
    groups = [
        {"id": group_id, "tenantId": name}
        for name, _ in identities.tenants()
        for group_id, _, _ in identities.groups_of(name, user_id)
    ]
    return without_nulls(
        {
            **user_summary(identities, user_id, user),
            "type": "STANDARD",
            "email": user.email,
            "firstName": user.first_name,
            "lastName": user.last_name,
            "description": user.description,
            "groups": groups,
            "restricted": user.restricted,
        }
    )


def token_document(token_id: str, token: ApiToken, now: datetime) -> dict[str, Any]:
    """A token in a list: all but the token."""
    return without_nulls(
        {
            "id": token_id,
            "name": token.name,
            "description": token.description,
            "prefix": token.prefix,
            "iat": format_date(token.created),
            "exp": None if token.expires is None else format_date(token.expires),
            "lastUsed": None if token.last_used is None else format_date(token.last_used),
            "extended": token.extended,
            "expired": token.expires is not None and token.expires <= now,
        }
    )


def subject_groups(identities: Identities, tenant: str, subject_id: str) -> list[dict[str, Any]]:
    """The groups of somebody in a tenant."""
    return [
        {"id": group_id, "name": group.name, "external": membership.managed_externally}
        for group_id, group, membership in identities.groups_of(tenant, subject_id)
    ]


def tenant_document(tenant_id: str, tenant: Tenant) -> dict[str, Any]:
    """A tenant with its settings; secrets within them are not shown."""
    authentication = tenant.sdk_default_authentication
    return without_nulls(
        {
            "id": tenant_id,
            "name": tenant.name,
            "deleted": False,
            **tenant_settings(tenant),
            "appCatalogConfig": tenant.app_catalog_config,
            "logo": tenant.logo,
            "sdkDefaultAuthentication": None
            if authentication is None
            else {name: value for name, value in authentication.items() if name in ("username", "url")},
        }
    )


def subject_type(type_: SubjectType) -> str:
    """The kind of a subject as the API spells it."""
    return "STANDARD" if type_ is SubjectType.USER else "SERVICE_ACCOUNT"
