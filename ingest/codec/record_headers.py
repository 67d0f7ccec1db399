"""Reads the headers of a Kafka record without the client's fault.

There are headers that confluent_kafka 2.16.0 cannot decode, and reading them a second time ended the process. Rule: headers are
read here, once a message.
"""

import time
from collections.abc import Sequence
from typing import cast

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Message, TopicPartition

from ingest.batching.partition_log import Headers, Partition
from ingest.codec.timestamps import BEHIND_MS
from ingest.collectors.delivery.records import SENT_AT
from ingest.kafka.topics import QUIET
from ingest.settings import KafkaSettings


def read_headers(message: Message) -> Headers | None:
    """The headers in order; None where their names cannot be read. Call it once a message."""
    try:
        found = cast(list[tuple[str, str | bytes | None]], message.headers() or [])
    except (SystemError, UnicodeDecodeError):  # the latter is the former's cause: a mended client would raise it
        return None
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in found]


def behind_of(headers: Headers, stamp: tuple[int, int]) -> int:
    """How far the clock of a record's sender is behind the broker's, ms, where that is more than `BEHIND_MS`; else 0.

    By header ``sentAt``, ms since the Unix epoch; ``stamp`` is the record's timestamp as confluent_kafka has it. 0 where either is
    missing, or the sender's clock shows what no clock does.
    """
    kind, appended_ms = stamp
    sent = dict(headers).get(SENT_AT) or b""
    if kind != TIMESTAMP_LOG_APPEND_TIME or not sent.isdigit() or len(sent) > _LONGEST_TIME:
        return 0
    behind_ms = appended_ms - int(sent)
    return behind_ms if behind_ms > BEHIND_MS else 0


class HeaderReader:
    """Reads records that were just read once more, for their headers. Not safe to share between threads.

    To keep the headers of all records until it is known which are bad cost 0.2 µs and 500 bytes each (300,000 records with three
    headers: 1.4 to 1.6 µs of the consumer's thread); bad ones are rare. ``close`` it.
    """

    def __init__(self, settings: KafkaSettings, partition: Partition) -> None:
        self._settings, self._partition = settings, partition
        self._consumer: Consumer | None = None
        self._not_before = 0.0

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._consumer is not None:
            self._consumer.close()

    def headers_at(self, offsets: Sequence[int]) -> dict[int, Headers]:
        """The headers of the records at these offsets, ascending; without those that nobody gave within a second.

        After that second none are looked for during 15 s: frames are waiting.
        """
        if not offsets or time.monotonic() < self._not_before:
            return {}
        consumer = self._consumer = self._consumer or Consumer(self._settings.client(_CONSUMER | {"group.id": _GROUP}))
        topic, index = self._partition.topic, self._partition.index
        consumer.assign([TopicPartition(topic, index, offsets[0])])
        try:
            return self._read(consumer, offsets)
        finally:
            consumer.unassign()

    def _read(self, consumer: Consumer, offsets: Sequence[int]) -> dict[int, Headers]:
        wanted, found = set(offsets), dict[int, Headers]()
        gives_up_at = time.monotonic() + _WITHIN_S
        last = -1
        while last < offsets[-1]:
            left_s = gives_up_at - time.monotonic()
            if left_s <= 0:
                self._not_before = time.monotonic() + _AGAIN_AFTER_S
                break
            for message in consumer.consume(_AT_ONCE, min(left_s, _POLL_S)):
                if message.error():
                    continue
                last = message.offset() or 0
                if last in wanted and (headers := read_headers(message)) is not None:
                    found[last] = headers
        return found


_LONGEST_TIME = 15  # digits
_WITHIN_S = 1.0
_AGAIN_AFTER_S = 15.0
_POLL_S = 0.1
_AT_ONCE = 500
_GROUP = "headers"  # of nobody: nothing is committed
_CONSUMER = QUIET | {
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "fetch.min.bytes": 1,
    "queued.max.messages.kbytes": 4 * 1024,
    "error_cb": lambda _: None,
}
