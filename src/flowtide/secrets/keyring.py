"""Several keys as one: what is encrypted goes under the first, what is read may be under any of them.

So a key that was generated once stays readable after the operator configures one of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from flowtide.errors import SecretInvalid, SettingsError
from flowtide.secrets.encryption import Encryption

_SHORTEST_PHRASE = 32


class Keyring:
    """A `flowtide.model.encrypted.Cipher` with one key or more."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[Encryption]) -> None:
        """The first of `keys` encrypts.  Raises ValueError when there is none."""
        if not keys:
            raise ValueError("a key ring needs a key")
        self._keys = tuple(keys)

    def after(self, key: Encryption) -> Keyring:
        """The same keys behind one that encrypts from now on."""
        return Keyring([key, *self._keys])

    def encrypt(self, text: str, *, tenant_id: str, place: str) -> dict[str, Any]:
        """See `Encryption.encrypt`."""
        return self._keys[0].encrypt(text, tenant_id=tenant_id, place=place)

    def decrypt(self, value: Any, *, tenant_id: str) -> str:
        """See `Encryption.decrypt`.  Raises SecretInvalid when no key fits."""
        for key in self._keys[:-1]:
            try:
                return key.decrypt(value, tenant_id=tenant_id)
            except SecretInvalid:
                continue
        return self._keys[-1].decrypt(value, tenant_id=tenant_id)


def encryption_of_phrase(phrase: str, setting: str) -> Encryption:
    """Encryption under a phrase of at least 32 characters (SEC-09).  Raises SettingsError, which does not show it."""
    if len(phrase) < _SHORTEST_PHRASE:
        raise SettingsError([f"`{setting}` must have at least {_SHORTEST_PHRASE} characters"])
    return Encryption(hashlib.sha256(phrase.encode()).digest())
