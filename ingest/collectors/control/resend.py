"""Resends frames of a session beside the live one, on the session's key and partition, with a
producer of its own.

So the resend leaves the order of the live stream alone; the store puts old frames where they
belong. The first record is the session's statement: its facts, and how far it was sent. A header on
every record marks it as not live. Resending is throttled: the game has priority on a game PC.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ingest.collectors.control.inventory import ResendableSession
from ingest.collectors.delivery import records
from ingest.collectors.delivery.producer import ResilientProducer
from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.spool.memory import MemorySpool
from ingest.collectors.spool.segments import Range
from ingest.kafka.topics import telemetry_spec, telemetry_topic
from ingest.settings import KafkaSettings

#: Fifty times as fast as the frames were driven: an hour in a minute or so.
FRAMES_PER_S = 3_000
LINGER_MS = 20.0
_WINDOW_RECORDS = 1_000


class Resending:
    """Resends the held and acknowledged frames in ``ranges``.

    ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        holding: ResendableSession,
        ranges: Sequence[Range] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frames = 0  # acknowledged
        self.ranges = merged(ranges)
        session = holding.session
        self.session = session.key
        self._records: Iterator[OutgoingRecord] | None = _records(holding, self.ranges)
        self._window = MemorySpool(session, _WINDOW_RECORDS)
        self._clock, self._started_s, self._taken = clock, clock(), 0
        self._uplink = ResilientProducer(
            kafka,
            telemetry_spec(kafka, telemetry_topic(kafka, session.user_id)),
            session.key.encode(),
            [*records.headers(session.key, session.user_id, session.encoding), records.RESENT],
            partition=holding.partition,
            confirmed=self._confirmed,
            lost=self._lost,
            linger_ms=LINGER_MS,
        )

    @property
    def done(self) -> bool:
        """Return whether everything was sent and acknowledged."""
        return self._records is None and self._window.drained

    def poll(self, timeout_s: float) -> None:
        """Produce due records and handle delivery reports; wait ``timeout_s`` at most."""
        now = self._clock()
        self._uplink.tend(now=now)
        if self._uplink.ready:
            self._fill(1 + int((now - self._started_s) * FRAMES_PER_S))
        else:
            self._started_s = now  # no catching up on the time without a broker
        self._uplink.hand_over(self._window)
        self._uplink.poll(timeout_s)

    def close(self) -> None:
        """Close the producer. Ingest will request unacknowledged frames again."""
        self._uplink.close()

    def _fill(self, due: int) -> None:
        while self._records is not None and self._taken < due and self._window.has_room:
            record = next(self._records, None)
            if record is None:
                self._records = None
                return
            self._window.append(record)
            self._taken += 1

    def _confirmed(self) -> None:
        self.frames += self._window.acknowledge().sequence > 0

    def _lost(self) -> None:
        self._window.rewind()


def _records(holding: ResendableSession, ranges: Sequence[Range]) -> Iterator[OutgoingRecord]:
    yield holding.statement()
    last_sequence = holding.last_sequence
    yield from holding.read(
        [(first, min(last, last_sequence)) for first, last in ranges if first <= last_sequence]
    )


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return the same sequences, each once, ascending: a request may name one a hundred times."""
    apart: list[Range] = []
    for first, last in sorted(ranges):
        if apart and first <= apart[-1][1] + 1:
            apart[-1] = (apart[-1][0], max(apart[-1][1], last))
        else:
            apart.append((first, last))
    return tuple(apart)
