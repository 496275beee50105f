"""Records that could not be handled, on the topic `dead_letters`, from where they can be replayed."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime

import msgspec

from flowtide.model.records import Value


class DeadLetter(Value, frozen=True):
    """A record as it came, and why it was put aside."""

    topic: str
    partition: int
    offset: int
    key: str
    value: str  # base64, because it may be anything
    reason: str
    group: str  # who could not handle it
    at: datetime


DEAD_LETTER_DECODER: msgspec.json.Decoder[DeadLetter] = msgspec.json.Decoder(DeadLetter)


def dead_letter(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: str,
    value: bytes | None,
    reason: str,
    group: str,
    at: datetime,
) -> DeadLetter:
    """Put a record aside."""
    return DeadLetter(
        topic=topic,
        partition=partition,
        offset=offset,
        key=key,
        value=b64encode(value or b"").decode(),
        reason=reason[:2000],
        group=group,
        at=at,
    )
