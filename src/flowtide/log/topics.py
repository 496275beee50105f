"""Topics as data: reads the files of `topics/`, one per topic, into frozen values."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic as its file describes it."""

    name: str  # without prefix
    description: str  # why it exists, who writes, who reads
    key: str  # the pattern of its keys, e.g. "{tenant}/{execution}"
    partitions: int | Literal["default"]  # "default": the configured number, so that keyed topics agree
    cleanup: Literal["delete", "compact"]
    retention: timedelta | None  # None: forever (compacted topics)
    schema: str  # the record schema in `schemas/records/`, or a sentence for state topics
