"""Keeps the content of files and secrets from services that the operator does not trust with them (STOR-9, SECR-10)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from flowtide.errors import FileForbidden, SecretInvalid
from flowtide.model.services import ServiceType
from flowtide.settings import Settings, SettingsError


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """The types of services that may carry URIs of files and not read them, and those that may not see secrets."""

    files: Collection[ServiceType] = ()
    secrets: Collection[ServiceType] = ()

    def check_files(self, service: ServiceType) -> None:
        """Raises FileForbidden where a service may not read files."""
        if service in self.files:
            raise FileForbidden(
                f"the service {service.value} may not read files here (`storage.isolation.denied-services`); "
                "let a task read them"
            )

    def check_secrets(self, service: ServiceType) -> None:
        """Raises SecretInvalid where a service may not see secrets."""
        if service in self.secrets:
            raise SecretInvalid(
                f"the service {service.value} may not see secrets here (`secret.isolation.denied-services`); "
                "let a task use them"
            )


def isolation_of(settings: Settings) -> Isolation:
    """What the settings say.  Raises SettingsError for what is no type of service."""
    storage = settings.storage.isolation
    secret = settings.secret.backends.get("isolation", {})
    denied = secret.get("denied-services") or ()
    return Isolation(
        files=_services("storage", storage.denied_services) if storage.enabled else (),
        secrets=_services("secret", denied if isinstance(denied, list | tuple) else (denied,))
        if str(secret.get("enabled", "false")).lower() == "true"
        else (),
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
