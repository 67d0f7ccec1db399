"""What a collector has done so far, as numbers."""

from dataclasses import dataclass, field

from ingest.collectors.delivery.broker_clock import OFF_MS


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """Records (facts included) that the broker has acknowledged, the bytes of their values, and failures to deliver."""

    messages_sent: int = 0
    bytes_sent: int = 0
    errors: int = 0

    def __add__(self, other: "ProducerStatistics") -> "ProducerStatistics":
        return ProducerStatistics(
            self.messages_sent + other.messages_sent, self.bytes_sent + other.bytes_sent, self.errors + other.errors
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """Frames taken from the game, those that Kafka has acknowledged, those that were refused, and how wrong the clock is."""

    frames_collected: int = 0
    frames_published: int = 0
    errors: int = 0
    producer: ProducerStatistics = ProducerStatistics()
    clock_ahead_ms: int | None = field(default=None, compare=False)  # of the broker's; None: not known

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.frames_collected + other.frames_collected,
            self.frames_published + other.frames_published,
            self.errors + other.errors,
            self.producer + other.producer,
            self.clock_ahead_ms if other.clock_ahead_ms is None else other.clock_ahead_ms,
        )

    def as_json(self) -> dict[str, int | dict[str, int]]:
        """The same with the published names; ``clockAheadMs`` only where the clock is wrong."""
        wrong = self.clock_ahead_ms is not None and abs(self.clock_ahead_ms) > OFF_MS
        return {
            "framesCollected": self.frames_collected,
            "framesPublished": self.frames_published,
            "errors": self.errors,
            "producerStats": {
                "messagesSent": self.producer.messages_sent,
                "bytesSent": self.producer.bytes_sent,
                "errors": self.producer.errors,
            },
            **({"clockAheadMs": self.clock_ahead_ms} if wrong and self.clock_ahead_ms is not None else {}),
        }
