"""The log on Apache Kafka: the port on confluent-kafka; needs the extra `flowtide[kafka]`."""

try:
    import confluent_kafka  # noqa: F401  # only to say early and clearly that it is missing
except ImportError as error:
    raise ImportError(
        "the log on Kafka needs the library confluent-kafka; install it with: pip install 'flowtide[kafka]'"
    ) from error

from flowtide.log.kafka.log import KafkaLog

__all__ = ["KafkaLog"]
