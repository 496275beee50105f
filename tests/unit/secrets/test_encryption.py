"""AES-256-GCM of SECRET values, and the key that operators configure."""

from __future__ import annotations

from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from flowtide.errors import SecretInvalid, SettingsError
from flowtide.model.encrypted import TYPE, encrypted_value, has_encrypted, is_encrypted, opened
from flowtide.secrets import Encryption, open_encryption

KEY = bytes(range(32))
ENCRYPTION = Encryption(KEY)


def _encrypt(text: str, *, tenant_id: str = "main", place: str = "e1/inputs/x") -> str:
    value = ENCRYPTION.encrypt(text, tenant_id=tenant_id, place=place)
    assert is_encrypted(value)
    assert value["type"] == TYPE
    content: str = value["value"]
    return content


@pytest.mark.parametrize("text", ["", "hunter2", "zwölf Boxkämpfer 🥊", "a\nb" * 1000])
def test_what_is_encrypted_can_be_read(text: str) -> None:
    """Any text comes back as it was, and does not stand in the encrypted form."""
    content = _encrypt(text)
    assert ENCRYPTION.decrypt(encrypted_value(content), tenant_id="main") == text
    assert not text or text.encode() not in b64decode(content)


def test_the_content_is_nonce_ciphertext_and_tag() -> None:
    """Twelve bytes of nonce come first, so that any AES-GCM reads it with the tenant as authenticated data."""
    data = b64decode(_encrypt("hunter2"))
    assert AESGCM(KEY).decrypt(data[:12], data[12:], b"main") == b"hunter2"


def test_a_decision_made_again_records_the_same() -> None:
    """The nonce follows from tenant, place and text: equal for the same decision, different for all else."""
    assert _encrypt("hunter2") == _encrypt("hunter2")
    others = [
        _encrypt("hunter2", place="e2/inputs/x"),
        _encrypt("hunter2", place="e1/inputs/y"),
        _encrypt("hunter2", tenant_id="other"),
        _encrypt("hunter3"),
    ]
    nonces = {b64decode(content)[:12] for content in [_encrypt("hunter2"), *others]}
    assert len(nonces) == 5


@pytest.mark.parametrize("changed", ["x", "", "%%%", b64encode(bytes(40)).decode(), 7, None])
def test_what_was_changed_is_refused(changed: object) -> None:
    """Nothing but what was encrypted is read, and the message names the setting, not the value."""
    with pytest.raises(SecretInvalid, match=r"another `flowtide.encryption.secret-key`"):
        ENCRYPTION.decrypt({"type": TYPE, "value": changed}, tenant_id="main")


def test_tenants_and_keys_cannot_read_each_other() -> None:
    """A value copied to another tenant, or under another key, cannot be read."""
    value = encrypted_value(_encrypt("hunter2"))
    with pytest.raises(SecretInvalid):
        ENCRYPTION.decrypt(value, tenant_id="other")
    with pytest.raises(SecretInvalid):
        Encryption(bytes(32)).decrypt(value, tenant_id="main")


def test_the_key_is_32_bytes_in_base64() -> None:
    """KEY-40: other keys are refused with the reason, which does not show them; no key means no encryption."""
    assert open_encryption(None) is None
    found = open_encryption(b64encode(KEY).decode() + "\n")
    assert found is not None
    assert found.decrypt(encrypted_value(_encrypt("a")), tenant_id="main") == "a"
    with pytest.raises(SettingsError, match="is not base64") as caught:
        open_encryption("no base64!")
    assert "no base64!" not in caught.value.message
    with pytest.raises(SettingsError, match="has 16 bytes"):
        open_encryption(b64encode(bytes(16)).decode())


def test_what_a_former_key_encrypted_can_still_be_read() -> None:
    """A changed key reads what the one before encrypted, and encrypts with itself; a wrong former key is named."""
    old, new = b64encode(KEY).decode(), b64encode(bytes(32)).decode()
    found = open_encryption(new, [old])
    assert found is not None
    assert found.decrypt(encrypted_value(_encrypt("a")), tenant_id="main") == "a"
    sealed = found.encrypt("b", tenant_id="main", place="here")
    with pytest.raises(SecretInvalid):
        ENCRYPTION.decrypt(sealed, tenant_id="main")
    assert Encryption(bytes(32)).decrypt(sealed, tenant_id="main") == "b"
    with pytest.raises(SettingsError, match="former-secret-keys"):
        open_encryption(new, ["short"])


def test_values_are_found_in_structures_and_opened() -> None:
    """A structure is searched and opened at any depth; what only looks alike is left alone."""
    value = encrypted_value(_encrypt("hunter2"))
    structure = {"a": [{"b": value}], "c": 1}
    assert has_encrypted(structure)
    assert opened(structure, ENCRYPTION, tenant_id="main") == {"a": [{"b": "hunter2"}], "c": 1}
    assert structure["a"] == [{"b": value}]
    for alike in ({"type": TYPE}, {"type": TYPE, "value": 1, "more": 2}, TYPE, [TYPE]):
        assert not has_encrypted(alike)
    with pytest.raises(SecretInvalid, match=r"set `flowtide.encryption.secret-key`"):
        opened(structure, None, tenant_id="main")
