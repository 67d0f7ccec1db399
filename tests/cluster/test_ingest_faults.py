"""Kill, freeze and starve the real processes under load: each frame once, in order, and the laps of
a calm day.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import psycopg
import pytest
import ray

from ingest.collectors.simulator import frames
from ingest.collectors.simulator.circuit import val_sarine
from ingest.embedded.postgres import Postgres
from ingest.kafka.topics import create_topics
from ingest.settings import DatabaseSettings, IngestSettings, KafkaSettings, LogSettings
from ingest.store.schema.migrations import migrate
from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest
from tests.service.audit import assert_each_frame_once, laps_of, wait_for_frames
from tests.service.traffic import Field
from tests.waiting import WITHIN_S, wait_until

CARS = 4
FRAMES = 12_000  # 200 s each: an out lap and a flying one
KILLS = 20
SEED = 20  # which moments the faults choose


@pytest.fixture(scope="module")
def field() -> Field:
    return Field(cars=CARS, frames=FRAMES)


@pytest.fixture(scope="module")
def kafka_settings(kafka) -> KafkaSettings:
    settings = KafkaSettings(
        brokers=kafka.brokers,
        topic_telemetry="faults",
        topic_commands="faults-commands",
        topic_status_reports="faults-status-reports",
        topic_laps="faults-laps",
    )
    create_topics(settings)
    return settings


@pytest.fixture(scope="module")
def own_postgres(tmp_path_factory) -> Iterator[Postgres]:
    """A database that may be killed without harm to other tests."""
    with Postgres.start(None, durable=False) as postgres:
        with psycopg.connect(postgres.url) as conn:
            migrate(conn)
        yield postgres


@pytest.fixture(scope="module")
def supervisor(ray_cluster, kafka_settings, own_postgres):
    settings = ClusterSettings(
        kafka_settings,
        DatabaseSettings(url=own_postgres.url),
        IngestSettings(),
        LogSettings(level="ERROR"),
    )
    yield start_ingest(settings)
    stop_ingest()


@pytest.fixture(scope="module")
def calm_laps(supervisor, field, kafka_settings, own_postgres) -> dict[int, list]:
    """The laps of the same field when nothing disturbs it."""
    field.publish(kafka_settings, "calm")
    wait_for_frames(own_postgres.url, field.expected("calm"))
    assert_each_frame_once(own_postgres.url, field.expected("calm"))
    return {car: laps_of(own_postgres.url, f"calm-{car}") for car in range(CARS)}


@pytest.fixture
def undergo(field, kafka_settings, own_postgres, supervisor, calm_laps, request):
    """Runs a fault while the field drives, then checks that nothing came of it."""

    def run(fault: Callable[[], None], *, duration_s: float) -> None:
        name = request.node.name
        with field.publishing(kafka_settings, name, duration_s=duration_s):
            fault()
        wait_for_frames(own_postgres.url, field.expected(name))
        assert_each_frame_once(own_postgres.url, field.expected(name))
        for car in range(CARS):
            assert laps_of(own_postgres.url, f"{name}-{car}") == calm_laps[car]

    return run


def worker_pids(supervisor) -> list[int]:
    answers = ray.get(supervisor.stats.remote(), timeout=WITHIN_S)["workers"].values()
    return [answer["pid"] for answer in answers if psutil.pid_exists(answer["pid"])]


def a_worker(supervisor, chance: random.Random) -> int:
    return chance.choice(
        sorted(wait_until(lambda: worker_pids(supervisor), "a worker that came back"))
    )


def test_calm_laps_are_the_laps_that_were_driven(calm_laps):
    """The oracle of the other tests is itself checked: the simulator says how long its laps
    took.
    """
    for car, laps in calm_laps.items():
        driven = list(itertools.islice(frames.laps(val_sarine(), seed=car), len(laps)))
        assert [lap[0] for lap in laps] == [1, 2]
        assert [lap[2] for lap in laps] == pytest.approx([lap.time_ms for lap in driven], abs=2)
        assert [lap[3] for lap in laps] == [lap.time_ms for lap in driven]


def test_workers_killed_at_random_moments(undergo, supervisor):
    chance = random.Random(SEED)
    killed = []

    def fault():
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            pid = a_worker(supervisor, chance)
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    undergo(fault, duration_s=45)

    assert len(killed) == KILLS


def test_worker_frozen_past_takeover_and_woken(undergo, supervisor, own_postgres):
    """Ray replaces a worker that does not answer; when it wakes it finds out and writes nothing."""
    chance = random.Random(SEED)

    def fault():
        time.sleep(2)
        pid = a_worker(supervisor, chance)
        before = owners(own_postgres.url)
        os.kill(pid, signal.SIGSTOP)
        wait_until(
            lambda: before.items() - owners(own_postgres.url).items(),
            "a takeover",
        )
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pytest.fail("it was killed before it could wake")

    undergo(fault, duration_s=20)


def test_supervisor_killed(undergo, supervisor):
    """Workers go on without it, and the next supervisor finds them: nobody is started anew."""
    pids = {}

    def fault():
        time.sleep(2)
        stats = ray.get(supervisor.stats.remote())
        pids["before"] = sorted(answer["pid"] for answer in stats["workers"].values())
        os.kill(stats["pid"], signal.SIGKILL)
        time.sleep(3)
        wait_until(
            lambda: sorted(worker_pids(supervisor)) == pids["before"], "finding the workers again"
        )

    undergo(fault, duration_s=10)


def test_database_killed_in_the_middle_of_copies(undergo, own_postgres):
    def fault():
        for _ in range(3):
            time.sleep(3)
            wait_until(lambda: copies(own_postgres.url) > 0, "a COPY")
            own_postgres.kill()
            time.sleep(1)
            own_postgres.restart()

    undergo(fault, duration_s=30)


def owners(url: str) -> dict[int, str]:
    with psycopg.connect(url) as conn:
        return dict(
            conn.execute("SELECT partition, owner || fence::text FROM partition_offsets").fetchall()
        )


def copies(url: str) -> int:
    with psycopg.connect(url) as conn:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY"
            ' "telemetry"%\''
        )
        return row.fetchone()[0]
