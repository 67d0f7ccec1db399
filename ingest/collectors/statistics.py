"""What a collector has done so far, as numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """Records (facts included) that the broker has acknowledged, the bytes of their values, and failures to deliver."""

    messages_sent: int = 0
    bytes_sent: int = 0
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Frames taken from the game, those that Kafka has acknowledged, and those that were refused."""

    frames_collected: int = 0
    frames_published: int = 0
    errors: int = 0
    producer: ProducerStatistics = ProducerStatistics()

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
