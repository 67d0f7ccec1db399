"""Chooses this machine's broker: Apache Kafka, or the in-memory substitute, and logs the reason."""

from pathlib import Path

import structlog

from ingest.embedded.kafka.cluster import KafkaCluster
from ingest.embedded.kafka.jars import kafka_jars
from ingest.embedded.kafka.server import Kafka, find_java
from ingest.embedded.mesh import COSTS, MeshBroker
from ingest.embedded.process import Progress, ServiceUnavailable, Step, quiet

Broker = Kafka | KafkaCluster | MeshBroker

log = structlog.get_logger()


def start_broker(
    folder: Path,
    *,
    brokers: int = 1,
    cache: Path | None = None,
    offline: bool = False,
    progress: Progress = quiet,
) -> Broker:
    """Start Apache Kafka on ``folder`` if Java and the jars are available, else the in-memory
    broker.

    ``brokers`` is 1, or 3 that make a cluster; a cluster has no substitute. ``offline`` forbids
    fetching. If Kafka is available and does not start, that is an error and no reason for the
    substitute. Raises ServiceUnavailable for that, and if there is no broker at all.
    """
    if brokers > 1:
        return KafkaCluster.start(folder, brokers=brokers, progress=progress)
    try:
        java, jars = find_java(), kafka_jars(cache, offline=offline, progress=progress)
    except ServiceUnavailable as missing:
        log.warning("no apache kafka", reason=str(missing))
        progress(Step("broker", f"{missing}; {COSTS}"))
        return MeshBroker.start(folder, progress=progress)
    return Kafka.start(folder, java=java, jars=jars, progress=progress)
