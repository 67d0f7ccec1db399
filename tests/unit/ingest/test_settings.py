"""Settings say what is wrong with them, and never what nobody should read."""

import pickle

import pytest
from pydantic import ValidationError

from ingest.errors import SettingsError, SettingsFileError
from ingest.settings import (
    BridgeDatabaseSettings,
    CollectorSettings,
    DatabaseSettings,
    IngestSettings,
    KafkaSettings,
    LogSettings,
    OwnerDatabaseSettings,
    ServeSettings,
    bridge_database,
    owner_database,
)

ALL = (
    KafkaSettings,
    DatabaseSettings,
    BridgeDatabaseSettings,
    OwnerDatabaseSettings,
    IngestSettings,
    CollectorSettings,
    ServeSettings,
    LogSettings,
)


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Far from anybody's .env and environment."""
    monkeypatch.chdir(tmp_path)
    for settings in ALL:
        for field in settings.model_fields.values():
            monkeypatch.delenv(field.alias, raising=False)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://me:hidden@db:5433/laps", "db:5433/laps"),
        ("postgresql://me:hidden@db/laps", "db:5432/laps"),
        ("postgresql:///laps?host=/run/postgresql", "localhost:5432/laps"),
        ("postgresql://me@[::1]:5433/laps", "[::1]:5433/laps"),
        ("postgresql://me@[::1]/laps", "[::1]:5432/laps"),
        ("postgresql://me:hidden@first:5433,second/laps", "first:5433,second:5432/laps"),
        ("postgresql://me:hid%20%2F%40%25den@db/laps?sslmode=require", "db:5432/laps"),
    ],
)
def test_an_address_has_no_password(url, address):
    assert DatabaseSettings(url=url).address == address


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hidden@db/laps",
        "postgresql://me:hid/den@db/laps",
        "postgresql://me:12/hidden@db/laps",
        "postgresql://me:hidden\N{FULLWIDTH SOLIDUS}@db/laps",
        "postgresql://me:hidden@[db/laps",
        "postgresql://me:12@hidden@db/laps",
        "postgresql://me:12?hidden@db/laps",
        "postgresql://me:12#hidden@db/laps",
        "postgresql://me:12/3?hidden@db/laps",
        "postgresql://me:hidden%@db/laps",
        "postgresql://me:hidden%zz@db/laps",
        "postgresql://me:hidden%00@db/laps",
        "postgresql://me:hidden 1@db/laps",
        "postgresql://me@db/laps?password=hidden%zz",
    ],
)
@pytest.mark.parametrize("by_environment", [True, False])
def test_a_wrong_database_url_is_not_shown(url, by_environment, monkeypatch):
    """Whatever is wrong with it, and whoever gave it: half a password is one too."""
    if by_environment:
        monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(SettingsError) as caught:
        DatabaseSettings.read(**({} if by_environment else {"url": url}))
    assert "***: want postgresql://user" in str(caught.value)
    assert "hid/" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "variable", "value", "accepted"),
    [
        (KafkaSettings, "KAFKA_BROKERS", "nowhere", "host:port"),
        (KafkaSettings, "KAFKA_BROKERS", "one:9092,two", "'two'"),
        (KafkaSettings, "KAFKA_BROKERS", "one:0", "host:port"),
        (KafkaSettings, "KAFKA_BROKERS", "one:65536", "host:port"),
        (KafkaSettings, "KAFKA_TOPIC_TELEMETRY", "lap times", "A-Za-z0-9._-"),
        (KafkaSettings, "KAFKA_TOPIC_COMMANDS", "x" * 201, "{1,200}"),
        (KafkaSettings, "KAFKA_TOPIC_LAPS", "laps/", "A-Za-z0-9._-"),
        (KafkaSettings, "KAFKA_TOPIC_PER_USER", "perhaps", "boolean"),
        (KafkaSettings, "KAFKA_REPLICATION", "0", "greater than or equal to 1"),
        (KafkaSettings, "KAFKA_REPLICATION", "three", "integer"),
        (KafkaSettings, "KAFKA_SECURITY_PROTOCOL", "TLS", "'SASL_SSL'"),
        (KafkaSettings, "KAFKA_SECURITY_SASL_MECHANISM", "GSSAPI", "'SCRAM-SHA-512'"),
        (IngestSettings, "INGEST_BATCH_MAX_ROWS", "0", "greater than or equal to 1"),
        (IngestSettings, "INGEST_BATCH_MAX_ROWS", "1000001", "less than or equal to 1000000"),
        (IngestSettings, "INGEST_BATCH_MAX_AGE_MS", "0.5", "integer"),
        (IngestSettings, "INGEST_BATCH_MAX_AGE_MS", "60001", "less than or equal to 60000"),
        (IngestSettings, "PARTITIONS_PER_ACTOR", "-1", "greater than or equal to 0"),
        (CollectorSettings, "USER_ID", "Jo Siffert", "A-Za-z0-9._-"),
        (CollectorSettings, "PROTOBUF_ENABLED", "2", "boolean"),
        (ServeSettings, "WS_PORT", "0", "greater than or equal to 1"),
        (ServeSettings, "WS_PORT", "65536", "less than or equal to 65535"),
        (LogSettings, "LOG_LEVEL", "info", "'INFO'"),
        (LogSettings, "LOG_FORMAT", "xml", "'simple' or 'json'"),
    ],
)
def test_a_wrong_value_is_one_line_with_variable_value_and_what_is_accepted(
    settings, variable, value, accepted, monkeypatch
):
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings.read()

    said = str(caught.value)
    assert said.startswith(f"{variable}={value}: ")
    assert accepted in said.removeprefix(f"{variable}={value}")
    assert "\n" not in said
    assert caught.value.variable == variable


