"""Settings of the systems that everything stands on: log, index and storage of files; groups of the one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flowtide.settings.fields import setting

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class QueueType(StrEnum):
    """Where records travel."""

    EMBEDDED = "embedded"
    KAFKA = "kafka"


class RepositoryType(StrEnum):
    """Where the search index lives."""

    EMBEDDED = "embedded"
    ELASTICSEARCH = "elasticsearch"


class Rotation(StrEnum):
    """How often an index starts anew behind its alias (ES-5)."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The log."""

    type: QueueType = setting(
        "queue.type",
        QueueType.EMBEDDED,
        "Where records travel: in a file of this machine, or on Kafka. Goes together with `repository.type`.",
    )


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The search index."""

    type: RepositoryType = setting(
        "repository.type",
        RepositoryType.EMBEDDED,
        "Where the search index lives: `embedded` with the embedded queue, else `elasticsearch` (DATA-7).",
    )


@dataclass(frozen=True, kw_only=True)
class LocalStorage:
    """Files in a folder."""

    base_path: Path | None = setting(
        "storage.local.base-path", None, "The folder of files.", shown_default="`storage` in `data-path`"
    )


@dataclass(frozen=True, kw_only=True)
class StorageIsolation:
    """Which services may not read files (STOR-9)."""

    enabled: bool = setting(
        "storage.isolation.enabled", False, "Whether the services below are kept from the content of files."
    )
    denied_services: tuple[str, ...] = setting(
        "storage.isolation.denied-services",
        (),
        "Service types that may carry URIs of files and not read them.",
    )


@dataclass(frozen=True, kw_only=True)
class Storage:
    """The internal storage (STOR-1..9)."""

    type: str = setting("storage.type", "local", "The kind of storage: `local`, or one that a plugin brings.")
    local: LocalStorage = field(default_factory=LocalStorage)
    isolation: StorageIsolation = field(default_factory=StorageIsolation)
    backends: Mapping[str, Mapping[str, Any]] = setting(
        "storage.*",
        _NOTHING,
        "The options of each kind of storage, by its name; what they are stands at the storage plugin.",
        shape="tree",
        secret=True,
    )

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the chosen type, keys in kebab-case."""
        return self.backends.get(self.type, _NOTHING)


@dataclass(frozen=True, kw_only=True)
class MessageProtection:
    """Refusing records that are too large (KAFKA-12)."""

    enabled: bool = setting(
        "kafka.message-protection.enabled", True, "Whether records above the limit are refused."
    )
    limit_bytes: int = setting(
        "kafka.message-protection.limit", 1024 * 1024, "The largest record that is sent.", unit="bytes"
    )


@dataclass(frozen=True, kw_only=True)
class Kafka:
    """Kafka (A §3). The property maps hold Kafka's own dotted names, and keep them."""

    client_properties: Mapping[str, str] = setting(
        "kafka.client.properties",
        _NOTHING,
        "Properties of every client; `bootstrap.servers` is needed. Java's SSL and SASL names work.",
        shape="verbatim",
        secret=True,
    )
    topic_partitions: int = setting(
        "kafka.defaults.topic.partitions",
        16,
        "Partitions of a new topic; more instances of a service than this bring nothing.",
    )
    topic_replication_factor: int = setting(
        "kafka.defaults.topic.replication-factor", 1, "Copies of a new topic; 3 where a broker may die."
    )
    topic_prefix: str = setting(
        "kafka.defaults.topic-prefix", "flowtide_", "What the name of each topic starts with."
    )
    consumer_prefix: str = setting(
        "kafka.defaults.consumer-prefix", "flowtide", "What the name of each consumer group starts with."
    )
    producer_properties: Mapping[str, str] = setting(
        "kafka.defaults.producer.properties",
        _NOTHING,
        "Properties of producers, over those of every client.",
        shape="verbatim",
        secret=True,
    )
    consumer_properties: Mapping[str, str] = setting(
        "kafka.defaults.consumer.properties",
        _NOTHING,
        "Properties of consumers, over those of every client.",
        shape="verbatim",
        secret=True,
    )
    topic_properties: Mapping[str, Mapping[str, str]] = setting(
        "kafka.topics.*.properties",
        _NOTHING,
        "Kafka's properties of single topics, by the topic's name without its prefix (`retention.ms` ...).",
        also=("kafka.defaults.topics.*.properties",),
        shape="verbatim",
    )
    topic_names: Mapping[str, str] = setting(
        "kafka.topics.*.name",
        _NOTHING,
        "Another full name for single topics, by the name without its prefix.",
        also=("kafka.defaults.topics.*.name",),
    )
    message_protection: MessageProtection = field(default_factory=MessageProtection)


@dataclass(frozen=True, kw_only=True)
class Elasticsearch:
    """Elasticsearch or OpenSearch (A §4)."""

    hosts: tuple[str, ...] = setting(
        "elasticsearch.client.http-hosts",
        (),
        "Addresses of the cluster, one or a list (`http://localhost:9200`).",
    )
    username: str | None = setting("elasticsearch.client.basic-auth.username", None, "Name to log in with.")
    password: str | None = setting(
        "elasticsearch.client.basic-auth.password", None, "Password to log in with.", secret=True
    )
    trust_all_ssl: bool = setting(
        "elasticsearch.client.trust-all-ssl", False, "Accept any certificate; for clusters of a developer."
    )
    index_prefix: str = setting(
        "elasticsearch.defaults.indice-prefix",
        "flowtide_",
        "What the name of each index starts with.",
        also=("elasticsearch.defaults.index-prefix",),
    )
    index_settings: Mapping[str, str] = setting(
        "elasticsearch.defaults.indices",
        _NOTHING,
        "Settings of each index, by Elasticsearch's dotted names (`index.number_of_replicas`).",
        shape="verbatim",
    )
    rotation: Mapping[str, Rotation] = setting(
        "elasticsearch.indices.*.alias",
        _NOTHING,
        "How often `executions`, `logs` and `metrics` start a new index: daily, weekly, monthly or yearly.",
    )


@dataclass(frozen=True, kw_only=True)
class Indexer:
    """Copying records to the index (ES-7)."""

    batch_size: int = setting("indexer.batch-size", 500, "Documents in a batch at most.")
    batch_duration: timedelta = setting(
        "indexer.batch-duration",
        timedelta(seconds=1),
        "How long a batch that is not full waits.",
        unit="duration",
    )
