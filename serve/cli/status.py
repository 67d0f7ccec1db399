"""Reads the state for `purple-sector status`: brokers, topics, lag, workers, sessions and the
edition of the store.

Queries Kafka and the database, never Ray: the store's record of a worker counts.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg.rows import class_row

from ingest.errors import BrokerUnavailable
from ingest.kafka.topics import QUIET, cluster_of, describe_topics, open_admin
from ingest.settings import DatabaseSettings, KafkaSettings
from ingest.store.schema.edition import read_edition
from serve.cli.store_counts import StoreCounts, read_store_counts
from serve.store_errors import translate_database_errors

_TIMEOUT_S = 5.0
_SESSIONS = 10


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """The position of ingest in a partition. ``lag`` is in records, and None when the topic is
    gone.
    """

    topic: str
    partition: int
    next_offset: int
    end_offset: int | None
    owner: str
    heartbeat_age_s: float

    @property
    def lag(self) -> int | None:
        """Return the number of records that are not stored yet."""
        return None if self.end_offset is None else max(0, self.end_offset - self.next_offset)


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """A session with recent writes. ``clock_corrections`` counts the replacements of its times by
    the broker's.
    """

    key: str
    driver: str
    car: str
    track: str
    frames: int
    laps: int
    open_gaps: int
    updated_at: datetime
    clock_corrections: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """A snapshot of the system at one moment."""

    brokers: tuple[str, ...]
    topics: tuple[str, ...]
    store: str
    counts: StoreCounts
    partitions: tuple[PartitionStatus, ...]
    sessions: tuple[SessionStatus, ...]
    page: tuple[str, ...] = ()

    @property
    def workers(self) -> dict[str, int]:
        """Return each worker with the number of partitions that it owns."""
        owners = [p.owner for p in self.partitions]
        return {owner: owners.count(owner) for owner in sorted(set(owners))}

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON-compatible values."""
        partitions = [asdict(p) | {"lag": p.lag} for p in self.partitions]
        whole = {name: value for name, value in asdict(self).items() if name != "counts"}
        return whole | asdict(self.counts) | {"partitions": partitions, "workers": self.workers}


def read_status(
    kafka: KafkaSettings, database: DatabaseSettings, page: tuple[str, ...] = ()
) -> Status:
    """Query Kafka and the store, and add the lines about the page.

    Raises BrokerUnavailable, StoreUnavailable and SchemaOutdated.
    """
    cluster = cluster_of(open_admin(kafka), kafka, timeout_s=_TIMEOUT_S)
    topics = tuple(str(report) for report in describe_topics(kafka, timeout_s=_TIMEOUT_S))
    with (
        translate_database_errors(database.address),
        psycopg.connect(database.url.get_secret_value(), connect_timeout=3) as conn,
    ):
        offsets = conn.execute(_OFFSETS).fetchall()
        sessions = (
            conn.cursor(row_factory=class_row(SessionStatus))
            .execute(_LAST_SESSIONS, [_SESSIONS])
            .fetchall()
        )
        counts = read_store_counts(conn)
        edition = read_edition(conn)
        store = "; ".join([f"{edition}, at {database.address}", *edition.warnings])
    return Status(
        brokers=tuple(f"{b.host}:{b.port}" for b in cluster.brokers.values()),
        topics=topics,
        store=store,
        counts=counts,
        partitions=tuple(_with_ends(kafka, offsets)),
        sessions=tuple(sessions),
        page=page,
    )


_OFFSETS = """
SELECT topic, partition, next_offset, owner,
       extract(epoch FROM clock_timestamp() - heartbeat)::float
  FROM partition_offsets ORDER BY topic, partition
"""

_LAST_SESSIONS = """
SELECT key, driver, car, track, frames, updated_at,
       (SELECT count(*) FROM laps l WHERE l.session_id = s.id) AS laps,
       (SELECT count(*) FROM gaps g WHERE g.session_id = s.id AND resolved_at IS NULL) AS open_gaps,
       (SELECT count(*) FROM clock_corrections c WHERE c.session_id = s.id) AS clock_corrections
  FROM sessions s ORDER BY updated_at DESC LIMIT %s
"""


def _with_ends(kafka: KafkaSettings, offsets: list[tuple[Any, ...]]) -> list[PartitionStatus]:
    consumer = Consumer(kafka.client(QUIET | {"group.id": f"{kafka.consumer_group}-status"}))
    try:
        return [
            PartitionStatus(
                topic, partition, next_offset, _end(consumer, kafka, topic, partition), owner, age_s
            )
            for topic, partition, next_offset, owner, age_s in offsets
        ]
    finally:
        consumer.close()


def _end(consumer: Consumer, kafka: KafkaSettings, topic: str, partition: int) -> int | None:
    try:
        _, end = consumer.get_watermark_offsets(
            TopicPartition(topic, partition), timeout=_TIMEOUT_S
        )
        return int(end)
    except KafkaException as error:
        if error.args[0].retriable():
            raise BrokerUnavailable(kafka.brokers, error.args[0].str()) from error
        return None
