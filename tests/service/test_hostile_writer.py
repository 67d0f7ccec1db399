"""A driver with a valid password of his own, who writes where and what is not his."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException, Producer

from ingest.batching.partition_log import Partition
from ingest.codec.session_owner import FOREIGN_FACTS, FOREIGN_HEADER, FOREIGN_KEY, TAKEN
from ingest.collectors.delivery.records import new_session_key
from ingest.collectors.delivery.sender import Sender
from ingest.embedded.kafka.cluster import ADMIN
from ingest.errors import AccessRefused, SettingsError
from ingest.kafka.collector_users import CollectorUsers
from ingest.kafka.topics import Cluster, telemetry_topic
from ingest.settings import CollectorSettings, DatabaseSettings, IngestSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from ingest.workers.worker_threads import WorkerThreads
from serve.bridge.live.hub import Hub, Subscription
from serve.bridge.live.kafka_reader import LiveReader
from serve.bridge.live.viewer import Viewer, ViewerQueue
from serve.cli.access.commands import access
from tests.service.audit import assert_each_frame_once, wait_for_frames
from tests.service.owner import Record, drove, rows, told
from tests.service.secured import Secured
from tests.waiting import WITHIN_S, wait_until

TOPIC = KafkaError.TOPIC_AUTHORIZATION_FAILED


@pytest.fixture
def administrator(secured: Secured, monkeypatch: pytest.MonkeyPatch) -> KafkaSettings:
    """The settings of the administrator, as the environment has them."""
    settings = secured.settings(ADMIN)
    monkeypatch.setenv("KAFKA_BROKERS", settings.brokers)
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", settings.security_protocol)
    monkeypatch.setenv("KAFKA_SECURITY_USERNAME", settings.username)
    monkeypatch.setenv("KAFKA_SECURITY_PASSWORD", settings.password.get_secret_value())
    monkeypatch.setenv("KAFKA_SECURITY_CA", settings.ca_file)
    return settings


def let_in(user: str, folder: Path) -> Path:
    """The file with the settings of the user's PC, as the command prints them."""
    with structlog.testing.capture_logs() as logged:
        done = CliRunner().invoke(access, ["add", user, "--collector", "--new-password"])
    assert done.exit_code == 0, done.output
    file = folder / f"{user}.env"
    file.write_text(done.stdout)
    assert CollectorSettings(_env_file=file).user_id == user
    (password,) = (line for line in done.stdout.splitlines() if "_PASSWORD=" in line)
    assert password.partition("=")[2] not in str(logged)
    return file


@pytest.fixture
def of_pc(
    administrator: KafkaSettings, tmp_path: Path, monkeypatch
) -> Callable[..., KafkaSettings]:
    """Lets a user in; the environment of his PC has nothing of the administrator's."""

    def made(user: str) -> KafkaSettings:
        file = let_in(user, tmp_path)
        with monkeypatch.context() as at_home:
            for name in ("BROKERS", "SECURITY_PROTOCOL", "SECURITY_USERNAME", "SECURITY_PASSWORD"):
                at_home.delenv(f"KAFKA_{name}")
            return KafkaSettings(_env_file=file)

    return made


def write(
    settings: KafkaSettings,
    topic: str,
    *records: Record,
    headers: list[tuple[str, bytes]] | None = None,
) -> None:
    failed: list[KafkaError] = []
    producer = Producer(settings.client({"message.timeout.ms": 10_000, "log_level": 0}))
    for key, value in records:
        producer.produce(
            topic,
            value,
            key,
            headers=headers or [],
            on_delivery=lambda error, _: failed.append(error) if error else None,
        )
    assert producer.flush(WITHIN_S) == 0
    if failed:
        raise KafkaException(failed[0])


@contextmanager
def hosting(secured: Secured, url: str, *users: str) -> Iterator[WorkerThreads]:
    """Ingest, which reads the topics of these users."""
    settings = secured.settings("ingest", topic_per_user=True)
    host = WorkerThreads(
        name="hostile",
        kafka=settings,
        database=DatabaseSettings(_env_file=None, url=url),
        ingest=IngestSettings(_env_file=None, batch_max_age_ms=50),
    )
    host.host([Partition(telemetry_topic(settings, user), 0) for user in users])
    try:
        yield host
    finally:
        host.stop()


