"""The partitioner agrees with Java's clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtide.log.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_gives_what_java_gives(data: bytes, expected: int) -> None:
    """The vectors of Kafka's own tests of its Java client, which are signed."""
    assert murmur2(data) == expected % 2**32


@given(st.text(), st.integers(min_value=1, max_value=1000))
def test_every_key_has_the_partition_that_librdkafka_gives(key: str, partitions: int) -> None:
    """Whatever the key and the number of partitions, both clients agree."""
    library = pytest.importorskip("confluent_kafka.cimpl")
    data = key.encode()
    assert partition_of(key, partitions) == library.murmur2(data, partitions)
