"""Encryption of SECRET values with AES-256-GCM: a text comes in, what is recorded in its place goes out, and back.

The content is a nonce of 12 bytes, the ciphertext and its tag, in base64, as Kestra keeps it; the tenant is
authenticated with it, so that a value copied to another tenant cannot be read there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowtide.errors import SecretInvalid, SettingsError
from flowtide.model.encrypted import KEY_SETTING, encrypted_value, is_encrypted

FORMER_SETTING: Final = "flowtide.encryption.former-secret-keys"
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Encryption:
    """A `flowtide.model.encrypted.Cipher` that encrypts with one key; safe to use from several threads."""

    __slots__ = ("_cipher", "_former", "_nonce_key")

    def __init__(self, key: bytes, former: Sequence[bytes] = ()) -> None:
        """`key` has 32 bytes; `former` are keys that only decrypt.  Raises ValueError for another length."""
        self._former = tuple(Encryption(each) for each in former)
        if len(key) != _KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes and needs {_KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._nonce_key = hmac.digest(key, b"flowtide nonce", hashlib.sha256)

    def encrypt(self, text: str, *, tenant_id: str, place: str) -> dict[str, Any]:
        """The encrypted form of a text that is recorded at `place`.

        The nonce is made from tenant, place and text, so that deciding twice gives the same record.  The text is part
        of it because two texts under one nonce would undo the encryption: a default such as `{{ now() }}` may give
        another text when a decision is made again.
        """
        content = text.encode()
        parts = [tenant_id.encode(), place.encode(), content]
        framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        nonce = hmac.digest(self._nonce_key, framed, hashlib.sha256)[:_NONCE_BYTES]
        sealed = self._cipher.encrypt(nonce, content, tenant_id.encode())
        return encrypted_value(base64.b64encode(nonce + sealed).decode())

    def decrypt(self, value: Any, *, tenant_id: str) -> str:
        """The text of an encrypted form.  Raises SecretInvalid; its message shows nothing of the value."""
        if not is_encrypted(value):
            raise SecretInvalid("this is not an encrypted value")
        try:
            data = base64.b64decode(value["value"], validate=True)
            content = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], tenant_id.encode())
        except (InvalidTag, binascii.Error, TypeError, ValueError):
            for key in self._former:
                with suppress(SecretInvalid):
                    return key.decrypt(value, tenant_id=tenant_id)
            raise SecretInvalid(
                f"an encrypted value cannot be read: it was changed, or encrypted with another `{KEY_SETTING}`"
            ) from None
        return content.decode()


def open_encryption(secret_key: str | None, former_keys: Sequence[str] = ()) -> Encryption | None:
    """Encryption with the configured key (KEY-40, page 076); None when there is none.

    `former_keys` are those that were configured before: what they encrypted can still be read.
    Raises SettingsError for what is not the base64 of 32 bytes; its message does not show the key.
    """
    if secret_key is None:
        return None
    former = [_key(each, FORMER_SETTING) for each in former_keys]
    return Encryption(_key(secret_key, KEY_SETTING), former)


def _key(text: str, setting: str) -> bytes:
    advice = f"`{setting}` must be 32 bytes in base64, as `openssl rand -base64 32` writes them"
    try:
        key = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise SettingsError([f"{advice}; what is there is not base64"]) from None
    if len(key) != _KEY_BYTES:
        raise SettingsError([f"{advice}; what is there has {len(key)} bytes"])
    return key
