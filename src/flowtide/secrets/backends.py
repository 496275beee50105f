"""The kinds of secret backends: turns `secret.type` into the port."""

from __future__ import annotations

from collections.abc import Mapping

from flowtide.errors import SecretInvalid
from flowtide.secrets.environment import EnvironmentSecrets
from flowtide.secrets.port import Secrets


def open_secrets(kind: str, environment: Mapping[str, str]) -> Secrets:
    """Build the backend of a kind; `environment` is that of the server.

    Raises SecretInvalid for a kind that is not there.
    """
    if kind == "environment":
        return EnvironmentSecrets(environment)
    raise SecretInvalid(f"secret.type is `{kind}`, which is not there; choose `environment`")
