"""Three brokers die, freeze and roll while twenty sessions stream: what was acknowledged is kept,
once and in order.
"""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.embedded.kafka.cluster import KafkaCluster
from ingest.embedded.process import ServiceUnavailable
from ingest.kafka.topics import create_topics
from ingest.settings import KafkaSettings
from tests.conftest import _report
from tests.service.convoy import Convoy
from tests.service.kafka_faults import Course, run_faults, signalled

SEED = 3
LOOKED_S = 2.0
BUSY_S = 0.3  # of CPU meanwhile


@pytest.fixture(scope="module")
def cluster(service_folder: Path) -> Iterator[KafkaCluster]:
    try:
        cluster = KafkaCluster.start(service_folder / "cluster")
    except ServiceUnavailable as missing:
        pytest.skip(f"no brokers: {missing}")
    with cluster:
        yield cluster


def test_nothing_acknowledged_is_lost_or_doubled(cluster, database, pytestconfig):
    def faults(course: Course) -> None:
        course.kill_a_leader()
        course.freeze_two()
        course.kill_a_leader()
        course.kill_two()
        course.roll()

    ledger = run_faults(cluster, database.url, faults, name="faults", seed=SEED)

    _report(pytestconfig, f"three brokers: {ledger}")
    assert len(ledger.frames) == 20
    assert sum(map(len, ledger.pauses_s.values())) == 5


def test_collector_that_waits_for_copies_costs_no_cpu(cluster):
    """Two of three are silent, so that nothing is acknowledged; the game needs its CPU itself."""
    kafka = KafkaSettings(
        _env_file=None, brokers=cluster.brokers, replication=3, topic_telemetry="patient"
    )
    create_topics(kafka)
    with Convoy(kafka, "patient", sessions=1) as convoy:
        convoy.await_acknowledgements()
        driving_s = cpu_s_in(LOOKED_S)
        leader = cluster.leader_of("patient", convoy.partitions[0])
        silent = [broker.pid for broker in cluster.nodes if broker.node.id != leader]
        with signalled(silent, signal.SIGSTOP, signal.SIGCONT):
            time.sleep(0.5)
            acknowledged = convoy.acknowledged
            silent_s = cpu_s_in(LOOKED_S)
            assert convoy.acknowledged == acknowledged
        convoy.await_acknowledgements()
        assert list(convoy.finish()) == ["patient-0"]
    # A thread that spins takes most of a core; a machine that is busy takes more for everything.
    assert silent_s < max(BUSY_S, 2 * driving_s)


def cpu_s_in(wall_s: float) -> float:
    """What this process takes of the CPU in so long, all threads, driving the car included."""
    before_s = time.process_time()
    time.sleep(wall_s)
    return time.process_time() - before_s
