"""The live end, where the bridge reads: what is written from now on, and all of a topic that is
new.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ingest.batching.partition_log import Partition
from ingest.collectors.delivery.records import RESENT
from ingest.kafka.topics import create_topics
from serve.bridge.live.kafka_reader import LiveReader
from tests.contract.clients import numbered, produce
from tests.contract.topics import new_partition
from tests.waiting import wait_until


@contextmanager
def reading(settings) -> Iterator[list[bytes]]:
    """The values that a LiveReader hands over while the block lasts."""
    delivered: list[bytes] = []
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    reader = LiveReader(settings, loop, lambda records: delivered.extend(r.value for r in records))
    reader.start()
    try:
        wait_until(lambda: reader.partitions > 0)
        yield delivered
    finally:
        reader.stop()
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        loop.close()


def await_live(settings, partition, delivered):
    """Assigning is not reading yet: frames pass until one is heard."""

    def is_heard():
        produce(settings, partition, [passing])
        return passing in delivered

    passing = b"passing %d" % partition.index
    wait_until(is_heard)


def assert_only_new_frames_come(settings, partition):
    with reading(settings) as delivered:
        # Another partition first: what is written to this one would be its last batch.
        for index in (1, 0):
            await_live(settings, Partition(partition.topic, index), delivered)
        produce(settings, partition, numbered(50, first=1_000))
        wait_until(lambda: delivered[-1] == b"1049")

    assert [value for value in delivered if not value.startswith(b"passing")] == numbered(
        50, first=1_000
    )


def test_what_was_there_before_is_not_live(settings, partition):
    for frame in numbered(3):
        produce(settings, partition, [frame])

    assert_only_new_frames_come(settings, partition)


def test_no_part_of_the_last_batch_is_live(settings, partition):
    produce(settings, partition, numbered(100))

    assert_only_new_frames_come(settings, partition)


def test_topic_that_appears_later_is_read_from_its_beginning(settings):
    """A user's first frames, before the bridge has heard of his topic."""
    create_topics(settings)
    anna = settings.model_copy(update={"topic_telemetry": f"{settings.topic_telemetry}-user-anna"})
    with reading(settings) as delivered:
        produce(anna, new_partition(anna), numbered(50))
        wait_until(lambda: len(delivered) >= 50)

    assert delivered == numbered(50)


def test_what_is_sent_again_is_not_live(settings, partition):
    """Ingest asked for it. A viewer would see the car jump back, or a session that ended come
    alive.
    """
    with reading(settings) as delivered:
        await_live(settings, partition, delivered)
        produce(settings, partition, [b"old"], headers=[("userId", b"anna"), RESENT])
        produce(settings, partition, [b"new"], headers=[("userId", b"anna")])
        wait_until(lambda: delivered[-1] == b"new")

    assert b"old" not in delivered
