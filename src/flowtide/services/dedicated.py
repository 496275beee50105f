"""What tenants and namespaces have of their own (ISO-03): storage, secrets manager, worker group, denied services.

In come the saved tenants and namespaces; out goes what counts for one namespace, its own first, then that of the
namespaces above it, then its tenant's.  This is the one place where it is looked up.  State: a cache of decoded
records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
from pydantic import ValidationError

from flowtide.errors import SecretInvalid, StorageError, ValueInvalid
from flowtide.index.kinds import SYSTEM_TENANT
from flowtide.model.audit import masked
from flowtide.model.identity import TENANT_DECODER, Tenant
from flowtide.model.resources import Resource, ResourceKind
from flowtide.model.services import ServiceType
from flowtide.model.task import WorkerGroup
from flowtide.secrets import STORED_KINDS, Encryption, Secrets, encryption_of_phrase, open_secrets
from flowtide.secrets.keyring import Keyring
from flowtide.services.catalog import Catalog
from flowtide.services.platform.namespaces import lineage
from flowtide.services.secret_keys import SecretKeys
from flowtide.storage import check_storage
from flowtide.storage.routing import of_kind

logger = structlog.get_logger(__name__)

SECRET_KINDS: Final = (*sorted(STORED_KINDS), "environment", "file")
CONFIGURATIONS: Final = ("storageConfiguration", "secretConfiguration")
"""The fields of a tenant or a namespace that have credentials in them; they are saved encrypted as a whole."""

_GROUP_KEY: Final = re.compile(r"[a-zA-Z0-9._-]{1,128}")
_SEALED: Final = "sealed"
_STARS: Final = "******"


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A storage or a secrets manager of a tenant, or of a namespace and those below it."""

    tenant: str
    namespace: str | None  # None: of the whole tenant
    kind: str
    options: Mapping[str, Any]


