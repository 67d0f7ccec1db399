"""Reads one Kafka partition from an offset that the store names.

Offsets of the consumer group are not trusted here. They are committed all the same, after the rows
are, because people look there for lag.
"""

import time
from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from ingest.batching.inbox import Arrived, Inbox
from ingest.batching.partition_log import Partition, Records, joined
from ingest.codec.record_format import MAX_KEY_BYTES, has_controls
from ingest.codec.record_headers import behind_of, read_headers
from ingest.kafka.log_offsets import log_offsets
from ingest.kafka.shared_consumer import SharedConsumer, SharedConsumers
from ingest.kafka.topic_id import identity_of
from ingest.kafka.topics import topic_owner
from ingest.settings import KafkaSettings

_REMEMBERED = 20_000  # users of sessions
_ANSWER_WITHIN_S = 5.0
# Records that wait here, in batches of the most records that the store takes at once.
_FULL_BATCHES = 3
_FULL_BYTES = 64 * 1024 * 1024
_FEWEST_FULL = 3_000  # records


class PartitionConsumer:
    """A reader of one partition. Records come in a thread of the `SharedConsumer`.

    Without ``consumers`` it has a consumer of its own. ``on_records`` is called in the reader's
    thread after records or a failure came, with how many records wait.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        partition: Partition,
        *,
        consumers: SharedConsumers | None = None,
        on_records: Callable[[int], None] = lambda _: None,
        batch_max_rows: int = 20_000,
    ) -> None:
        self.partition = partition
        self._settings = settings
        #: The user whose topic this is; see `topic_owner`.
        self.owner = topic_owner(settings, partition.topic)
        self.users: dict[str, str] = {}
        #: The users that headers name on a topic whose owner is known otherwise, by session.
        self.claims: dict[str, str] = {}
        #: How far the clocks of collectors are behind the broker's, by session, where that is a
        #: fault.
        self.behind_ms: dict[str, int] = {}
        self.topic_id: str | None = None
        self.known_end: int | None = None  # end of the log with that id, at the last check
        self._identity = identity_of(settings, partition.topic)
        self._seen: set[bytes] = set()
        self._on_records = on_records
        full = max(_FEWEST_FULL, _FULL_BATCHES * batch_max_rows)
        self._inbox = Inbox(full=full, room=full // _FULL_BATCHES, full_bytes=_FULL_BYTES)
        # Records of an earlier claim may still be on their way when the next begins.
        self._claim = self._begun = 0
        self._own = SharedConsumers(settings) if consumers is None else None
        self._consumers = consumers or self._own
        self._consumer: SharedConsumer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Read no more. Waits only where the consumer is its own."""
        self._claim += 1
        if self._consumer is not None and self._consumers is not None:
            self._consumer.leave(self)
            self._consumers.release(self._consumer)
            self._consumer = None
        if self._own is not None:
            self._own.close()

    @property
    def is_full(self) -> bool:
        """Return whether so many records wait that no more should come."""
        return self._inbox.is_full

    @property
    def has_room(self) -> bool:
        """Return whether more records may come after it was full."""
        return self._inbox.has_room

    @property
    def waiting(self) -> int:
        """Return how many records can be taken."""
        return len(self._inbox)

    def identify(self) -> str | None:
        """Return the id of the topic; None where the brokers have no ids.

        Call this before every other request about the topic. Raises BrokerUnavailable.
        """
        self.topic_id = self._identity.result_of(self._identity.query(_ANSWER_WITHIN_S))
        return self.topic_id

    def offsets(self, timeout_s: float = _ANSWER_WITHIN_S) -> tuple[int, int]:
        """Return the earliest offset that is left, and the offset after the last. Raises
        BrokerUnavailable.
        """
        return log_offsets(self._settings).of(self.partition, within_s=timeout_s)

    def read_from(self, offset: int) -> None:
        """Read from ``offset`` on; records that were fetched before are dropped."""
        self._claim += 1
        self._inbox.clear()
        self._shared().read_from(self, offset, self._claim)

    def read(self, max_records: int, timeout_s: float) -> Records:
        """Return up to ``max_records`` records, in order, after ``timeout_s`` at the latest.

        There may be none. Raises OffsetsLost, TopicReplaced and BrokerUnavailable.
        """
        runs: list[Records] = []
        gives_up_at = time.monotonic() + timeout_s
        while max_records > 0 and (left_s := gives_up_at - time.monotonic()) > 0:
            came = self._inbox.take(max_records, within_s=left_s)
            runs += [records for _, records in came]
            max_records -= sum(len(records) for _, records in came)
        return joined(runs) if runs else _NOTHING

    def take(self, max_records: int) -> Sequence[Arrived]:
        """Return up to ``max_records`` records that came, in order, and when they did.

        Raises as `read` does.
        """
        return self._inbox.take(max_records)

    def commit(self, offset: int) -> None:
        """Commit to the group the offset that the store has reached.

        The commit is for people and dashboards; nothing here reads it.
        """
        self._shared().commit(self.partition, offset)

    def begin(self, claim: int) -> None:
        """Take the records that come from now on as those of this claim."""
        self._begun = claim
        self._seen.clear()

    def deliver(self, messages: list[Message], *, now: float) -> None:
        """Put the next records where they wait to be taken."""
        keys = list(map(Message.key, messages))
        self._note_users(keys, messages)
        records = Records(
            list(map(Message.value, messages)),
            keys,
            np.array(list(map(Message.offset, messages)), dtype=np.int64),
            _appended_ms(list(map(Message.timestamp, messages))),
        )
        if self._begun == self._claim:
            self._inbox.put(records, now=now)
            self._on_records(len(self._inbox))

    def fail(self, failure: Exception) -> None:
        """Raise this from the next read."""
        if self._begun == self._claim:
            self._inbox.fail(failure)
            self._on_records(len(self._inbox))

    def _shared(self) -> SharedConsumer:
        if self._consumer is None:
            assert self._consumers is not None
            self._consumer = self._consumers.obtain(self.partition.topic, self.topic_id)
        return self._consumer

    def _note_users(self, keys: list[bytes | None], messages: list[Message]) -> None:
        """Remember the user of each new key: without facts only a header has it."""
        for key in set(keys) - self._seen:
            # A longer key names no session, and many keys of a megabyte each are too much to
            # remember.
            if key is None or len(key) > MAX_KEY_BYTES:
                continue
            message = messages[keys.index(key)]
            headers = read_headers(message)
            if headers is None:
                continue  # its next record may have some
            self._seen.add(key)
            user = _text(dict(headers).get("userId") or b"")
            if behind_ms := behind_of(headers, message.timestamp()):
                self.behind_ms[_text(key)] = behind_ms
            self._note_user(_text(key), "" if has_controls(user) else user)  # as in facts
        if len(self._seen) > _REMEMBERED:
            # Sessions end without a notice. One that goes on is noted again; the newest may still
            # wait to be stored.
            self._seen &= set(keys)
            self.users = dict(list(self.users.items())[-_REMEMBERED // 2 :])
            self.claims = dict(list(self.claims.items())[-_REMEMBERED // 2 :])
            self.behind_ms = dict(list(self.behind_ms.items())[-_REMEMBERED // 2 :])

    def _note_user(self, session: str, header: str) -> None:
        if self.owner is None:
            self.users[session] = header
        else:
            self.users[session] = self.owner
            self.claims[session] = header


_NOTHING = Records([], [], np.zeros(0, dtype=np.int64))


def _appended_ms(stamps: list[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """Return the broker's time of receipt for each record.

    Returns 0 where the topic keeps the time of the producer's clock, which may be wrong.
    """
    kinds_and_times = np.array(stamps, dtype=np.int64).reshape(-1, 2)
    return np.where(kinds_and_times[:, 0] == TIMESTAMP_LOG_APPEND_TIME, kinds_and_times[:, 1], 0)


def _text(value: bytes | str) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else value
    return text[:256]
