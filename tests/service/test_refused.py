"""A value that passes every check of ours and that the database refuses all the same costs one
record, not the partition.
"""

import time

import psycopg
from confluent_kafka import Producer

from ingest.batching.partition_log import Partition
from ingest.kafka.topics import create_topics
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import TelemetryFrame
from ingest.workers.partition_worker import Assignment, PartitionWorker
from tests.meanwhile import meanwhile
from tests.waiting import WITHIN_S, wait_until

FRAMES = 500
REFUSED = {3, 250}


def test_refused_records_become_dead_letters_and_the_rest_is_stored(kafka, database):
    settings = KafkaSettings(brokers=kafka.brokers, topic_telemetry="refused")
    create_topics(settings)
    with psycopg.connect(database.url, autocommit=True) as conn:
        conn.execute("ALTER TABLE telemetry ADD CONSTRAINT no_such_rpm CHECK (rpm <> 1234)")
    publish(settings)
    task = Assignment(
        Partition("refused", 0),
        "test",
        settings,
        DatabaseSettings(url=database.url),
        IngestSettings(batch_max_rows=128),
    )
    worker = PartitionWorker(task, on_laps=lambda _: None)
    with meanwhile(worker.run):
        wait_until(lambda: worker.progress.next_offset >= FRAMES, "all that was sent")

    with psycopg.connect(database.url) as conn:
        letters = conn.execute(
            'SELECT "offset", reason FROM dead_letters ORDER BY "offset"'
        ).fetchall()
        stored = [n for (n,) in conn.execute("SELECT sequence FROM telemetry ORDER BY sequence")]
    assert [offset for offset, _ in letters] == sorted(REFUSED)
    assert all(reason.startswith("refused:") for _, reason in letters)
    assert stored == [n + 1 for n in range(FRAMES) if n not in REFUSED]


def publish(settings: KafkaSettings) -> None:
    producer = Producer(settings.client({"linger.ms": 20}))
    now_ms = time.time_ns() // 1_000_000 - FRAMES * 20
    for n in range(FRAMES):
        rpm = 1234 if n in REFUSED else 6000
        frame = TelemetryFrame(
            timestamp=now_ms + n * 16, sequence=n + 1, lap_number=1, speed=100, rpm=rpm
        )
        producer.produce("refused", frame.SerializeToString(), "car", 0)
    assert producer.flush(WITHIN_S) == 0
