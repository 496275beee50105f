"""Identifiers: 22 characters of base62, random for what people start, derived for what follows from it (EXE-01)."""

from __future__ import annotations

from hashlib import blake2b

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_HALF = (1 << 64) - 1


def identifier_of(number: int) -> str:
    """Write the lowest 128 bits of `number` as an identifier: each half of 64 bits as eleven digits."""
    return _half((number >> 64) & _HALF) + _half(number & _HALF)


def _half(number: int) -> str:
    # Unrolled, in pairs of digits: an identifier is made for every task run.
    number, a = divmod(number, 3844)
    number, b = divmod(number, 3844)
    number, c = divmod(number, 3844)
    number, d = divmod(number, 3844)
    first, e = divmod(number, 3844)
    return _ALPHABET[first] + _PAIRS[e] + _PAIRS[d] + _PAIRS[c] + _PAIRS[b] + _PAIRS[a]


def derived_identifier(*parts: str) -> str:
    """The identifier that follows from `parts`: the same parts give the same identifier on every server.

    Task runs, child executions and scheduled executions are named so; a decision that is made again after a crash
    therefore names the same things.
    """
    return identifier_of(int.from_bytes(blake2b("\0".join(parts).encode(), digest_size=16).digest(), "big"))
