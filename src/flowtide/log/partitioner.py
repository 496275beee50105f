"""Which partition a key belongs to: murmur2 as Java's clients compute it, so that every program agrees.

Comes in: the key of a record and the number of partitions.  Goes out: the partition's number.  Pure.
"""

from __future__ import annotations

from functools import lru_cache
from struct import unpack_from

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash of `data`, unsigned, with the seed that Kafka's clients use."""
    length = len(data)
    words = length >> 2
    digest = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        word = (word * _MULTIPLIER) & _MASK
        word ^= word >> 24
        digest = ((digest * _MULTIPLIER) & _MASK) ^ ((word * _MULTIPLIER) & _MASK)
    if length & 3:
        digest ^= int.from_bytes(data[words << 2 :], "little")
        digest = (digest * _MULTIPLIER) & _MASK
    digest ^= digest >> 13
    digest = (digest * _MULTIPLIER) & _MASK
    return digest ^ (digest >> 15)


def partition_of(key: str, partitions: int) -> int:
    """The partition of `key` among `partitions`, as `murmur2_random` and Java's default partitioner choose
    it.
    """
    return _positive_hash(key) % partitions


# A thing's key comes back with each of its records, within seconds, so most hashes are known already.  More of them
# would find nothing more, and be what fills the memory of a server under load.
@lru_cache(maxsize=8_192)
def _positive_hash(key: str) -> int:
    return murmur2(key.encode()) & _POSITIVE
