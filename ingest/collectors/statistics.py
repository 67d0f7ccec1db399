"""What a collector has done so far, as numbers."""

from dataclasses import dataclass


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
    """Frames taken from the game, those that Kafka has acknowledged, and those that were refused."""

    frames_collected: int = 0
    frames_published: int = 0
    errors: int = 0
    producer: ProducerStatistics = ProducerStatistics()

    def __add__(self, other: "Statistics") -> "Statistics":
        return Statistics(
            self.frames_collected + other.frames_collected,
            self.frames_published + other.frames_published,
            self.errors + other.errors,
            self.producer + other.producer,
        )

    def as_json(self) -> dict[str, int | dict[str, int]]:
        """The same with the published names."""
        return {
            "framesCollected": self.frames_collected,
            "framesPublished": self.frames_published,
            "errors": self.errors,
            "producerStats": {
                "messagesSent": self.producer.messages_sent,
                "bytesSent": self.producer.bytes_sent,
                "errors": self.producer.errors,
            },
        }
