"""Reads the settings from the environment and ``.env``, once, when a program starts.

The names of the variables are the contract. A wrong value gives one line with the variable, the
value and the accepted values. Settings are frozen and can be pickled, so that an actor gets them as
one argument.

Rule: a secret appears in no repr and in no pickle, because Ray stores everything that it passes on.
A process that unpickles settings reads the secrets where it runs. It takes them from its
environment, or from the file with the path of this one.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingest.env_file import encoding_of
from ingest.errors import SettingsError

DEVELOPMENT_DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"

_ENV_FILE = ".env"

# A % that does not begin an encoded byte, %00 (text cannot hold a zero byte), and spaces.
_UNQUOTED = re.compile(r"%(?![0-9A-Fa-f]{2})|%00|\s")


_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")


def _broker_list(value: str) -> str:
    for address in value.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            raise ValueError(f"want host:port[,host:port...], and {address.strip()!r} is not one")
    return value


def _host_list(value: str) -> str:
    for name in filter(None, value.split(",")):
        if not _HOST.fullmatch(name.strip()):
            raise ValueError(f"want name[:port][,name[:port]...], and {name.strip()!r} is not one")
    return value


def _broker_count(value: int) -> int:
    if value not in {1, 3}:
        raise ValueError("want 1, or 3 of which one may die")
    return value


def _database_url(value: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(value.get_secret_value())
    except ValueError:
        parts = urlsplit("")  # the error's own text would show the password
    if parts.scheme not in {"postgresql", "postgres"}:
        raise ValueError("want postgresql://user@host:port/database")
    ports = [host.rpartition("]")[2].partition(":")[2] for host in _hosts(parts.netloc).split(",")]
    # A / or ? in a password ends the address too early. libpq refuses a second @, a bad % or a
    # space, and its message shows the password.
    behind = parts.path if "@" in parts.netloc else parts.path + parts.query + parts.fragment
    if (
        "@" in behind
        or parts.netloc.count("@") > 1
        or _UNQUOTED.search(value.get_secret_value().strip())
        or not all(port.isdigit() for port in ports if port)
    ):
        raise ValueError(
            "want postgresql://user:password@host:port/database,"
            " with / @ ? # % and spaces in a password as %2F %40 %3F %23 %25 and %20"
        )
    return value


def _hosts(netloc: str) -> str:
    return netloc.rpartition("@")[2]


class _Environment(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=_ENV_FILE,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )
    _file: str = PrivateAttr(_ENV_FILE)

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Return settings from the environment; ``given`` values win.

        Reads ``_env_file`` instead of ``.env`` where it is given. Raises SettingsError at the first
        wrong value, and SettingsFileError where the file is not text.
        """
        file = str(given.get("_env_file") or _ENV_FILE)
        try:
            settings = cls(**{"_env_file_encoding": encoding_of(Path(file))} | given)
        except ValidationError as wrong:
            raise _first_error(wrong) from None
        settings._file = file
        return settings

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and dict(self) == dict(other)

    def __hash__(self) -> int:
        return hash((type(self), *(value for _, value in self)))

    def __reduce__(self) -> tuple[Any, ...]:
        left_out = {name for name, value in self if _is_secret(value)}
        public = {name: value for name, value in self if name not in left_out}
        return _restore, (type(self), public, left_out, str(Path(self._file).absolute()))


def differing(running: Iterable[_Environment], wanted: Iterable[_Environment]) -> list[str]:
    """Return the variables whose values differ between the two lists, in the order of the settings.

    Shows no value.
    """
    return [
        str(type(one).model_fields[name].alias)
        for one, other in zip(running, wanted, strict=True)
        for (name, value), (_, new) in zip(one, other, strict=True)
        if value != new
    ]


_S = TypeVar("_S", bound=_Environment)


def _is_secret(value: Any) -> bool:
    """Return whether the value gives access to something.

    The URL of a database without a password is only an address.
    """
    if not isinstance(value, SecretStr):
        return False
    text = value.get_secret_value()
    parts = urlsplit(text)
    return (
        bool(parts.password or "password" in parts.query.lower()) if "://" in text else bool(text)
    )


def _restore(kind: type[_S], public: dict[str, Any], left_out: set[str], file: str) -> _S:
    """Return settings with the secrets of the machine that they arrive at.

    Raises SettingsError where that machine lacks one.
    """
    if not left_out:
        settings = kind.read(_env_file=None, **public)
    else:
        here = kind.read(_env_file=file)
        for name in left_out - here.model_fields_set:
            variable = str(kind.model_fields[name].alias)
            raise SettingsError(
                variable,
                "***",
                f"{socket.gethostname()} has none: {file} or the environment of its Ray wants it",
            )
        settings = kind.read(
            _env_file=None, **public, **{name: getattr(here, name) for name in left_out}
        )
    settings._file = file
    return settings


