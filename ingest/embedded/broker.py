"""Starts this machine's Apache Kafka, with one broker or three."""

from pathlib import Path

from ingest.cancellation import Cancelled, never
from ingest.embedded.kafka.cluster import KafkaCluster
from ingest.embedded.kafka.server import Kafka
from ingest.embedded.process import Progress, quiet

Broker = Kafka | KafkaCluster


def start_broker(
    folder: Path, *, brokers: int = 1, progress: Progress = quiet, cancelled: Cancelled = never
) -> Broker:
    """Start Apache Kafka on ``folder`` with 1 broker, or with 3 that make a cluster.

    Raises ServiceUnavailable, and Stopped where it is ``cancelled``.
    """
    if brokers > 1:
        return KafkaCluster.start(folder, brokers=brokers, progress=progress, cancelled=cancelled)
    return Kafka.start(folder, progress=progress, cancelled=cancelled)
