"""Keeps the content of files and secrets from services that the operator does not trust with them (STOR-9, SECR-10)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from flowtide.errors import FileForbidden, SecretInvalid
from flowtide.model.services import ServiceType
from flowtide.settings import Settings, SettingsError

Denied = Callable[[str, str, str | None], Collection[ServiceType]]
"""Gives the services that a tenant and its namespaces deny `storage` or `secret`."""


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The types of services that may carry URIs of files and not read them, and those that may not see secrets.

    `denied` adds what tenants and namespaces say of theirs (TEN-14); what the instance denies they cannot allow.
    """

    files: Collection[ServiceType] = ()
    secrets: Collection[ServiceType] = ()
    denied: Denied | None = None

    def check_files(self, service: ServiceType, tenant: str, namespace: str | None = None) -> None:
        """Raises FileForbidden where a service may not read files of a namespace."""
        if service in self.files:
            raise FileForbidden(
                f"the service {service.value} may not read files here (`storage.isolation.denied-services`); "
                "let a task read them"
            )
        if self.denied is not None and service in self.denied("storage", tenant, namespace):
            raise FileForbidden(
                f"the service {service.value} may not read files here (`storageIsolation` of the namespace or its "
                f"tenant){'' if service is ServiceType.WORKER else '; let a task read them'}"
            )

    def check_secrets(self, service: ServiceType, tenant: str, namespace: str | None = None) -> None:
        """Raises SecretInvalid where a service may not see secrets of a namespace."""
        if service in self.secrets:
            raise SecretInvalid(
                f"the service {service.value} may not see secrets here (`secret.isolation.denied-services`); "
                "let a task use them"
            )
        if self.denied is not None and service in self.denied("secret", tenant, namespace):
            raise SecretInvalid(
                f"the service {service.value} may not see secrets here (`secretIsolation` of the namespace or its "
                f"tenant){'' if service is ServiceType.WORKER else '; let a task use them'}"
            )


def isolation_of(settings: Settings, denied: Denied | None = None) -> Isolation:
    """What the settings say, and what `denied` adds.  Raises SettingsError for what is no type of service."""
    storage = settings.storage.isolation
    secret = settings.secret.backends.get("isolation", {})
    named = secret.get("denied-services") or ()
    return Isolation(
        files=_services("storage", storage.denied_services) if storage.enabled else (),
        secrets=_services("secret", named if isinstance(named, list | tuple) else (named,))
        if str(secret.get("enabled", "false")).lower() == "true"
        else (),
        denied=denied,
    )


def _services(what: str, names: Collection[object]) -> frozenset[ServiceType]:
    found = set()
    for name in names:
        try:
            found.add(ServiceType(str(name).upper()))
        except ValueError:
            known = ", ".join(each.value for each in ServiceType)
            raise SettingsError(
                [f"`{what}.isolation.denied-services`: `{name}` is none of {known}"]
            ) from None
    return frozenset(found)
