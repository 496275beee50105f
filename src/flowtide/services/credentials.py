"""Saved credentials: documents of people come in, tokens for expressions and tests of them go out (CRED-01, CRED-06).

A credential belongs to a namespace, which those below it may use, or to the whole tenant; the nearest one counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from flowtide.errors import FlowtideError
from flowtide.model.credentials import TENANT_WIDE, CredentialConfig, SecretReference, checked_credential
from flowtide.model.outbound import OPEN, OutboundRules
from flowtide.model.records import encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.secrets import Secrets
from flowtide.services.catalog import Catalog
from flowtide.services.platform.namespaces import checked_name, lineage
from flowtide.services.saving import ResourceClient
from flowtide.services.tokens import Token, Tokens

_TENANT: Final = f"{TENANT_WIDE}:"
"""In place of the namespace; no namespace has a colon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedCredential:
    """A credential as it was saved."""

    namespace: str | None  # None: of the tenant
    name: str
    document: Mapping[str, Any]
    revision: int
    updated: datetime


class Credentials:
    """The credentials of an installation.  For the event loop."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        client: ResourceClient,
        secrets: Secrets,
        clock: Callable[[], datetime],
        ids: Callable[[], str],
        outbound: OutboundRules = OPEN,
    ) -> None:
        self._catalog = catalog
        self._client = client
        self._secrets = secrets
        self._tokens = Tokens(clock=clock, ids=ids, outbound=outbound)

    def get(self, tenant: str, namespace: str | None, name: str) -> SavedCredential | None:
        """A credential of that very namespace, or of the tenant."""
        identifier = f"{namespace or _TENANT}/{name}"
        saved = self._catalog.get(ResourceKind.CREDENTIAL, tenant, identifier)
        return None if saved is None or saved.deleted else _saved(identifier, saved)

    def list(self, tenant: str, namespace: str | None) -> Iterator[SavedCredential]:
        """The credentials of that very namespace, or of the tenant, by name."""
        beginning = f"{namespace or _TENANT}/"
        for identifier, saved in self._catalog.below(ResourceKind.CREDENTIAL, tenant, beginning):
            yield _saved(identifier, saved)

    def all(self, tenant: str) -> Iterator[SavedCredential]:
        """Those of all namespaces and of the tenant."""
        for identifier, saved in self._catalog.list(ResourceKind.CREDENTIAL, tenant):
            yield _saved(identifier, saved)

    async def save(
        self,
        tenant: str,
        namespace: str | None,
        document: Mapping[str, Any],
        *,
        expected_revision: int | None = None,
        by: str | None = None,
    ) -> SavedCredential:
        """Save a credential.  Raises ValueInvalid, and as `ResourceClient.save`."""
        name = checked_credential(document).name
        owner = _TENANT if namespace is None else checked_name(namespace)
        identifier = f"{owner}/{name}"
        body = encode({**document, "name": name})
        saved = await self._client.save(
            ResourceKind.CREDENTIAL, tenant, identifier, body, expected_revision, by=by
        )
        return _saved(identifier, saved)

    async def delete(self, tenant: str, namespace: str | None, name: str, *, by: str | None = None) -> None:
        """Remove a credential.  Raises ResourceConflict when there is none, and as `ResourceClient.delete`."""
        await self._client.delete(ResourceKind.CREDENTIAL, tenant, f"{namespace or _TENANT}/{name}", by=by)

    async def token(self, tenant: str, namespace: str, name: str) -> str:
        """The access token for flows of a namespace (CRED-02).  Raises CredentialMissing, TokenRefused."""
        for owner in (*reversed(lineage(namespace)), None):
            found = self.get(tenant, owner, name)
            if found is not None:
                config = checked_credential(found.document)
                key, secret = await self._secret(tenant, owner or namespace, config)
                return await self._tokens.get((tenant, owner, name, found.revision, key), config, secret)
        raise CredentialMissing(
            f"there is no credential `{name[:150]}` for the namespace `{namespace}`; create it there, in a namespace "
            "above it, or for the tenant"
        )

    async def test(self, tenant: str, found: SavedCredential) -> Token:
        """Get a new token, to see whether that works (CRED-06).  Raises as `token`."""
        config = checked_credential(found.document)
        _, secret = await self._secret(tenant, found.namespace, config)
        return await self._tokens.mint(config, secret)

    async def _secret(
        self, tenant: str, namespace: str | None, config: CredentialConfig
    ) -> tuple[tuple[str | None, SecretReference], str]:
        reference = config.private_key or config.client_secret
        assert reference is not None
        owner = reference.namespace or namespace
        if owner is None:
            # A credential of the tenant, which is tested outside of flows: whichever namespace has its secret.
            owner = self._owner_of(tenant, reference.key)
        # Backends of secrets may take their time.
        value = await asyncio.to_thread(
            self._secrets.find, tenant_id=tenant, namespace=owner, name=reference.key, subkey=reference.subkey
        )
        return (owner, reference), value

    def _owner_of(self, tenant: str, key: str) -> str:
        for identifier, _ in self._catalog.list(ResourceKind.SECRET, tenant):
            namespace, _, found = identifier.partition("/")
            if found == key:
                return namespace
        return "system"  # the environment has its secrets for all namespaces


class CredentialMissing(FlowtideError):
    """There is no credential of this name for the namespace."""

    code = "credential-missing"


def _saved(identifier: str, saved: Resource) -> SavedCredential:
    owner, _, name = identifier.partition("/")
    return SavedCredential(
        namespace=None if owner == _TENANT else owner,
        name=name,
        document=msgspec.json.decode(saved.body),
        revision=saved.revision,
        updated=saved.updated,
    )
