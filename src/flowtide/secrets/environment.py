"""Secrets from the environment: `SECRET_{NAME}` holds the value in base64 (SEC-01, page 066)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Final

from flowtide.errors import SecretInvalid, SecretMissing
from flowtide.secrets.port import Secrets, missing

_PREFIX: Final = "SECRET_"


class EnvironmentSecrets(Secrets):
    """The variables that begin with SECRET_, the same for all tenants and namespaces.

    They are read once, when this is built; values are decoded when they are asked for.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._values = {
            name[len(_PREFIX) :].upper(): value
            for name, value in environment.items()
            if name.startswith(_PREFIX) and len(name) > len(_PREFIX)
        }

    def find(self, *, tenant_id: str, namespace: str, name: str, subkey: str | None = None) -> str:
        """The decoded value; the name's case does not matter."""
        encoded = self._values.get(name.upper())
        if encoded is None:
            advice = f"set {_PREFIX}{name.upper()} in the environment of the server to its value in base64"
            raise SecretMissing(missing(name, namespace, advice))
        try:
            value = base64.b64decode("".join(encoded.split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SecretInvalid(
                f"the secret `{name}` is not base64 of UTF-8 text; encode the value of "
                f"{_PREFIX}{name.upper()}, e.g. with: printf %s VALUE | base64 -w0"
            ) from None
        return value if subkey is None else field_of(value, name, subkey)


def field_of(value: str, name: str, subkey: str) -> str:
    """A field of a secret that is a JSON object.  Raises SecretInvalid, SecretMissing."""
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SecretInvalid(f"the secret `{name}` is no JSON object, so it has no subkey `{subkey}`")
    if subkey not in fields:
        raise SecretMissing(f"the secret `{name}` has no subkey `{subkey}`")
    found = fields[subkey]
    return found if isinstance(found, str) else json.dumps(found)
