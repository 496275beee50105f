"""Services that may not read files or see secrets (STOR-9, SECR-10)."""

from __future__ import annotations

from typing import Any

import pytest

from flowtide.errors import FileForbidden, SecretInvalid
from flowtide.model.services import ServiceType
from flowtide.services.platform.isolation import Isolation, isolation_of
from flowtide.settings import Settings, SettingsError


def isolation(**given: Any) -> Isolation:
    overrides = {key.replace("__", ".").replace("_", "-"): value for key, value in given.items()}
    return isolation_of(Settings.load(environment={}, overrides=overrides))


def test_who_is_denied() -> None:
    """Only the services of the list, and only when it is switched on."""
    found = isolation(
        storage__isolation__enabled=True,
        storage__isolation__denied_services=["executor", "WEBSERVER"],
        secret__isolation__enabled=True,
        secret__isolation__denied_services=["SCHEDULER"],
    )
    found.check_files(ServiceType.WORKER, "main")
    found.check_secrets(ServiceType.WEBSERVER, "main")
    with pytest.raises(FileForbidden, match="WEBSERVER may not read files"):
        found.check_files(ServiceType.WEBSERVER, "main")
    with pytest.raises(SecretInvalid, match="SCHEDULER may not see secrets"):
        found.check_secrets(ServiceType.SCHEDULER, "main")
    off = isolation(storage__isolation__denied_services=["WEBSERVER"])
    off.check_files(ServiceType.WEBSERVER, "main")


def test_a_service_that_is_none() -> None:
    """The message names the setting and what there is."""
    with pytest.raises(SettingsError, match=r"storage\.isolation\.denied-services.*`printer`.*EXECUTOR"):
        isolation(storage__isolation__enabled=True, storage__isolation__denied_services=["printer"])
