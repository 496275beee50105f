"""Identifiers: 22 characters of base62, random for what people start, derived for what follows from it (EXE-01)."""

from __future__ import annotations

from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH = 22


def identifier_of(number: int) -> str:
    """Write the lowest 128 bits of `number` as an identifier."""
    number &= (1 << 128) - 1
    digits = []
    for _ in range(_LENGTH):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def derived_identifier(*parts: str) -> str:
    """The identifier that follows from `parts`: the same parts give the same identifier on every server.

    Task runs, child executions and scheduled executions are named so; a decision that is made again after a crash
    therefore names the same things.
    """
    return identifier_of(int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=16).digest(), "big"))
