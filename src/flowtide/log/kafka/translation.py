"""The border to confluent-kafka: its errors become the log's, its messages become records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message

from flowtide.errors import Fenced, LogError, LogUnavailable
from flowtide.log.port import Record

_FENCING = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError._FENCED,  # noqa: SLF001  # librdkafka's own codes are written like this
    }
)
# A rebalance that ended a moment ago at the broker: this member may still be one, with a newer generation.
_PASSING = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS})


def kafka_error(error: KafkaException) -> KafkaError | None:
    """What a KafkaException is about."""
    found = error.args[0] if error.args else None
    return found if isinstance(found, KafkaError) else None


def is_passing(error: KafkaException) -> bool:
    """Whether a commit may be tried again with the group's newer generation."""
    found = kafka_error(error)
    return found is not None and found.code() in _PASSING


def translated(error: KafkaException, action: str, *, group: str = "", instance: str = "") -> LogError:
    """The log's error for one of Kafka's; raise it `from` the original."""
    found = kafka_error(error)
    if found is not None and group and found.code() in _FENCING:
        return Fenced(group, instance)
    text = str(error) if found is None else f"{found.str()} ({found.name()})"
    return LogUnavailable(f"cannot {action}: Kafka says: {text}")


def record_of(message: Message, topic: str) -> Record:
    """The record in a message; `topic` is the name without prefix.

    Other programs may write without a key, or one that is no text: those become something that can be shown.
    """
    key = message.key()
    headers = message.headers()
    return Record(
        topic=topic,
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key="" if key is None else key.decode(errors="replace"),
        value=message.value(),
        timestamp_ms=message.timestamp()[1],
        headers=None if not headers else _texts(headers),
    )


def headers_of(headers: Mapping[str, str] | None) -> list[tuple[str, str | bytes | None]] | None:
    """Headers as confluent-kafka takes them."""
    return None if headers is None else [(name, value.encode()) for name, value in headers.items()]


def _texts(headers: Any) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
        for name, value in pairs
    }
