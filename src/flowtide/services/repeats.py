"""Whether a request is made once more, after the server that took it first died: then it names the same things again.

Set for a request that carries an idempotency key; read where identifiers, the ids of commands and the secrets of tokens
are made.  Without one, everything is as random as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import blake2b

from flowtide.model.identifiers import derived_identifier


@dataclass(kw_only=True)
class Repeat:
    """One request; `seed` is secret, because tokens follow from it."""

    seed: bytes
    is_taken_over: bool = False  # whether another one has begun it, and perhaps ended it
    made: Counter[str] = field(default_factory=Counter)

    def derived(self, what: str) -> bytes:
        """32 bytes for the next thing of this sort; the same ones when the request is made once more."""
        self.made[what] += 1
        return blake2b(f"{what}\0{self.made[what]}".encode(), key=self.seed, digest_size=32).digest()


REPEAT: ContextVar[Repeat | None] = ContextVar("repeat", default=None)


def repeatable_ids(fresh: Callable[[], str]) -> Callable[[], str]:
    """Fresh ids, and within a request with an idempotency key those that follow from it."""

    def identifier() -> str:
        repeat = REPEAT.get()
        return fresh() if repeat is None else derived_identifier(repeat.derived("id").hex())

    return identifier


def request_id(key: str, fresh: Callable[[], str]) -> str:
    """The id of a command to save a thing: one that comes twice is carried out once."""
    repeat = REPEAT.get()
    return fresh() if repeat is None else derived_identifier(repeat.derived(f"save {key}").hex())


def repeatable_bytes(fresh: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """Random bytes for tokens; within a request with an idempotency key those that follow from its seed."""

    def token_bytes(count: int) -> bytes:
        repeat = REPEAT.get()
        return fresh(count) if repeat is None or count > 32 else repeat.derived("token")[:count]

    return token_bytes


def is_taken_over() -> bool:
    """Whether this request may have been carried out before, wholly or in part."""
    repeat = REPEAT.get()
    return repeat is not None and repeat.is_taken_over
