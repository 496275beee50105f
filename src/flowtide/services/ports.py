"""Opens what the settings name: the log, the index, files and secrets; shared by all services of a process."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from flowtide.errors import FlowtideError
from flowtide.index.port import Index
from flowtide.log.embedded import EmbeddedLog
from flowtide.log.port import Log
from flowtide.settings import QueueType, RepositoryType, Settings, kafka_client_properties
from flowtide.storage import RoutedStorage, Storage, open_blocking, open_storage
from flowtide.storage.routing import Choose

if TYPE_CHECKING:
    from flowtide.index.elasticsearch.indices import Rotation as IndexRotation

EMBEDDED_PARTITIONS = 4
LOG_FILE = "log.db"  # of the embedded log, in the data folder
_INDEXER_PATIENCE_EMBEDDED = timedelta(milliseconds=50)


class ExtraMissing(FlowtideError):
    """An optional package is not installed; the message says how to install it."""

    code = "extra-missing"


class SettingsUnusable(FlowtideError):
    """Settings that are valid each, and cannot be used together."""

    code = "settings-unusable"


def open_log(settings: Settings) -> Log:
    """The log, not started.  Raises ExtraMissing."""
    if settings.queue.type is QueueType.EMBEDDED:
        settings.data_path.mkdir(parents=True, exist_ok=True)
        return EmbeddedLog(settings.data_path / LOG_FILE, clock=time.time, partitions=EMBEDDED_PARTITIONS)
    kafka = settings.kafka
    try:
        from flowtide.log.kafka import KafkaLog  # confluent-kafka is an extra
    except ImportError as error:
        raise ExtraMissing(
            f"queue.type is kafka, and a package for it is missing ({error.name}): pip install 'flowtide[kafka]'"
        ) from error
    return KafkaLog(
        kafka_client_properties(kafka.client_properties),
        topic_prefix=kafka.topic_prefix,
        consumer_prefix=kafka.consumer_prefix,
        partitions=kafka.topic_partitions,
        replication_factor=kafka.topic_replication_factor,
        topic_properties=kafka.topic_properties,
        topic_names=kafka.topic_names,
        consumer_properties=kafka.consumer_properties,
        producer_properties=kafka.producer_properties,
        message_limit_bytes=kafka.message_protection.limit_bytes
        if kafka.message_protection.enabled
        else 10 * 1024 * 1024,
    )


def open_index(settings: Settings) -> Index:
    """The search index, not started.  Raises ExtraMissing."""
    if settings.repository.type is RepositoryType.EMBEDDED:
        from flowtide.index.embedded import EmbeddedIndex  # services without an index do not pay for it

        settings.data_path.mkdir(parents=True, exist_ok=True)
        return EmbeddedIndex(settings.data_path / "index.db")
    elasticsearch = settings.elasticsearch
    try:
        from flowtide.index.elasticsearch import ElasticsearchIndex  # the client is an extra
    except ImportError as error:
        raise ExtraMissing(
            f"repository.type is elasticsearch, and a package for it is missing ({error.name}): "
            "pip install 'flowtide[elasticsearch]'"
        ) from error
    index_settings = elasticsearch.index_settings
    return ElasticsearchIndex(
        elasticsearch.hosts,
        prefix=elasticsearch.index_prefix,
        rotation=_rotation(settings),
        username=elasticsearch.username,
        password=elasticsearch.password,
        verify_certificates=not elasticsearch.trust_all_ssl,
        shards=int(index_settings.get("index.number_of_shards", 1)),
        replicas=int(index_settings.get("index.number_of_replicas", 1)),
    )


def _rotation(settings: Settings) -> IndexRotation:
    from flowtide.index.elasticsearch.indices import Rotation as IndexRotation  # see open_index

    wanted = {rotation.value for rotation in settings.elasticsearch.rotation.values()}
    if len(wanted) > 1:
        raise SettingsUnusable(
            f"elasticsearch.indices: all indices rotate alike, but {', '.join(sorted(wanted))} are configured"
        )
    return IndexRotation(wanted.pop()) if wanted else IndexRotation.NONE


def open_files(settings: Settings, dedicated: Choose | None = None) -> Storage:
    """The internal storage, and with `dedicated` those of tenants and namespaces.  Raises StorageError."""
    storage = settings.storage
    options = {"base-path": str(settings.storage_path)} if storage.type == "local" else dict(storage.options)
    if dedicated is None:
        return open_storage(storage.type, options)
    return Storage(RoutedStorage(open_blocking(storage.type, options), dedicated))


def indexer_patience(settings: Settings) -> timedelta:
    """How long the indexer waits for a batch to fill: as configured, and a moment on the embedded index."""
    if settings.repository.type is RepositoryType.EMBEDDED:
        return min(_INDEXER_PATIENCE_EMBEDDED, settings.indexer.batch_duration)
    return settings.indexer.batch_duration
