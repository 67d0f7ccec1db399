"""Keys find the partition that Java's clients give them. Against librdkafka itself:
tests/contract/test_records.py.
"""

import pytest

from ingest.kafka.topics import partition_of

# Published with Kafka's Java client, where the hash is a signed 32-bit number.
HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), HASHES.items())
def test_hash_of_a_key_is_the_published_one(key, signed):
    positive = signed & 0x7FFFFFFF

    assert partition_of(key, 2**31) == positive
    assert partition_of(key, 10) == positive % 10
