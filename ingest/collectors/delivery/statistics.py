"""Counts the work that a collector has done so far."""

from dataclasses import dataclass, field

from ingest.collectors.delivery.broker_clock import OFF_MS


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """Counts of acknowledged records (facts included), of the bytes of their values, and of
    failures to deliver.
    """

    messages_sent: int = 0
    bytes_sent: int = 0
    errors: int = 0

    def __add__(self, other: "ProducerStatistics") -> "ProducerStatistics":
        return ProducerStatistics(
            self.messages_sent + other.messages_sent,
            self.bytes_sent + other.bytes_sent,
            self.errors + other.errors,
        )

    def as_json(self) -> dict[str, int]:
        """Return the counts under their published names."""
        return {
            "messagesSent": self.messages_sent,
            "bytesSent": self.bytes_sent,
            "errors": self.errors,
        }


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of frames taken from the game, acknowledged by Kafka, and refused or lost; and the
    clock's offset.
    """

    frames_collected: int = 0
    frames_published: int = 0
    errors: int = 0
    producer: ProducerStatistics = ProducerStatistics()
    # Ahead of the broker's clock; None: not known.
    clock_ahead_ms: int | None = field(default=None, compare=False)

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.frames_collected + other.frames_collected,
            self.frames_published + other.frames_published,
            self.errors + other.errors,
            self.producer + other.producer,
            self.clock_ahead_ms if other.clock_ahead_ms is None else other.clock_ahead_ms,
        )

    def as_json(self) -> dict[str, int | dict[str, int]]:
        """Return the counts under their published names; ``clockAheadMs`` only where the clock is
        wrong.
        """
        wrong = self.clock_ahead_ms is not None and abs(self.clock_ahead_ms) > OFF_MS
        return {
            "framesCollected": self.frames_collected,
            "framesPublished": self.frames_published,
            "errors": self.errors,
            "producerStats": self.producer.as_json(),
            **(
                {"clockAheadMs": self.clock_ahead_ms}
                if wrong and self.clock_ahead_ms is not None
                else {}
            ),
        }
