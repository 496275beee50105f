"""Secrets of namespaces: saved encrypted on the log, found by `secret()`, and beyond them the configured backend.

In come keys and values; out go values to expressions, and keys, tags and descriptions to people, never a value.  A
namespace sees the secrets of those above it, the nearest first (SEC-02), each from the manager of the namespace that
has it (ISO-03).  State: the dedicated managers that were opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from flowtide.errors import SecretInvalid, SecretMissing, SecretsReadOnly, ValueInvalid
from flowtide.model.records import encode
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.saved_secrets import SECRET_BODY_DECODER, SecretBody, SecretTag
from flowtide.secrets import STORED_KINDS, Keyring, Secrets
from flowtide.secrets.environment import field_of
from flowtide.secrets.port import missing
from flowtide.services.catalog import Catalog
from flowtide.services.dedicated import Backend, Dedicated
from flowtide.services.platform.namespaces import checked_name, lineage
from flowtide.services.saving import ResourceClient
from flowtide.services.secret_keys import SecretKeys

_LONGEST_KEY = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownSecret:
    """What people may know of a secret."""

    namespace: str
    key: str
    description: str | None
    tags: Sequence[SecretTag]


class SecretStore(Secrets):
    """The secrets of an installation.  `find` may be called from threads; the rest on the event loop."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        client: ResourceClient,
        keys: SecretKeys,
        fallback: Secrets,
        clock: Callable[[], datetime],
        read_only: bool = False,
        dedicated: Dedicated | None = None,
        outside: Callable[[Backend], Secrets] | None = None,
    ) -> None:
        """`fallback` is asked for what is not saved here (SECR-11); `read_only` refuses changes (SEC-22).

        `dedicated` tells the managers of tenants and namespaces, `outside` opens those that do not save here.
        """
        self._dedicated = dedicated
        self._outside = outside
        self._open: dict[str, Secrets] = {}
        self._catalog = catalog
        self._client = client
        self._keys = keys
        self._fallback = fallback
        self._clock = clock
        self.read_only = read_only

    def find(self, *, tenant_id: str, namespace: str, name: str, subkey: str | None = None) -> str:
        """The value.  Raises SecretMissing, SecretInvalid."""
        instance_is_asked = False
        for owner in reversed(lineage(namespace)):
            manager = self._manager(tenant_id, owner)
            instance_is_asked = instance_is_asked or manager is None
            if manager is not None and manager.kind not in STORED_KINDS:
                try:
                    return self._opened_manager(manager).find(
                        tenant_id=tenant_id, namespace=owner, name=name, subkey=subkey
                    )
                except SecretMissing:
                    continue
            saved = self._catalog.get(ResourceKind.SECRET, tenant_id, f"{owner}/{name}")
            if saved is not None and not saved.deleted:
                value = self._opened(tenant_id, f"{owner}/{name}", saved)
                return value if subkey is None else field_of(value, name, subkey)
        advice = "create it there, or in a namespace above it"
        if not instance_is_asked:
            # What is the operator's own is not for those who keep theirs elsewhere.
            raise SecretMissing(missing(name, namespace, advice))
        try:
            return self._fallback.find(tenant_id=tenant_id, namespace=namespace, name=name, subkey=subkey)
        except SecretMissing:
            if self.read_only or subkey is not None:
                raise
            raise SecretMissing(missing(name, namespace, advice)) from None

    def is_read_only(self, tenant: str, namespace: str | None = None) -> bool:
        """Whether the secrets of a namespace, or of the tenant, cannot be changed here (SEC-22)."""
        manager = self._manager(tenant, namespace)
        own = self._dedicated is not None and self._dedicated.secrets_are_read_only(tenant, namespace)
        return own or (self.read_only if manager is None else manager.kind not in STORED_KINDS)

    def known(self, tenant: str, namespace: str | None = None) -> Iterator[KnownSecret]:
        """The secrets of a namespace, or of all of them, by namespace and key; those of files as well (SEC-22)."""
        beginning = "" if namespace is None else f"{namespace}/"
        found = {
            identifier: _known(identifier, saved)
            for identifier, saved in self._catalog.below(ResourceKind.SECRET, tenant, beginning)
        }
        for owner, name in self._listed_outside(tenant):
            if namespace in (None, owner):
                kept = KnownSecret(namespace=owner, key=name, description=None, tags=())
                found.setdefault(f"{owner}/{name}", kept)
        for _, known in sorted(found.items()):
            yield known

    def _listed_outside(self, tenant: str) -> Iterator[tuple[str, str]]:
        """What managers that do not keep their secrets here have for namespaces that ask them."""
        for owner, name in self._fallback.names(tenant):
            if self._manager(tenant, owner) is None:
                yield owner, name
        managers = () if self._dedicated is None else self._dedicated.managers(tenant)
        for manager in managers:
            if manager.kind not in STORED_KINDS:
                for owner, name in self._opened_manager(manager).names(tenant):
                    if self._manager(tenant, owner) == manager:
                        yield owner, name

    def get(self, tenant: str, namespace: str, key: str) -> KnownSecret | None:
        """What is known of one secret."""
        saved = self._catalog.get(ResourceKind.SECRET, tenant, f"{namespace}/{key}")
        return None if saved is None or saved.deleted else _known(f"{namespace}/{key}", saved)

    async def put(
        self,
        tenant: str,
        namespace: str,
        key: str,
        value: str,
        *,
        description: str | None = None,
        tags: Sequence[SecretTag] = (),
        by: str | None = None,
    ) -> None:
        """Save a secret, whatever was there.  Raises ValueInvalid, SecretsReadOnly, and as `ResourceClient.save`."""
        self._check_writable(tenant, namespace)
        identifier = f"{checked_name(namespace)}/{_checked_key(key)}"
        before = self._catalog.get(ResourceKind.SECRET, tenant, identifier)
        created = self._clock()
        if before is not None and not before.deleted:
            created = SECRET_BODY_DECODER.decode(before.body).created
        await self._keys.writing()
        keyring = self._keyring(tenant, namespace)
        # The place is encrypted with the value, so that a record copied to another namespace is of no use there.
        sealed = keyring.encrypt(json.dumps([identifier, value]), tenant_id=tenant, place=identifier)
        body = SecretBody(sealed=sealed, created=created, description=description, tags=tuple(tags))
        await self._client.save(ResourceKind.SECRET, tenant, identifier, encode(body), by=by)

    async def describe(
        self,
        tenant: str,
        namespace: str,
        key: str,
        *,
        description: str | None,
        tags: Sequence[SecretTag],
        by: str | None = None,
    ) -> bool:
        """Change what is known of a secret; False when there is none.  Raises as `put`."""
        self._check_writable(tenant, namespace)
        identifier = f"{namespace}/{key}"
        saved = self._catalog.get(ResourceKind.SECRET, tenant, identifier)
        if saved is None or saved.deleted:
            return False
        before = SECRET_BODY_DECODER.decode(saved.body)
        body = SecretBody(
            sealed=before.sealed, created=before.created, description=description, tags=tuple(tags)
        )
        await self._client.save(ResourceKind.SECRET, tenant, identifier, encode(body), saved.revision, by=by)
        return True

    async def delete(self, tenant: str, namespace: str, key: str, *, by: str | None = None) -> bool:
        """Remove a secret; False when there is none.  Raises as `put`."""
        self._check_writable(tenant, namespace)
        if self.get(tenant, namespace, key) is None:
            return False
        await self._client.delete(ResourceKind.SECRET, tenant, f"{namespace}/{key}", by=by)
        return True

    def opened(self, tenant: str, namespace: str, key: str) -> str | None:
        """The value of a secret of that very namespace, for backups.  Raises SecretInvalid."""
        saved = self._catalog.get(ResourceKind.SECRET, tenant, f"{namespace}/{key}")
        return None if saved is None or saved.deleted else self._opened(tenant, f"{namespace}/{key}", saved)

    async def encrypt_again(self, tenant: str, *, by: str | None = None) -> int:
        """Encrypt the secrets of a tenant with the keys of now, where another one was used; gives how many.

        After that a former key is not needed any more.  Raises SecretInvalid, and as `ResourceClient.save`.
        """
        changed = 0
        await self._keys.writing()
        for identifier, saved in tuple(self._catalog.list(ResourceKind.SECRET, tenant)):
            namespace = identifier.partition("/")[0]
            text = json.dumps([identifier, self._opened(tenant, identifier, saved)])
            before = SECRET_BODY_DECODER.decode(saved.body)
            sealed = self._keyring(tenant, namespace).encrypt(text, tenant_id=tenant, place=identifier)
            if sealed == before.sealed:  # the same text at the same place under the same key looks the same
                continue
            body = SecretBody(
                sealed=sealed, created=before.created, description=before.description, tags=before.tags
            )
            await self._client.save(
                ResourceKind.SECRET, tenant, identifier, encode(body), saved.revision, by=by
            )
            changed += 1
        return changed

    def _manager(self, tenant: str, namespace: str | None) -> Backend | None:
        return None if self._dedicated is None else self._dedicated.secrets(tenant, namespace)

    def _opened_manager(self, manager: Backend) -> Secrets:
        key = json.dumps([manager.tenant, manager.kind, manager.options], sort_keys=True, default=str)
        found = self._open.get(key)
        if found is None:
            if self._outside is None:
                raise SecretInvalid(f"a secrets manager of type `{manager.kind}` cannot be used here")
            found = self._open[key] = self._outside(manager)
        return found

    def _keyring(self, tenant: str, namespace: str) -> Keyring:
        manager = self._manager(tenant, namespace)
        return self._keys.reading() if self._dedicated is None else self._dedicated.keyring(manager)

    async def seal(self, tenant: str, place: str, text: str) -> str:
        """Encrypt what is no secret of a namespace and must not be read either; it opens as of that place only.

        Raises as `ResourceClient.save`, since a key may have to be made first.
        """
        keyring = await self._keys.writing()
        return json.dumps(keyring.encrypt(json.dumps([place, text]), tenant_id=tenant, place=place))

    def unseal(self, tenant: str, place: str, sealed: str) -> str:
        """Read what `seal` encrypted.  Raises SecretInvalid."""
        found, text = json.loads(self._keys.reading().decrypt(json.loads(sealed), tenant_id=tenant))
        if found != place:
            raise SecretInvalid("what was encrypted for another place cannot be used here")
        return str(text)

    def _opened(self, tenant: str, identifier: str, saved: Resource) -> str:
        sealed = SECRET_BODY_DECODER.decode(saved.body).sealed
        keyring = self._keyring(tenant, identifier.partition("/")[0])
        place, value = json.loads(keyring.decrypt(sealed, tenant_id=tenant))
        if place != identifier:
            raise SecretInvalid(f"the secret `{identifier}` was saved as another one and cannot be used here")
        return str(value)

    def _check_writable(self, tenant: str, namespace: str) -> None:
        if not self.is_read_only(tenant, namespace):
            return
        if self.read_only and self._manager(tenant, namespace) is None:
            raise SecretsReadOnly(
                "secrets are read-only here: change them in the backend that `secret.type` names, or the setting "
                "`secret.read-only`"
            )
        raise SecretsReadOnly(
            f"the secrets of `{namespace}` are read-only: change them in the manager that `secretType` of the "
            "namespace or its tenant names, or `secretReadOnly` there"
        )


def _known(identifier: str, saved: Resource) -> KnownSecret:
    namespace, _, key = identifier.partition("/")
    body = SECRET_BODY_DECODER.decode(saved.body)
    return KnownSecret(namespace=namespace, key=key, description=body.description, tags=body.tags)


def _checked_key(key: str) -> str:
    if not key or len(key) > _LONGEST_KEY or not key.isprintable() or key != key.strip():
        raise ValueInvalid(
            f"a secret's key has 1 to {_LONGEST_KEY} printable characters, no blanks around them"
        )
    return key
