"""Our partitioner against librdkafka's, on the broker that librdkafka brings for its own tests."""

import random

from confluent_kafka import Producer

from ingest.topics import partition_of


def test_every_key_finds_the_partition_that_librdkafka_gives_it():
    found = {}
    mock = {"test.mock.num.brokers": 1, "partitioner": "murmur2_random", "log_level": 2}
    producer = Producer({**mock, "bootstrap.servers": "127.0.0.1:1"})
    dice = random.Random(7)
    keys = {dice.randbytes(length) for length in range(1, 60) for _ in range(20)}
    for key in keys:
        producer.produce("telemetry", b"", key, on_delivery=lambda _, m: found.update({m.key(): m.partition()}))
    assert producer.flush(30) == 0

    partitions = len(producer.list_topics("telemetry", timeout=10).topics["telemetry"].partitions)
    assert partitions > 1
    assert found == {key: partition_of(key, partitions) for key in keys}
