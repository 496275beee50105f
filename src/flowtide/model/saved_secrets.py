"""The body of a saved secret: what stands on the log in place of its value, and what people may see of it (SEC-01)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from flowtide.model.records import Value


class SecretTag(Value, frozen=True):
    """What somebody noted about a secret."""

    key: str
    value: str


class SecretBody(Value, frozen=True, omit_defaults=True):
    """A secret; its value only encrypted, together with where it belongs."""

    sealed: dict[str, Any]  # the encrypted form of a JSON list: namespace/key, value
    created: datetime
    description: str | None = None
    tags: tuple[SecretTag, ...] = ()


SECRET_BODY_DECODER: msgspec.json.Decoder[SecretBody] = msgspec.json.Decoder(SecretBody)
