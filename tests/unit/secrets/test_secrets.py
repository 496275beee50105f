"""Secrets from the environment, and masking."""

from __future__ import annotations

import pytest

from flowtide.errors import SecretInvalid, SecretMissing
from flowtide.secrets import EnvironmentSecrets, Mask, StreamMask, open_secrets

SECRETS = EnvironmentSecrets(
    {
        "SECRET_KEY": "aHVudGVyMg==",
        "SECRET_BAD": "%%%",
        "SECRET_JSON": "eyJhIjogIngiLCAiYiI6IDJ9",
        "KEY": "no",
    }
)


def _find(name: str, subkey: str | None = None) -> str:
    return SECRETS.find(tenant_id="main", namespace="company.team", name=name, subkey=subkey)


def test_a_value_is_decoded() -> None:
    """SEC-01: SECRET_KEY in base64 is `secret('KEY')`, in any case."""
    assert _find("KEY") == _find("key") == "hunter2"


def test_fields_of_an_object() -> None:
    """`subkey` picks a field; other types are written as JSON."""
    assert (_find("JSON", "a"), _find("JSON", "b")) == ("x", "2")
    with pytest.raises(SecretMissing, match="has no subkey `c`"):
        _find("JSON", "c")
    with pytest.raises(SecretInvalid, match="no JSON object"):
        _find("KEY", "a")


def test_what_is_missing_or_broken_says_what_to_do() -> None:
    """Neither message shows a value."""
    with pytest.raises(SecretMissing, match="set SECRET_OTHER in the environment"):
        _find("OTHER")
    with pytest.raises(SecretInvalid, match="not base64") as caught:
        _find("BAD")
    assert "%%%" not in str(caught.value)
    with pytest.raises(SecretInvalid, match="choose `environment`"):
        open_secrets("vault", {})


def test_values_become_stars() -> None:
    """H: six stars for each occurrence, the longer secret first, also as it stands in JSON."""
    mask = Mask()
    mask.add("hunter2")
    mask.add("hunter2-long")
    mask.add('a"b')
    mask.add("  ")
    assert mask.mask("hunter2-long, hunter2 and hunter22") == "******, ****** and ******2"
    assert mask.mask('{"k": "a\\"b"}') == '{"k": "******"}'
    assert mask.mask_structure({"hunter2": ["x hunter2", 1]}) == {"******": ["x ******", 1]}


def test_lines_of_a_value_are_masked_one_by_one() -> None:
    """A key of several lines is printed line by line; its short lines hide no ordinary text."""
    mask = Mask()
    mask.add("-----BEGIN-----\nabcdefg\n}\n")
    assert mask.mask("abcdefg") == "******"
    assert mask.mask("}") == "}"


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_value_that_is_cut_is_masked(cut: int) -> None:
    """Wherever a stream is cut, the secret never shows."""
    mask = Mask()
    mask.add("hunter2")
    text = "one hunter2 two hunter2"
    stream = StreamMask(mask)
    shown = stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.flush()
    assert shown == "one ****** two ******"
