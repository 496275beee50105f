"""Functions for time, numbers, ids and encryption (C §8.5, N12, N13); randomness comes from the scope."""

from __future__ import annotations

import base64
import binascii
import random
import secrets
import uuid
from collections.abc import Callable
from typing import Any, Final

from flowtide.expressions.equality import is_number
from flowtide.expressions.faults import Fault
from flowtide.expressions.filters.dates import format_value
from flowtide.expressions.printing import kind
from flowtide.expressions.runtime import Run

_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_FRIENDLY: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_NANO: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
_KSUID_EPOCH: Final = 1_400_000_000
_NANO_MAX: Final = 1000


def _now(run: Run, format_: Any, zone: Any, existing: Any, locale: Any) -> Any:
    return format_value(run, run.scope.now(), format_, zone, existing, locale)


def _extreme(name: str, pick: Callable[[Any], Any]) -> Callable[..., Any]:
    def apply(run: Run, *values: Any) -> Any:
        if not values:
            raise Fault(f"the function `{name}` needs at least one number")
        for value in values:
            if not is_number(value):
                raise Fault(f"the function `{name}` needs numbers, not a {kind(value)}")
        return pick(values)

    return apply


def range_of(run: Run, start: Any, end: Any, increment: Any) -> list[Any]:
    """`range(start, end, increment)` with the end included; letters too (C N27)."""
    if isinstance(increment, bool) or not isinstance(increment, int) or increment == 0:
        raise Fault("the increment of a range must be a whole number other than 0")
    letters = isinstance(start, str) and isinstance(end, str) and len(start) == len(end) == 1
    first, last = (ord(start), ord(end)) if letters else (start, end)
    for value in (first, last):
        if isinstance(value, bool) or not isinstance(value, int):
            raise Fault(f"a range goes from one whole number to another, not to a {kind(value)}")
    numbers = range(first, last + (1 if increment > 0 else -1), increment)
    span = abs(last - first) // abs(increment)
    limit = run.scope.limits.elements
    if span >= limit and ((last - first > 0) == (increment > 0)):
        raise Fault(f"a range may have at most {limit} elements")
    run.check_time()
    return [chr(number) for number in numbers] if letters else list(numbers)


def _random(run: Run) -> random.Random:
    return run.scope.random or random.SystemRandom()


def _base62(number: int, alphabet: str) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 62)
        digits = alphabet[digit] + digits
    return digits or alphabet[0]


def _uuid(run: Run) -> str:
    # C N28: the page says base62, which is what id() gives; upstream's form is kept.
    return str(uuid.UUID(int=_random(run).getrandbits(128), version=4))


def _id(run: Run) -> str:
    return _base62(uuid.UUID(int=_random(run).getrandbits(128), version=4).int, _FRIENDLY)


def _ksuid(run: Run) -> str:
    seconds = int(run.scope.now().timestamp()) - _KSUID_EPOCH
    number = ((seconds & 0xFFFFFFFF) << 128) | _random(run).getrandbits(128)
    return _base62(number, _BASE62).rjust(27, "0")


def _nano_id(run: Run, length: Any, alphabet: Any) -> str:
    if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= _NANO_MAX:
        raise Fault(f"the argument `length` of the function `nanoId` must be between 1 and {_NANO_MAX}")
    if alphabet is not None and (not isinstance(alphabet, str) or not alphabet):
        raise Fault("the argument `alphabet` of the function `nanoId` must be a string that is not empty")
    generator = _random(run)
    return "".join(generator.choice(alphabet or _NANO) for _ in range(length))


def _random_int(run: Run, lower: Any, upper: Any) -> int:
    for value in (lower, upper):
        if isinstance(value, bool) or not isinstance(value, int):
            raise Fault(f"the function `randomInt` needs whole numbers, not a {kind(value)}")
    if upper <= lower:
        raise Fault("the function `randomInt` needs an upper bound above the lower one")
    return _random(run).randrange(lower, upper)


def _cipher(key: Any) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    try:
        return AESGCM(base64.b64decode(key, validate=True))
    except (ValueError, TypeError, binascii.Error):
        raise Fault("the key must be an AES key of 16, 24 or 32 bytes in base64") from None


def _encrypt(run: Run, key: Any, plaintext: Any) -> Any:
    if plaintext is None:
        return None
    if not isinstance(plaintext, str):
        raise Fault(f"the function `encrypt` needs a string, not a {kind(plaintext)}")
    nonce = secrets.token_bytes(12)
    return base64.b64encode(nonce + _cipher(key).encrypt(nonce, plaintext.encode(), None)).decode()


def _decrypt(run: Run, key: Any, encrypted: Any) -> Any:
    from cryptography.exceptions import InvalidTag

    if encrypted is None:
        return None
    cipher = _cipher(key)
    try:
        data = base64.b64decode(encrypted, validate=True)
        return cipher.decrypt(data[:12], data[12:], None).decode()
    except (ValueError, TypeError, binascii.Error, InvalidTag):
        raise Fault("the function `decrypt` cannot read this text with this key") from None


FUNCTIONS: Final[dict[str, tuple[Callable[..., Any], tuple[str, ...] | None, tuple[Any, ...]]]] = {
    "now": (_now, ("format", "timeZone", "existingFormat", "locale"), (None, None, None, None)),
    "max": (_extreme("max", max), None, ()),
    "min": (_extreme("min", min), None, ()),
    "range": (range_of, ("start", "end", "increment"), (1,)),
    "uuid": (_uuid, (), ()),
    "id": (_id, (), ()),
    "ksuid": (_ksuid, (), ()),
    "nanoId": (_nano_id, ("length", "alphabet"), (21, None)),
    "randomInt": (_random_int, ("lower", "upper"), ()),
    "encrypt": (_encrypt, ("key", "plaintext"), ()),
    "decrypt": (_decrypt, ("key", "encrypted"), ()),
}