def _first_error(wrong: ValidationError) -> SettingsError:
    first = wrong.errors(include_url=False)[0]
    variable = str(first["loc"][0])
    # In upper or lower case: a value that the program passes goes by its field's name.
    secret = any(word in variable.upper() for word in ("PASSWORD", "URL"))
    message = first["msg"].removeprefix("Value error, ")
    # A quoted value in .env may contain line breaks.
    return SettingsError(
        variable, "***" if secret else " ".join(str(first["input"]).splitlines()), message
    )


class KafkaSettings(_Environment):
    """Settings for the connection to Kafka, and the names of topics and consumer group."""

    brokers: Annotated[str, AfterValidator(_broker_list)] = Field(
        "127.0.0.1:9092", alias="KAFKA_BROKERS"
    )
    client_id: str = Field("purple-sector", alias="KAFKA_CLIENT_ID", min_length=1)
    topic_telemetry: str = Field(
        "telemetry", alias="KAFKA_TOPIC_TELEMETRY", pattern=r"^[A-Za-z0-9._-]{1,200}$"
    )
    topic_commands: str = Field(
        "commands", alias="KAFKA_TOPIC_COMMANDS", pattern=r"^[A-Za-z0-9._-]{1,200}$"
    )
    topic_laps: str = Field("laps", alias="KAFKA_TOPIC_LAPS", pattern=r"^[A-Za-z0-9._-]{1,200}$")
    topic_per_user: bool = Field(False, alias="KAFKA_TOPIC_PER_USER")
    consumer_group: str = Field("telemetry-processors", alias="KAFKA_CONSUMER_GROUP", min_length=1)
    replication: int = Field(1, alias="KAFKA_REPLICATION", ge=1, le=10)
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", alias="KAFKA_SECURITY_PROTOCOL"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", alias="KAFKA_SECURITY_SASL_MECHANISM"
    )
    username: str = Field("", alias="KAFKA_SECURITY_USERNAME")
    password: SecretStr = Field(SecretStr(""), alias="KAFKA_SECURITY_PASSWORD")
    ca_file: str = Field("", alias="KAFKA_SECURITY_CA")

    def client(self, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the librdkafka configuration of a client, with the properties in ``more`` added."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.brokers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            config |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.username,
                "sasl.password": self.password.get_secret_value(),
            }
        if self.ca_file:
            config["ssl.ca.location"] = self.ca_file
        return config | (more or {})


@dataclass(frozen=True, slots=True)
class Retention:
    """The number of days for which the store keeps the rows of each table with a time; 0: for ever."""

    telemetry_days: int = 0
    summaries_days: int = 0
    laps_days: int = 0
    gaps_days: int = 0
    dead_letters_days: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetterQuota:
    """The limits on dead letters: per kind in a topic, bytes in total, and days (0: for ever)."""

    per_kind: int = 1000
    max_bytes: int = 512_000_000
    days: int = 30


_Days = Annotated[int, Field(ge=0, le=36_500)]


class DatabaseSettings(_Environment):
    """Settings for the address of the store, and for how long it keeps its rows."""

    url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        SecretStr(DEVELOPMENT_DATABASE), alias="DATABASE_URL"
    )
    telemetry_days: _Days = Field(0, alias="RETENTION_TELEMETRY_DAYS")
    summaries_days: _Days = Field(0, alias="RETENTION_SUMMARIES_DAYS")
    laps_days: _Days = Field(0, alias="RETENTION_LAPS_DAYS")
    gaps_days: _Days = Field(0, alias="RETENTION_GAPS_DAYS")
    dead_letters_days: _Days = Field(30, alias="RETENTION_DEAD_LETTERS_DAYS")
    dead_letters_per_kind: int = Field(1000, alias="DEAD_LETTERS_PER_KIND", ge=0, le=1_000_000)
    dead_letters_max_mb: int = Field(512, alias="DEAD_LETTERS_MAX_MB", ge=0, le=1_000_000)

    @property
    def retention(self) -> Retention:
        """Return how long rows are kept."""
        return Retention(
            self.telemetry_days,
            self.summaries_days,
            self.laps_days,
            self.gaps_days,
            self.dead_letters_days,
        )

    @property
    def dead_letters(self) -> DeadLetterQuota:
        """Return how many dead letters are kept, and for how long."""
        return DeadLetterQuota(
            self.dead_letters_per_kind, self.dead_letters_max_mb * 1_000_000, self.dead_letters_days
        )

    @property
    def address(self) -> str:
        """Return hosts with their ports, and the database, without user and password.

        A message may show this.
        """
        parts = urlsplit(self.url.get_secret_value())
        hosts = [host or "localhost" for host in _hosts(parts.netloc).split(",")]
        return (
            ",".join(h if ":" in h.rpartition("]")[2] else f"{h}:5432" for h in hosts) + parts.path
        )