@contextmanager
def watching(secured: Secured, *watches: Subscription) -> Iterator[tuple[Hub, list[bytes]]]:
    """A page's hub on the live end, and the messages that its one viewer gets."""
    hub, seen = Hub(), list[bytes]()
    viewer = Viewer(as_text=False, wake=lambda: None, close=lambda _: None, queue=ViewerQueue(None))
    hub.join(viewer)
    for watch in watches:
        hub.watch(viewer, watch, now=0.0)

    def deliver(records) -> None:
        hub.publish(records, now=time.monotonic())
        while (message := viewer.queue.take(now=time.monotonic())) is not None:
            seen.append(message.binary)

    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    reader = LiveReader(secured.settings("bridge", topic_per_user=True), loop, deliver)
    reader.start()
    try:
        wait_until(lambda: reader.partitions > 0)
        yield hub, seen
    finally:
        reader.stop()
        loop.call_soon_threadsafe(loop.stop)
        running.join()
        loop.close()


def key_of(user: str) -> str:
    return new_session_key(user, now=datetime.now(UTC))


def drive(settings: KafkaSettings, user: str, key: str, frames: int) -> Sender:
    facts = Session(id=key, user_id=user, track="Spa", started_at=time.time_ns() // 1_000_000)
    sender = Sender(settings, CollectorSettings(_env_file=None, user_id=user), facts, linger_ms=5)
    go_on(sender, frames)
    return sender


def go_on(sender: Sender, frames: int) -> None:
    for _ in range(frames):
        now_ms = time.time_ns() // 1_000_000
        sender.send(TelemetryFrame(timestamp=now_ms, lap_number=1, speed=200, rpm=7000))
        sender.poll(0.002)

    def acknowledged() -> bool:
        sender.poll(0.02)
        done = sender.statistics
        return done.frames_published == done.frames_collected

    wait_until(acknowledged)


def test_bob_reaches_nothing_of_alice(secured, database, of_pc):
    """Each attempt ends with its code; her frames are whole; her viewer sees only hers."""
    alice, bob = of_pc("alice"), of_pc("bob")
    hers, named, his = key_of("alice"), "named-by-alice", key_of("bob")
    own = telemetry_topic(bob, "bob")
    watches = (Subscription("user", "alice"), Subscription("session", hers))
    with hosting(secured, database.url, "alice", "bob"), watching(secured, *watches) as (hub, seen):
        car = drive(alice, "alice", hers, 100)
        write(alice, telemetry_topic(alice, "alice"), *drove(named, 1, 2, 3))
        wait_for_frames(database.url, {hers: 100, named: 3})

        for topic in (telemetry_topic(alice, "alice"), "telemetry", "commands", "laps"):
            with pytest.raises(KafkaException) as refused:
                write(bob, topic, *drove(hers, 101))
            assert refused.value.args[0].code() == TOPIC
        write(bob, own, *drove(hers, 101, 102))
        write(bob, own, *drove(named, 4))
        write(bob, own, *drove("forged", 1), headers=[("userId", b"alice")])
        write(bob, own, told("mine", user_id="alice"), *drove("mine", 1))
        write(bob, own, *drove(his, 1, 2))

        go_on(car, 100)
        assert car.close(timeout_s=WITHIN_S) is None
        wait_for_frames(database.url, {hers: 200, named: 3, "mine": 1, his: 2})
        wait_until(lambda: hub.foreign == 5 and his in hub.sessions)
        wait_until(lambda: sum(hers.encode() in message for message in seen) > 200)

    assert_each_frame_once(database.url, {hers: 200, named: 3, "mine": 1, his: 2})
    letters = rows(
        database.url, "SELECT convert_from(key, 'UTF8'), reason, topic, user_id FROM dead_letters"
    )
    assert sorted(letters) == sorted(
        [(hers, FOREIGN_KEY, own, "bob")] * 2
        + [(named, TAKEN, own, "bob")]
        + [("forged", FOREIGN_HEADER, own, "bob"), ("mine", FOREIGN_FACTS, own, "bob")]
    )
    users = dict(rows(database.url, "SELECT key, user_id FROM sessions"))
    assert users == {hers: "alice", named: "alice", "mine": "bob", his: "bob"}
    assert all(hers.encode() in message or named.encode() in message for message in seen)


def test_sessions_stay_with_their_users_when_topics_per_user_are_turned_on(
    secured, database, of_pc
):
    """The shared topic proves nobody from then on; a user goes on on the topic that is hers."""
    anna, ben = of_pc("anna"), of_pc("ben")
    before, old, nobodys = secured.settings("collector"), "of-anna", "of-nobody"
    shared = [Partition("telemetry", index) for index in range(10)]
    host = WorkerThreads(
        name="before",
        kafka=secured.settings("ingest"),
        database=DatabaseSettings(_env_file=None, url=database.url),
        ingest=IngestSettings(_env_file=None, batch_max_age_ms=50),
    )
    host.host(shared)
    try:
        write(before, "telemetry", *drove(old, 1, 2), headers=[("userId", b"anna")])
        write(before, "telemetry", *drove(nobodys, 1))
        wait_for_frames(database.url, {old: 2, nobodys: 1})
    finally:
        host.stop()

    with hosting(secured, database.url, "anna", "ben") as host:
        host.host([*shared, *(Partition(f"telemetry-user-{u}", 0) for u in ("anna", "ben"))])
        write(before, "telemetry", *drove(old, 3), headers=[("userId", b"anna")])
        write(ben, telemetry_topic(ben, "ben"), *drove(old, 3), *drove(nobodys, 2))
        write(anna, telemetry_topic(anna, "anna"), *drove(old, 3), *drove(nobodys, 2))
        wait_for_frames(database.url, {old: 3, nobodys: 1})
        query = "SELECT count(*) FROM dead_letters WHERE reason LIKE 'owner:%'"
        wait_until(lambda: rows(database.url, query) == [(4,)])

    assert_each_frame_once(database.url, {old: 3, nobodys: 1})


def test_what_is_repeated_repairs_and_leaves_the_password_alone(secured, administrator, of_pc):
    users = CollectorUsers(administrator)
    carla = of_pc("carla")
    assert users.add("carla").password is None
    write(carla, "telemetry-user-carla", *drove("s", 1))

    assert "carla" in users.names()

    newer = of_pc("carla")
    assert newer.password != carla.password
    write(newer, "telemetry-user-carla", *drove("s", 2))
    assert Cluster(administrator, timeout_s=WITHIN_S).await_partitions("telemetry-user-carla") == 1


def test_who_is_removed_may_do_nothing(secured, administrator, database, of_pc):
    """The topic stays until its records are stored: nothing is lost in silence."""
    users, dan = CollectorUsers(administrator), of_pc("dan")
    write(dan, "telemetry-user-dan", *drove("dans", 1, 2))

    assert users.remove("dan") == 2
    with pytest.raises((KafkaException, AssertionError)):
        write(dan, "telemetry-user-dan", *drove("dans", 3))
    with hosting(secured, database.url, "dan"):
        wait_for_frames(database.url, {"dans": 2})
        wait_until(lambda: users.remove("dan") == 0)
    assert "telemetry-user-dan" not in Cluster(administrator, timeout_s=WITHIN_S).topics()
    assert users.remove("dan") == 0


@pytest.mark.parametrize("name", ["Eve", "e_ve", "e-ve", "E.VE"])
def test_a_name_that_looks_like_another_is_refused(administrator, name):
    users = CollectorUsers(administrator)
    users.add("eve" if name == "Eve" else "e.ve")
    with pytest.raises(SettingsError, match="looks like e"):
        users.add(name)


def test_only_the_administrator_lets_collectors_in(secured):
    with pytest.raises(AccessRefused, match="want the administrator's"):
        CollectorUsers(secured.settings("ingest")).add("frank")
    assert "telemetry-user-frank" not in Cluster(secured.settings(ADMIN), timeout_s=5).topics()


def test_a_broker_without_access_rules_is_named(kafka):
    """Before anything has been made there."""
    open_to_all = KafkaSettings(_env_file=None, brokers=kafka.brokers)
    with pytest.raises(AccessRefused, match="authorizer"):
        CollectorUsers(open_to_all).add("grace")
    assert "telemetry-user-grace" not in Cluster(open_to_all, timeout_s=WITHIN_S).topics()


def test_a_writer_above_its_quota_has_to_wait(of_pc):
    throttled = threading.Event()
    settings = of_pc("heidi")
    producer = Producer(settings.client({"throttle_cb": lambda _: throttled.set()}))

    def wrote() -> bool:
        for _ in range(50):
            producer.produce("telemetry-user-heidi", b"x" * 60_000, b"s")
        producer.flush(1)
        return throttled.is_set()

    wait_until(wrote)
    producer.purge()