class Dedicated:
    """Looks up what tenants and namespaces have of their own.  Safe to call from threads."""

    def __init__(self, catalog: Catalog, keys: SecretKeys) -> None:
        """`keys` open the configurations; the catalog is started already."""
        self._catalog = catalog
        self._keys = keys
        self._read: dict[tuple[str, str | None], tuple[Resource, Mapping[str, Any]]] = {}

    # What counts for a namespace.

    def storage(self, tenant: str, namespace: str | None) -> Backend | None:
        """The storage for the files of a namespace; None: that of the instance.  Raises StorageError."""
        for owner, settings in self._settings(tenant, namespace):
            if settings.get("storageType"):
                try:
                    options = self._opened(tenant, owner, "storageConfiguration", settings)
                except SecretInvalid as error:
                    raise StorageError(error.message) from None
                return Backend(
                    tenant=tenant, namespace=owner, kind=str(settings["storageType"]), options=options
                )
        return None

    def storage_place(self, tenant: str, namespace: str | None) -> tuple[str, Mapping[str, Any]] | None:
        """The same as `flowtide.storage.routing.Choose` gives it."""
        found = self.storage(tenant, namespace)
        return None if found is None else (found.kind, found.options)

    def secrets(self, tenant: str, namespace: str | None) -> Backend | None:
        """The secrets manager of a namespace; None: that of the instance.  Raises SecretInvalid."""
        for owner, settings in self._settings(tenant, namespace):
            if settings.get("secretType"):
                kind = str(settings["secretType"])
                options = of_kind(kind, self._opened(tenant, owner, "secretConfiguration", settings))
                return Backend(tenant=tenant, namespace=owner, kind=kind, options=options)
        return None

    def secrets_are_read_only(self, tenant: str, namespace: str | None) -> bool:
        """Whether secrets of a namespace must not be changed here (SEC-22)."""
        for _, settings in self._settings(tenant, namespace):
            if settings.get("secretReadOnly") is not None:
                return bool(settings["secretReadOnly"])
        return False

    def worker_groups(self, tenant: str, namespace: str) -> Iterator[tuple[str, WorkerGroup]]:
        """The groups that jobs go to by default, with what to call them (WG-10), the nearest first."""
        for owner, settings in self._settings(tenant, namespace):
            if settings.get("workerGroup"):
                where = f"the tenant `{tenant}`" if owner is None else f"the namespace `{owner}`"
                try:
                    group = worker_group_of(settings["workerGroup"])
                except ValueInvalid as error:  # saved by a version that did not look at it
                    logger.warning("a default worker group cannot be used", owner=where, reason=error.message)
                    continue
                yield f"workerGroup.key of {where}", group

    def trigger_group(self, tenant: str, namespace: str) -> str | None:
        """The group whose workers evaluate polling triggers by default: one whose key is written out."""
        keys = (group.key.strip() for _, group in self.worker_groups(tenant, namespace))
        return next((key for key in keys if _GROUP_KEY.fullmatch(key)), None)

    def denied(self, what: str, tenant: str, namespace: str | None) -> frozenset[ServiceType]:
        """The services that may not read `storage` or `secret` here; a namespace adds some, lifts none (TEN-14)."""
        found: set[ServiceType] = set()
        for _, settings in self._settings(tenant, namespace):
            found |= denied_services(settings.get(f"{what}Isolation"))
        return frozenset(found)

    def stores_outputs(self, tenant: str, namespace: str) -> bool:
        """Whether all outputs of tasks go to the storage (STOR-13)."""
        for _, settings in self._settings(tenant, namespace):
            if settings.get("outputsInInternalStorage") is not None:
                return bool(settings["outputsInInternalStorage"])
        return False

    def needs_existing_namespace(self, tenant: str) -> bool:
        """Whether flows may be saved only in namespaces that were saved themselves (NSM-12)."""
        return bool(self._of(tenant, None).get("requireExistingNamespace"))

    def storages(self, tenant: str) -> Iterator[Backend]:
        """Every storage of its own that a tenant or one of its namespaces has.  Raises StorageError."""
        names = [name for name, _ in self._catalog.list(ResourceKind.NAMESPACE, tenant)]
        for owner in (None, *names):
            if self._of(tenant, owner).get("storageType") and (found := self.storage(tenant, owner)):
                yield found

    def managers(self, tenant: str) -> Iterator[Backend]:
        """Every secrets manager of its own that a tenant or one of its namespaces has.  Raises SecretInvalid."""
        names = [name for name, _ in self._catalog.list(ResourceKind.NAMESPACE, tenant)]
        for owner in (None, *names):
            if self._of(tenant, owner).get("secretType") and (found := self.secrets(tenant, owner)):
                yield found

    # Configurations, as they are saved, used and shown.

    def restored(
        self, tenant: str, owner: str | None, field: str, given: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A configuration as somebody sent it, with what its stars stand for.  Raises SecretInvalid."""
        return _restored(given, self._opened(tenant, owner, field, self._of(tenant, owner)))

    def differs(self, tenant: str, owner: str | None, document: Mapping[str, Any]) -> bool:
        """Whether a document names other backends than what is saved.  Raises SecretInvalid."""
        saved = self._of(tenant, owner)
        return any(saved.get(field) != document.get(field) for field in ("storageType", "secretType")) or any(
            self._opened(tenant, owner, field, saved)
            != self.restored(tenant, owner, field, document.get(field) or {})
            for field in CONFIGURATIONS
        )

    async def sealed(
        self, tenant: str, owner: str | None, field: str, options: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """A configuration as it is saved: encrypted.  Raises SecretInvalid, and as `ResourceClient.save`."""
        if not options:
            return None
        text = json.dumps([_place(owner, field), options])
        keyring = await self._keys.writing()
        return {_SEALED: keyring.encrypt(text, tenant_id=tenant, place=_place(owner, field))}

    def opened(self, tenant: str, owner: str | None, field: str, saved: Any) -> dict[str, Any]:
        """A configuration as it is used, of what `sealed` gave.  Raises SecretInvalid."""
        if not isinstance(saved, Mapping):
            return {}
        if set(saved) != {_SEALED}:
            return dict(saved)  # it was saved before configurations were encrypted
        place, options = json.loads(self._keys.reading().decrypt(saved[_SEALED], tenant_id=tenant))
        if place != _place(owner, field):
            raise SecretInvalid(f"`{field}` was saved for something else and cannot be used here")
        return dict(options)

    def shown(self, tenant: str, owner: str | None, document: Mapping[str, Any]) -> dict[str, Any]:
        """A document of a tenant or a namespace as people see it: stars for what is secret in its configurations."""
        seen = dict(document)
        for field in CONFIGURATIONS:
            if seen.get(field):
                try:
                    seen[field] = _starred(self.opened(tenant, owner, field, seen[field]))
                except SecretInvalid:
                    seen[field] = _STARS
        return seen

    def keyring(self, backend: Backend | None) -> Keyring:
        """The keys of secrets that are kept beside everything else: a phrase of their own first (SEC-09).

        Raises SecretInvalid.
        """
        keys = self._keys.reading()
        phrase = None if backend is None else backend.options.get("secret")
        if not phrase:
            return keys
        return keys.after(encryption_of_phrase(str(phrase), "secretConfiguration.secret"))

    # How it is read.

    def _settings(self, tenant: str, namespace: str | None) -> Iterator[tuple[str | None, Mapping[str, Any]]]:
        for owner in reversed(lineage(namespace)) if namespace else ():
            yield owner, self._of(tenant, owner)
        yield None, self._of(tenant, None)

    def _of(self, tenant: str, owner: str | None) -> Mapping[str, Any]:
        resource = (
            self._catalog.get(ResourceKind.TENANT, SYSTEM_TENANT, tenant)
            if owner is None
            else self._catalog.get(ResourceKind.NAMESPACE, tenant, owner)
        )
        if resource is None or resource.deleted:
            return {}
        known = self._read.get((tenant, owner))
        if known is None or known[0] is not resource:
            body = resource.body
            if owner is None:
                settings = tenant_settings(TENANT_DECODER.decode(body))
            else:
                settings = msgspec.json.decode(body)
            if len(self._read) > 10_000:
                self._read.clear()
            known = self._read[tenant, owner] = (resource, settings)
        return known[1]

    def _opened(
        self, tenant: str, owner: str | None, field: str, settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        return self.opened(tenant, owner, field, settings.get(field))


def manager_opener(
    environment: Mapping[str, str], encryption: Encryption | None
) -> Callable[[Backend], Secrets]:
    """What opens the secrets managers that do not keep their secrets beside everything else."""

    def opened(manager: Backend) -> Secrets:
        return open_secrets(
            manager.kind,
            environment,
            options=manager.options,
            encryption=encryption,
            with_environment=False,
        )

    return opened


def check_settings(document: Mapping[str, Any], configurations: Mapping[str, Mapping[str, Any]]) -> None:
    """Insist that what a tenant or a namespace has of its own can be used.

    `configurations` has those of `document` with what stars stand for.  Raises ValueInvalid.
    """
    for what in ("storage", "secret"):
        field = f"{what}Configuration"
        given, kind = document.get(field), document.get(f"{what}Type")
        if given is not None and not isinstance(given, Mapping):
            raise ValueInvalid(f"`{field}` must be an object with the options of `{what}Type`")
        if given and not kind:
            raise ValueInvalid(f"`{field}` needs `{what}Type`")
        denied_services(document.get(f"{what}Isolation"))
    if kind := document.get("storageType"):
        try:
            check_storage(str(kind), configurations.get("storageConfiguration", {}))
        except StorageError as error:
            raise ValueInvalid(f"`storageType`: {error.message}") from None
    if kind := document.get("secretType"):
        _check_secrets(str(kind), of_kind(str(kind), configurations.get("secretConfiguration", {})))
    for field in ("secretReadOnly", "outputsInInternalStorage", "requireExistingNamespace"):
        if not isinstance(document.get(field), bool | None):
            raise ValueInvalid(f"`{field}` must be true or false")
    if document.get("workerGroup"):
        worker_group_of(document["workerGroup"])
    if any((document.get("sdkDefaultAuthentication") or {}).values()):
        raise ValueInvalid(
            "`sdkDefaultAuthentication` is not supported: no task of this version asks the API by itself; "
            "give the task its login"
        )


def _check_secrets(kind: str, options: Mapping[str, Any]) -> None:
    if kind not in SECRET_KINDS:
        raise ValueInvalid(f"`secretType`: `{kind}` is not there; choose one of {', '.join(SECRET_KINDS)}")
    known = {"file": {"path"}, "environment": set()}.get(kind, {"secret"})
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueInvalid(f"`secretConfiguration`: `{kind}` has no option `{unknown[0]}`")
    if kind == "file" and not options.get("path"):
        raise ValueInvalid("`secretConfiguration`: `file` needs the `path` of the file")
    phrase = options.get("secret")
    if phrase is not None and len(str(phrase)) < 32:  # SEC-09
        raise ValueInvalid("`secretConfiguration`: `secret` must have at least 32 characters")


def reaches_host(document: Mapping[str, Any]) -> bool:
    """Whether it names files of the servers' disks, which only the operators of the instance may do."""
    return document.get("storageType") == "local" or document.get("secretType") in ("file", "environment")


def denied_services(isolation: Any) -> frozenset[ServiceType]:
    """The services that an `Isolation` names, where it is enabled.  Raises ValueInvalid."""
    if not isolation:
        return frozenset()
    if not isinstance(isolation, Mapping):
        raise ValueInvalid("an isolation must be an object with `enabled` and `deniedServices`")
    found = set()
    for name in isolation.get("deniedServices") or ():
        try:
            found.add(ServiceType(str(name).upper()))
        except ValueError:
            known = ", ".join(each.value for each in ServiceType)
            raise ValueInvalid(f"`deniedServices`: `{name}` is none of {known}") from None
    return frozenset(found) if isolation.get("enabled") else frozenset()


def worker_group_of(given: Any) -> WorkerGroup:
    """A `workerGroup` of a tenant or a namespace.  Raises ValueInvalid."""
    try:
        return WorkerGroup.model_validate(given)
    except ValidationError as error:
        reason = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueInvalid(f"`workerGroup`: {reason}") from None


def tenant_settings(tenant: Tenant) -> dict[str, Any]:
    """What a tenant has of its own, as the API names it; None where it has nothing."""
    return {
        "storageType": tenant.storage_type,
        "storageConfiguration": tenant.storage_configuration,
        "storageIsolation": tenant.storage_isolation,
        "secretType": tenant.secret_type,
        "secretConfiguration": tenant.secret_configuration,
        "secretIsolation": tenant.secret_isolation,
        "secretReadOnly": tenant.secret_read_only,
        "workerGroup": tenant.worker_group,
        "outputsInInternalStorage": tenant.outputs_in_internal_storage,
        "requireExistingNamespace": tenant.require_existing_namespace,
    }


def _place(owner: str | None, field: str) -> str:
    return f"{field} of {'the tenant' if owner is None else owner}"


def _starred(options: Mapping[str, Any]) -> dict[str, Any]:
    starred: dict[str, Any] = masked(dict(options))
    return {
        key: _STARS if "key" in key.lower() and isinstance(value, str) and value else value
        for key, value in starred.items()
    }


def _restored(given: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: before.get(key, value)
        if value == _STARS
        else _restored(value, before.get(key) or {})
        if isinstance(value, Mapping)
        else value
        for key, value in given.items()
    }
