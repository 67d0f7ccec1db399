"""Computes the partition of a key with MurmurHash2, as Kafka's Java clients and librdkafka do.

librdkafka names this partitioner ``murmur2_random``. Every client must agree, or two of them put
one session on two partitions.
"""


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a non-empty key.

    Java's default partitioner and librdkafka's ``murmur2_random`` give the same one.
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 with Kafka's seed, unsigned."""
    mask, multiplier = 0xFFFFFFFF, 0x5BD1E995
    state = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * multiplier & mask
        word = (word ^ word >> 24) * multiplier & mask
        state = state * multiplier & mask ^ word
    if whole < len(data):
        state = (state ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    state = (state ^ state >> 13) * multiplier & mask
    return state ^ state >> 15