class EmbeddedSettings(_Environment):
    """Settings for the services that this machine starts where none are named."""

    brokers: Annotated[int, AfterValidator(_broker_count)] = Field(1, alias="EMBEDDED_BROKERS")
    database: Literal["postgresql", "timescaledb"] = Field("postgresql", alias="EMBEDDED_DATABASE")


class IngestSettings(_Environment):
    """Settings for batches, for partitions per actor, and for how long collectors can resend
    frames.
    """

    batch_max_rows: int = Field(20_000, alias="INGEST_BATCH_MAX_ROWS", ge=1, le=1_000_000)
    batch_max_age_ms: int = Field(250, alias="INGEST_BATCH_MAX_AGE_MS", ge=1, le=60_000)
    partitions_per_actor: int = Field(
        0, alias="PARTITIONS_PER_ACTOR", ge=0
    )  # 0: spread over the cluster's CPUs
    spool_keep_s: int = Field(
        7200, alias="SPOOL_KEEP_S", ge=0, le=31_536_000
    )  # the same as for collectors


class CollectorSettings(_Environment):
    """Settings for the user, the encoding of frames, and the spool where frames wait for Kafka."""

    user_id: str = Field("driver", alias="USER_ID", pattern=r"^[A-Za-z0-9._-]{1,100}$")
    protobuf_enabled: bool = Field(True, alias="PROTOBUF_ENABLED")
    spool_dir: str = Field(
        "", alias="SPOOL_DIR"
    )  # empty: the folder where the user's programs keep their state
    spool_max_mb: int = Field(1000, alias="SPOOL_MAX_MB", ge=8, le=1_000_000)
    spool_keep_s: int = Field(7200, alias="SPOOL_KEEP_S", ge=0, le=31_536_000)


class AccSettings(_Environment):
    """Settings for following Assetto Corsa Competizione. Empty values and 0 are detected
    automatically.
    """

    rate_hz: int = Field(60, alias="ACC_RATE_HZ", ge=1, le=400)
    shared_memory: str = Field("", alias="ACC_SHARED_MEMORY")
    host: str = Field("127.0.0.1", alias="ACC_HOST", min_length=1)
    broadcast_port: int = Field(0, alias="ACC_BROADCAST_PORT", ge=0, le=65535)
    udp_port: int = Field(0, alias="ACC_UDP_PORT", ge=0, le=65535)
    display_name: str = Field(
        "Purple Sector", alias="ACC_DISPLAY_NAME", min_length=1, max_length=100
    )
    password: SecretStr = Field(SecretStr(""), alias="ACC_PASSWORD")
    broadcasting_json: str = Field("", alias="ACC_BROADCASTING_JSON")


class AcSettings(_Environment):
    """Settings for following the first Assetto Corsa."""

    host: str = Field("127.0.0.1", alias="AC_HOST", min_length=1)
    udp_port: int = Field(9996, alias="AC_UDP_PORT", ge=1, le=65535)
    rate_hz: int = Field(60, alias="AC_RATE_HZ", ge=1, le=333)
    shared_memory: str = Field("", alias="AC_SHARED_MEMORY")
    steering_lock_deg: int = Field(0, alias="AC_STEERING_LOCK_DEG", ge=0, le=1080)


class ServeSettings(_Environment):
    """Settings for the address that viewers connect to, and for its limits."""

    host: str = Field("127.0.0.1", alias="WS_HOST", min_length=1)
    port: int = Field(8000, alias="WS_PORT", ge=1, le=65535)
    allowed_hosts: Annotated[str, AfterValidator(_host_list)] = Field("", alias="ALLOWED_HOSTS")
    sockets: int = Field(2000, alias="WS_SOCKETS", ge=1)
    sockets_per_address: int = Field(64, alias="WS_SOCKETS_PER_ADDRESS", ge=1)
    handshakes_per_s: float = Field(20.0, alias="WS_HANDSHAKES_PER_S", gt=0)
    demos: int = Field(32, alias="WS_DEMOS", ge=0)
    demos_per_address: int = Field(4, alias="WS_DEMOS_PER_ADDRESS", ge=0)


class LogSettings(_Environment):
    """Settings for the level, the format and the destination of logs."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", alias="LOG_LEVEL")
    format: Literal["simple", "json"] = Field("simple", alias="LOG_FORMAT")
    service_name: str = Field("purple-sector", alias="SERVICE_NAME", min_length=1)
    file: str = Field("", alias="LOG_FILE")
