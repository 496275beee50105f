"""Encrypted values: how the value of a SECRET input or output travels, and how it is recognised (INP-13).

Wherever a SECRET is recorded, `{"type": "io.kestra.datatype:aes_encrypted", "value": "base64"}` stands in its place:
in commands, events, state, jobs, documents and answers.  Workers decrypt it before they render anything.  An executor
that meets one where it must evaluate an expression itself hands that to a worker as an `Evaluate` job.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol

from flowtide.errors import SecretInvalid

TYPE: Final = "io.kestra.datatype:aes_encrypted"
MARKER_BYTES: Final = TYPE.encode()  # a record without these bytes has no encrypted values
KEY_SETTING: Final = "flowtide.encryption.secret-key"
NO_KEY: Final = f"encryption is not configured; set `{KEY_SETTING}` to 32 random bytes in base64"


class Cipher(Protocol):
    """Encrypts and decrypts texts.  Pure: the same arguments give the same answer on every server."""

    def encrypt(self, text: str, *, tenant_id: str, place: str) -> dict[str, Any]:
        """The encrypted form; `place` says where the value is recorded, such as execution and input."""
        ...

    def decrypt(self, value: Any, *, tenant_id: str) -> str:
        """The text of an encrypted form.  Raises SecretInvalid for one of another key or another tenant."""
        ...


def encrypted_value(content: str) -> dict[str, Any]:
    """The form of an encrypted value; `content` is base64."""
    return {"type": TYPE, "value": content}


def is_encrypted(value: Any) -> bool:
    """Whether this is an encrypted value."""
    return isinstance(value, dict) and len(value) == 2 and value.get("type") == TYPE and "value" in value


def has_encrypted(value: Any) -> bool:
    """Whether an encrypted value stands somewhere in a structure."""
    if isinstance(value, dict):
        if value.get("type") == TYPE and is_encrypted(value):
            return True
        return any(has_encrypted(child) for child in value.values() if isinstance(child, dict | list))
    return isinstance(value, list) and any(
        has_encrypted(child) for child in value if isinstance(child, dict | list)
    )


def encrypted_places(value: Any) -> Iterator[tuple[dict[str, Any] | list[Any], Any, dict[str, Any]]]:
    """Every encrypted value inside a structure, as the container, the key or index in it, and the value.

    The caller may replace each as it comes.
    """
    items: Any
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    else:
        return
    for key, child in items:
        if is_encrypted(child):
            yield value, key, child
        else:
            yield from encrypted_places(child)


def opened(value: Any, cipher: Cipher | None, *, tenant_id: str) -> Any:
    """The value with texts in place of encrypted ones, for what is evaluated and not recorded; it is not changed.

    Raises SecretInvalid, also when there is no cipher to read them with.
    """
    if isinstance(value, dict):
        if is_encrypted(value):
            if cipher is None:
                raise SecretInvalid(f"an encrypted value cannot be read: {NO_KEY}")
            return cipher.decrypt(value, tenant_id=tenant_id)
        return {key: opened(child, cipher, tenant_id=tenant_id) for key, child in value.items()}
    if isinstance(value, list):
        return [opened(child, cipher, tenant_id=tenant_id) for child in value]
    return value
