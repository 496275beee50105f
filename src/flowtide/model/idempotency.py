"""A request that carried an idempotency key: what it was, and, only encrypted, what it was answered."""

from __future__ import annotations

from datetime import datetime

import msgspec

from flowtide.model.records import Value


class IdempotentRequest(Value, frozen=True):
    """The body of a saved one; its identifier follows from its caller and its key."""

    fingerprint: str  # SHA-256 of method, path, query and body
    expires: datetime
    sealed: str  # a SealedRequest, encrypted: tokens follow from it and may stand in the answer
    done: bool = False  # whether it was answered


IDEMPOTENT_REQUEST_DECODER: msgspec.json.Decoder[IdempotentRequest] = msgspec.json.Decoder(IdempotentRequest)


class KeptAnswer(Value, frozen=True):
    """An answer as it was given."""

    status: int
    content_type: str
    body: bytes
    headers: dict[str, str] = {}


class SealedRequest(Value, frozen=True):
    """What nobody but this installation reads of a request."""

    seed: bytes
    answer: KeptAnswer | None = None  # None: not answered yet, or too large to be kept


SEALED_REQUEST_DECODER: msgspec.json.Decoder[SealedRequest] = msgspec.json.Decoder(SealedRequest)