def test_a_value_of_several_lines_is_still_one_line(monkeypatch):
    """A quoted value in .env may have a line break in it."""
    monkeypatch.setenv("KAFKA_BROKERS", "one:9092\ntwo")
    with pytest.raises(SettingsError) as caught:
        KafkaSettings.read()

    assert "\n" not in str(caught.value)


def test_secrets_show_in_no_repr():
    kafka = KafkaSettings(username="me", password="hidden", security_protocol="SASL_SSL")
    database = DatabaseSettings(url="postgresql://me:hidden@db/laps")

    for settings in (kafka, database):
        assert "hidden" not in repr(settings) + str(settings) + repr(settings.model_dump())
    assert kafka.client()["sasl.password"] == "hidden"


def test_passwords_of_no_use_are_not_given_to_the_client():
    assert not [
        name for name in KafkaSettings(password="hidden").client() if name.startswith("sasl")
    ]


def test_authority_is_given_to_the_client():
    assert (
        KafkaSettings(security_protocol="SSL", ca_file="ca.pem").client()["ssl.ca.location"]
        == "ca.pem"
    )


def test_more_of_a_client_wins():
    assert KafkaSettings().client({"client.id": "one"})["client.id"] == "one"


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("WS_HOST=0.0.0.0\nWS_PORT=8001\nNOT_OURS=1\n")
    monkeypatch.setenv("WS_PORT", "8002")

    assert ServeSettings.read() == ServeSettings(host="0.0.0.0", port=8002)


def test_what_the_program_gives_wins(monkeypatch):
    monkeypatch.setenv("WS_PORT", "8002")

    assert ServeSettings.read(port=8003).port == 8003


def test_an_empty_variable_is_not_set(monkeypatch):
    monkeypatch.setenv("WS_PORT", "")

    assert ServeSettings.read().port == 8000


def test_a_wrong_line_of_the_file_is_named_like_the_environment(tmp_path):
    (tmp_path / ".env").write_text("KAFKA_REPLICATION=many\n")
    with pytest.raises(SettingsError, match=r"^KAFKA_REPLICATION=many: "):
        KafkaSettings.read()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_in_the_encoding_that_its_mark_states(tmp_path, encoding):
    """PowerShell's ``>`` writes UTF-16, an editor may put a mark before UTF-8."""
    (tmp_path / ".env").write_bytes("USER_ID=anna\r\nKAFKA_CLIENT_ID=Zürich\r\n".encode(encoding))

    assert CollectorSettings.read().user_id == "anna"
    assert KafkaSettings.read().client_id == "Zürich"


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        (
            "cp1252",
            (
                r"is not UTF-8: line 2 has the byte 0xfc, as Windows-1252 \(ANSI\) has it; save it"
                r" as UTF-8"
            ),
        ),
        ("utf-16-le", "has zero bytes, as UTF-16 without a byte order mark; save it as UTF-8"),
    ],
)
def test_a_file_in_another_encoding_is_named(tmp_path, encoding, problem):
    text = "USER_ID=anna\nKAFKA_CLIENT_ID=Z\N{LATIN SMALL LETTER U WITH DIAERESIS}rich\n"
    (tmp_path / ".env").write_bytes(
        (text if encoding == "cp1252" else "USER_ID=anna\n").encode(encoding)
    )

    with pytest.raises(SettingsFileError, match=rf"^\.env {problem}$"):
        KafkaSettings.read()


@pytest.mark.parametrize("settings", ALL)
def test_settings_do_not_change_and_travel_to_an_actor(settings):
    given = settings()
    field = next(iter(settings.model_fields))

    assert pickle.loads(pickle.dumps(given)) == given
    with pytest.raises(ValidationError, match="frozen"):
        setattr(given, field, getattr(given, field))


@pytest.mark.parametrize(
    ("variable", "of_part"),
    [("SERVE_DATABASE_URL", bridge_database), ("OWNER_DATABASE_URL", owner_database)],
)
def test_a_part_connects_by_its_own_address_where_it_has_one(variable, of_part, monkeypatch):
    common = DatabaseSettings.read(url="postgresql://ingest:hidden@db/laps")
    assert of_part(common) is common

    monkeypatch.setenv(variable, "postgresql://own:hidden@db/laps")
    own = of_part(common)
    assert own.url.get_secret_value() == "postgresql://own:hidden@db/laps"
    assert pickle.loads(pickle.dumps(own)) == own
    assert b"hidden" not in pickle.dumps(own)
    monkeypatch.setenv(variable, "own:hidden@db")
    with pytest.raises(SettingsError, match=f"{variable}=.*want postgresql://") as refused:
        of_part(common)
    assert "hidden" not in str(refused.value)
