"""What Ray passes on it stores: settings travel without their secrets, and find them where they
arrive.
"""

import pickle

import cloudpickle
import pytest

from ingest.errors import SettingsError
from ingest.settings import DatabaseSettings, KafkaSettings, differing

CANARY = "canary-7f3a"
URL = f"postgresql://ingest:{CANARY}@db.example/telemetry"


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "KAFKA_SECURITY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
@pytest.mark.parametrize(
    "settings",
    [
        lambda: KafkaSettings.read(password=CANARY),
        lambda: DatabaseSettings.read(url=URL),
        lambda: DatabaseSettings.read(url=f"postgresql://db.example/telemetry?password={CANARY}"),
    ],
)
def test_no_secret_is_in_a_pickle(dumps, settings):
    assert CANARY.encode() not in dumps({"argument": settings()})


def test_what_arrives_has_the_secret_of_the_environment_there(monkeypatch):
    monkeypatch.setenv("KAFKA_SECURITY_PASSWORD", CANARY)
    monkeypatch.setenv("DATABASE_URL", URL)
    sent = (KafkaSettings.read(brokers="a:1", username="ingest"), DatabaseSettings.read())

    assert pickle.loads(pickle.dumps(sent)) == sent


def test_what_arrives_has_the_secret_of_the_same_file_there_and_sends_it_on(tmp_path, monkeypatch):
    file = tmp_path / "settings.env"
    file.write_text(f"KAFKA_SECURITY_PASSWORD={CANARY}\nKAFKA_BROKERS=other:1\n")
    sent = KafkaSettings.read(_env_file=file, brokers="a:1")
    monkeypatch.chdir("/")

    first = pickle.loads(pickle.dumps(sent))
    second = pickle.loads(pickle.dumps(first))

    assert sent == first == second
    assert second.brokers == "a:1"


def test_what_is_public_arrives_as_it_was_whatever_is_set_there(monkeypatch):
    sent = (KafkaSettings.read(), DatabaseSettings.read(url="postgresql://postgres@127.0.0.1:1/x"))
    data = pickle.dumps(sent)
    monkeypatch.setenv("KAFKA_BROKERS", "other:1")
    monkeypatch.setenv("DATABASE_URL", URL)

    assert pickle.loads(data) == sent


def test_a_machine_without_the_secret_is_named_with_what_to_do(tmp_path):
    data = pickle.dumps(DatabaseSettings.read(url=URL))

    with pytest.raises(
        SettingsError, match=r"DATABASE_URL=\*\*\*.*has none: .*\.env or the environment"
    ) as missing:
        pickle.loads(data)

    assert CANARY not in str(missing.value)


def test_settings_that_differ_are_named_without_their_values():
    running = (KafkaSettings.read(brokers="a:1", password=CANARY), DatabaseSettings.read(url=URL))
    wanted = (
        KafkaSettings.read(brokers="b:1", password="another"),
        DatabaseSettings.read(url=URL, laps_days=9),
    )

    assert differing(running, running) == []
    assert differing(running, wanted) == [
        "KAFKA_BROKERS",
        "KAFKA_SECURITY_PASSWORD",
        "RETENTION_LAPS_DAYS",
    ]
