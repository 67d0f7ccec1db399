"""Reads the settings from the environment and ``.env``, once, when a program starts.

The names of the variables are the contract. A wrong value gives one line with the variable, the
value and the accepted values. Settings are frozen and can be pickled, so that an actor gets them as
one argument.

Rule: a secret appears in no repr and in no pickle, because Ray stores everything that it passes on.
A process that unpickles settings reads the secrets where it runs. It takes them from its
environment, or from the file with the path of this one.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar
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


def _network_list(value: str) -> str:
    for network in filter(None, value.split(",")):
        try:
            ipaddress.ip_network(network.strip())
        except ValueError:
            raise ValueError(
                "want address[,address...], or networks as 10.0.0.0/8, and"
                f" {network.strip()!r} is neither"
            ) from None
    return value


def _absolute(value: str) -> str:
    # A worker of Ray has another current folder than the command that passes the path on.
    return str(Path(value).expanduser().absolute()) if value else ""


def _issuer(value: str) -> str:
    parts = urlsplit(value)
    secure = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    if value and not (secure and parts.hostname and not parts.query and not parts.fragment):
        raise ValueError("want https://name[/path], exactly as the tokens have it in iss")
    return value


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches the host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


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


def _database_url_or_none(value: SecretStr) -> SecretStr:
    return _database_url(value) if value.get_secret_value() else value


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
    #: Heading and readers of the group, for .env.example and docs/reference/settings.md.
    title: ClassVar[str]
    read_by: ClassVar[str]

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
            host = socket.gethostname()
            reason = f"{host} has none: {file} or the environment of its Ray wants it"
            raise SettingsError(variable, "***", reason)
        secrets = {name: getattr(here, name) for name in left_out}
        settings = kind.read(_env_file=None, **public, **secrets)
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

    title: ClassVar[str] = "Kafka"
    read_by: ClassVar[str] = "collectors, ingest, the page, and commands"

    brokers: Annotated[str, AfterValidator(_broker_list)] = Field(
        "127.0.0.1:9092",
        alias="KAFKA_BROKERS",
        description="Brokers to start from: host:port[,host:port...]",
    )
    client_id: str = Field(
        "purple-sector",
        alias="KAFKA_CLIENT_ID",
        min_length=1,
        description="The name in the broker's logs and quotas",
    )
    topic_telemetry: str = Field(
        "telemetry",
        alias="KAFKA_TOPIC_TELEMETRY",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topic of the frames; collectors write it, ingest and bridge read it",
    )
    topic_commands: str = Field(
        "commands",
        alias="KAFKA_TOPIC_COMMANDS",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topic of the commands to collectors",
    )
    topic_status_reports: str = Field(
        "status-reports",
        alias="KAFKA_TOPIC_STATUS_REPORTS",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topic of the collectors' answers to a query for their status",
    )
    topic_laps: str = Field(
        "laps",
        alias="KAFKA_TOPIC_LAPS",
        pattern=r"^[A-Za-z0-9._-]{1,200}$",
        description="Topic of the laps, finished and in progress",
    )
    topic_per_user: bool = Field(
        False,
        alias="KAFKA_TOPIC_PER_USER",
        description="true: collectors write to `<telemetry topic>-user-<USER_ID>`, so that the"
        " broker's rules prove each user (docs/kafka-access.md)",
    )
    consumer_group: str = Field(
        "telemetry-processors",
        alias="KAFKA_CONSUMER_GROUP",
        min_length=1,
        description="Group under which offsets are committed for lag dashboards; ingest itself "
        "reads only the database's",
    )
    replication: int = Field(
        1,
        alias="KAFKA_REPLICATION",
        ge=1,
        le=10,
        description="Copies of each partition of the topics that we create; 3 in production",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT",
        alias="KAFKA_SECURITY_PROTOCOL",
        description="How clients connect to the brokers",
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512",
        alias="KAFKA_SECURITY_SASL_MECHANISM",
        description="With SASL: how the password is proved",
    )
    username: str = Field(
        "",
        alias="KAFKA_SECURITY_USERNAME",
        description="With SASL: the user",
    )
    password: SecretStr = Field(
        SecretStr(""),
        alias="KAFKA_SECURITY_PASSWORD",
        description="With SASL: the user's password",
    )
    ca_file: str = Field(
        "",
        alias="KAFKA_SECURITY_CA",
        description="With SSL: file with the brokers' authority; empty: the system's",
    )

    def client(self, more: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the librdkafka configuration of a client, with the properties in ``more``."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.brokers,
            "client.id": self.client_id,
            "security.protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            config |= self._sasl()
        if self.ca_file:
            config["ssl.ca.location"] = self.ca_file
        return config | (more or {})

    def _sasl(self) -> dict[str, str]:
        return {
            "sasl.mechanism": self.sasl_mechanism,
            "sasl.username": self.username,
            "sasl.password": self.password.get_secret_value(),
        }


@dataclass(frozen=True, slots=True)
class Retention:
    """The number of days for which the store keeps the rows of a table; 0: for ever."""

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

    title: ClassVar[str] = "Database"
    read_by: ClassVar[str] = "ingest, the page, commands, and `analytics.connect()`"

    url: Annotated[SecretStr, AfterValidator(_database_url)] = Field(
        SecretStr(DEVELOPMENT_DATABASE),
        alias="DATABASE_URL",
        description="Where sessions, frames and laps are kept. In a password, / is %2F, @ is %40,"
        " ? is %3F, # is %23, % is %25, and a space is %20",
    )
    telemetry_days: _Days = Field(
        0,
        alias="RETENTION_TELEMETRY_DAYS",
        description="Days for which frames are kept, by whole chunks, from when they were driven;"
        " 0: for ever. Sessions are always kept. The retention of frames, summaries, "
        "laps and gaps needs TimescaleDB's Community edition: `purple-sector database"
        " upgrade` makes its jobs",
    )
    summaries_days: _Days = Field(
        0,
        alias="RETENTION_SUMMARIES_DAYS",
        description="Days for which the sums of each second and lap are kept; they may outlive "
        "their frames; 0: for ever",
    )
    laps_days: _Days = Field(
        0,
        alias="RETENTION_LAPS_DAYS",
        description="Days for which laps are kept; 0: for ever",
    )
    gaps_days: _Days = Field(
        0,
        alias="RETENTION_GAPS_DAYS",
        description="Days for which gaps are kept; 0: for ever",
    )
    dead_letters_days: _Days = Field(
        30,
        alias="RETENTION_DEAD_LETTERS_DAYS",
        description="Days for which records that could not be stored are kept; 0: for ever. "
        "Workers delete them, in every edition",
    )
    dead_letters_per_kind: int = Field(
        1000,
        alias="DEAD_LETTERS_PER_KIND",
        ge=0,
        le=1_000_000,
        description="How many dead letters of a kind a topic keeps; more are counted",
    )
    dead_letters_max_mb: int = Field(
        512,
        alias="DEAD_LETTERS_MAX_MB",
        ge=0,
        le=1_000_000,
        description="How large all dead letters together may be",
    )

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


class BridgeDatabaseSettings(DatabaseSettings):
    """Settings for the address of the store as the page connects to it."""

    title: ClassVar[str] = "Database, as the page"
    read_by: ClassVar[str] = "the page, where DATABASE_URL is set too, and the commands of `shares`"

    url: Annotated[SecretStr, AfterValidator(_database_url_or_none)] = Field(
        SecretStr(""),
        alias="SERVE_DATABASE_URL",
        description="The store as the page reads it, with the role purple_bridge"
        " (docs/database-roles.md); empty: DATABASE_URL",
    )


class OwnerDatabaseSettings(DatabaseSettings):
    """Settings for the address of the store as its owner connects to it."""

    title: ClassVar[str] = "Database, as its owner"
    read_by: ClassVar[str] = (
        "the commands of `database`, `sessions` and `users`, and `up` and `cluster start` for"
        " migrations"
    )

    url: Annotated[SecretStr, AfterValidator(_database_url_or_none)] = Field(
        SecretStr(""),
        alias="OWNER_DATABASE_URL",
        description="The store as the owner of its tables, who migrates them and makes roles; no"
        " other part needs it. Empty: DATABASE_URL",
    )


def bridge_database(database: DatabaseSettings) -> DatabaseSettings:
    """Return the store as the page connects to it: ``database`` if nothing else is set."""
    own = BridgeDatabaseSettings.read(_env_file=database._file)
    return own if own.url.get_secret_value() else database


def owner_database(database: DatabaseSettings) -> DatabaseSettings:
    """Return the store as its owner connects to it: ``database`` if nothing else is set."""
    own = OwnerDatabaseSettings.read(_env_file=database._file)
    return own if own.url.get_secret_value() else database


class EmbeddedSettings(_Environment):
    """Settings for the services that this machine starts where none are named."""

    title: ClassVar[str] = "Embedded services"
    read_by: ClassVar[str] = "`up` and `demo`"

    brokers: Annotated[int, AfterValidator(_broker_count)] = Field(
        1,
        alias="EMBEDDED_BROKERS",
        description="Brokers to start where KAFKA_BROKERS is not set: 1, or 3 of which one may die",
    )
    database: Literal["postgresql", "timescaledb"] = Field(
        "postgresql",
        alias="EMBEDDED_DATABASE",
        description="Where DATABASE_URL is not set, `up` and `demo` start this; elsewhere than on"
        " Debian, TimescaleDB must be installed",
    )


_SpoolKeep = Annotated[
    int,
    Field(
        alias="SPOOL_KEEP_S",
        ge=0,
        le=31_536_000,
        description="Seconds for which collectors keep frames that Kafka acknowledged, and for "
        "which ingest requests missing ones",
    ),
]


class IngestSettings(_Environment):
    """Settings for batches, for partitions per actor, and for how long collectors can resend
    frames.
    """

    title: ClassVar[str] = "Ingest"
    read_by: ClassVar[str] = "ingest: `up`, `demo` and `cluster start`"

    batch_max_rows: int = Field(
        20_000,
        alias="INGEST_BATCH_MAX_ROWS",
        ge=1,
        le=1_000_000,
        description="A batch is stored when it has this many rows",
    )
    batch_max_age_ms: int = Field(
        250,
        alias="INGEST_BATCH_MAX_AGE_MS",
        ge=1,
        le=60_000,
        description="A batch is stored when its oldest row is this old",
    )
    partitions_per_actor: int = Field(
        0,
        alias="PARTITIONS_PER_ACTOR",
        ge=0,
        description="Partitions that one actor hosts; 0 spreads them over the cluster's CPUs",
    )
    connections: int = Field(
        8,
        alias="INGEST_CONNECTIONS",
        ge=2,
        le=100,
        description="Connections to the database that one actor takes at most, for all of its "
        "partitions",
    )
    spool_keep_s: _SpoolKeep = 7200


class CollectorSettings(_Environment):
    """Settings for the user, the encoding of frames, and the spool where frames wait for Kafka."""

    title: ClassVar[str] = "Collector"
    read_by: ClassVar[str] = "`collect`"

    user_id: str = Field(
        "driver",
        alias="USER_ID",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="Who drives",
    )
    protobuf_enabled: bool = Field(
        True,
        alias="PROTOBUF_ENABLED",
        description="false: frames are written as JSON, larger and readable",
    )
    spool_dir: str = Field(
        "",
        alias="SPOOL_DIR",
        description="Where frames wait until Kafka has them, a folder for each session; several "
        "collectors may share it. Empty: %LOCALAPPDATA%\\purple-sector\\spool, or "
        "~/.local/state/purple-sector/spool",
    )
    spool_max_mb: int = Field(
        1000,
        alias="SPOOL_MAX_MB",
        ge=8,
        le=1_000_000,
        description="How large the spool may become; an hour at 60 Hz takes some 30 MB. When it "
        "is full, only what Kafka has is deleted. New frames are then held in memory "
        "for four minutes; after that they are lost and counted",
    )
    spool_keep_s: _SpoolKeep = 7200


class AccSettings(_Environment):
    """Settings for following Assetto Corsa Competizione. Empty values and 0 are detected
    automatically.
    """

    title: ClassVar[str] = "Assetto Corsa Competizione"
    read_by: ClassVar[str] = "`collect acc` and `collect doctor`"

    rate_hz: int = Field(
        60,
        alias="ACC_RATE_HZ",
        ge=1,
        le=400,
        description="Frames a second from the shared memory; the game writes some 400. Broadcasts"
        " alone give at most 20",
    )
    shared_memory: str = Field(
        "",
        alias="ACC_SHARED_MEMORY",
        description="Folder with the files acpmf_physics, acpmf_graphics and acpmf_static; empty:"
        " /dev/shm, on Windows the game's own memory",
    )
    host: str = Field(
        "127.0.0.1",
        alias="ACC_HOST",
        min_length=1,
        description="Where the game's broadcasting server is",
    )
    broadcast_port: int = Field(
        0,
        alias="ACC_BROADCAST_PORT",
        ge=0,
        le=65535,
        description="Port of the broadcasting server; 0: that of broadcasting.json, else 9000",
    )
    udp_port: int = Field(
        0,
        alias="ACC_UDP_PORT",
        ge=0,
        le=65535,
        description="The collector's own port, for a firewall; 0: any. Never the game's own",
    )
    display_name: str = Field(
        "Purple Sector",
        alias="ACC_DISPLAY_NAME",
        min_length=1,
        max_length=100,
        description="The name of the collector in the game's log",
    )
    password: SecretStr = Field(
        SecretStr(""),
        alias="ACC_PASSWORD",
        description="connectionPassword of broadcasting.json; empty: as in that file",
    )
    broadcasting_json: str = Field(
        "",
        alias="ACC_BROADCASTING_JSON",
        description="Path of broadcasting.json; empty: where the game has it",
    )


class AcSettings(_Environment):
    """Settings for following the first Assetto Corsa."""

    title: ClassVar[str] = "Assetto Corsa, the first one"
    read_by: ClassVar[str] = "`collect ac` and `collect doctor`"

    host: str = Field(
        "127.0.0.1",
        alias="AC_HOST",
        min_length=1,
        description="Where the game runs. On this machine its shared memory is read if it has "
        "one; another machine or a console sends UDP",
    )
    udp_port: int = Field(
        9996,
        alias="AC_UDP_PORT",
        ge=1,
        le=65535,
        description="The port of the game's remote telemetry",
    )
    rate_hz: int = Field(
        60,
        alias="AC_RATE_HZ",
        ge=1,
        le=333,
        description="Frames a second from the shared memory; the game writes 333. The game sets "
        "the rate of its remote telemetry",
    )
    shared_memory: str = Field(
        "",
        alias="AC_SHARED_MEMORY",
        description="Folder with the files acpmf_physics, acpmf_graphics and acpmf_static; empty:"
        " /dev/shm, on Windows the game's own memory",
    )
    steering_lock_deg: int = Field(
        0,
        alias="AC_STEERING_LOCK_DEG",
        ge=0,
        le=1080,
        description="How far the car's steering wheel turns to one side, for the remote "
        "telemetry; 0: 450, or as far as it is seen to turn",
    )


class ServeSettings(_Environment):
    """Settings for the address that viewers connect to, for its limits, and for logins."""

    title: ClassVar[str] = "Viewers"
    read_by: ClassVar[str] = "the page: `up`, `demo` and `cluster start`"

    host: str = Field(
        "127.0.0.1",
        alias="WS_HOST",
        min_length=1,
        description="Address of the page and of the WebSocket; 0.0.0.0 lets other machines in",
    )
    port: int = Field(
        8000,
        alias="WS_PORT",
        ge=1,
        le=65535,
        description="Port of the page and of the WebSocket",
    )
    allowed_hosts: Annotated[str, AfterValidator(_host_list)] = Field(
        "",
        alias="ALLOWED_HOSTS",
        description="Names of the page besides addresses and localhost: "
        "name[:port][,name[:port]...]. Requests for others are refused. Behind a "
        "proxy: its public name, with the port where it is not 80 or 443",
    )
    tls_certificate: Annotated[str, AfterValidator(_absolute)] = Field(
        "",
        alias="WS_TLS_CERTIFICATE",
        description="File (PEM) with the page's certificate, then its issuers; with it the page "
        "speaks TLS only (docs/network.md). On a cluster: on the head",
    )
    tls_key: Annotated[str, AfterValidator(_absolute)] = Field(
        "",
        alias="WS_TLS_KEY",
        description="File (PEM) with the certificate's key, which other users may not read",
    )
    hsts_days: int = Field(
        365,
        alias="WS_HSTS_DAYS",
        ge=0,
        le=3650,
        description="Days for which browsers then refuse this name without TLS; sent with "
        "WS_TLS_CERTIFICATE or WS_PROXIES; 0: not sent",
    )
    proxies: Annotated[str, AfterValidator(_network_list)] = Field(
        "",
        alias="WS_PROXIES",
        description="Addresses or networks of proxies in front, whose X-Forwarded-For is believed: "
        "address[,network/bits...]",
    )
    idle_s: int = Field(
        10,
        alias="WS_IDLE_S",
        ge=1,
        le=300,
        description="Seconds in which a connection has to send its TLS handshake, and the head of "
        "each request, and for which it may stop taking an answer",
    )
    connections_per_address: int = Field(
        0,
        alias="WS_CONNECTIONS_PER_ADDRESS",
        ge=0,
        description="How many connections one address (of IPv6: one /64) may hold, half-sent ones "
        "included; 0: a quarter of all. This machine and WS_PROXIES have no limit",
    )
    connections_per_s: int = Field(
        50,
        alias="WS_CONNECTIONS_PER_S",
        ge=1,
        le=10_000,
        description="How many connections, each with its TLS handshake, one address may open a "
        "second, over ten seconds. This machine and WS_PROXIES have no limit",
    )
    sockets: int = Field(
        2000,
        alias="WS_SOCKETS",
        ge=1,
        description="How many sockets a replica holds",
    )
    sockets_per_address: int = Field(
        64,
        alias="WS_SOCKETS_PER_ADDRESS",
        ge=1,
        description="How many of them may be of one address (of IPv6: of one /64)",
    )
    handshakes_per_s: float = Field(
        20.0,
        alias="WS_HANDSHAKES_PER_S",
        gt=0,
        description="How often a second one address may connect; twice as many at once",
    )
    demos: int = Field(
        32,
        alias="WS_DEMOS",
        ge=0,
        description="How many demos play at once; each takes about 1 % of a core",
    )
    demos_per_address: int = Field(
        4,
        alias="WS_DEMOS_PER_ADDRESS",
        ge=0,
        description="How many demos play at once for one address",
    )
    sockets_per_caller: int = Field(
        8,
        alias="WS_SOCKETS_PER_CALLER",
        ge=1,
        description="How many sockets one name that has logged in may hold",
    )
    sockets_per_link: int = Field(
        64,
        alias="WS_SOCKETS_PER_LINK",
        ge=1,
        description="How many sockets the guests of one link may hold together",
    )
    subscriptions: int = Field(
        16,
        alias="WS_SUBSCRIPTIONS",
        ge=1,
        le=1000,
        description="How many sessions and users one socket may subscribe to",
    )
    messages_per_s: float = Field(
        10.0,
        alias="WS_MESSAGES_PER_S",
        ge=1,
        description="How many frames a socket may send a second, control frames and fragments "
        "included; twice as many at once",
    )
    auth_mode: Literal["none", "keys", "jwt"] = Field(
        "none",
        alias="AUTH_MODE",
        description="Logins (docs/access.md). none: no login, on the loopback only; keys: names "
        "and keys in a file; jwt: tokens of an OpenID Connect issuer",
    )
    auth_keys_file: Annotated[str, AfterValidator(_absolute)] = Field(
        "",
        alias="AUTH_KEYS_FILE",
        description="keys: the file that `purple-sector access add` writes; mode 0600, on every "
        "node that has a replica",
    )
    auth_issuer: Annotated[str, AfterValidator(_issuer)] = Field(
        "",
        alias="AUTH_ISSUER",
        description="jwt: the issuer (https://...), exactly as the tokens have it in iss",
    )
    auth_audience: str = Field(
        "",
        alias="AUTH_AUDIENCE",
        description="jwt: the audience, exactly as the tokens have it in aud",
    )
    auth_algorithms: Literal["RS", "PS", "ES", "EdDSA"] = Field(
        "RS",
        alias="AUTH_ALGORITHMS",
        description="jwt: the one family of algorithms that signs",
    )
    auth_name_claim: str = Field(
        "sub",
        alias="AUTH_NAME_CLAIM",
        min_length=1,
        description="jwt: the claim that holds the user, as collectors have it in USER_ID",
    )
    auth_role_claim: str = Field(
        "role",
        alias="AUTH_ROLE_CLAIM",
        min_length=1,
        description="jwt: the claim that holds the role, or a list with roles",
    )
    auth_client_id: str = Field(
        "",
        alias="AUTH_CLIENT_ID",
        description="jwt: the client id of the page; with it the page logs in by code and PKCE, "
        "without it a token is pasted",
    )


class LogSettings(_Environment):
    """Settings for the level, the format and the destination of logs."""

    title: ClassVar[str] = "Logs"
    read_by: ClassVar[str] = "all programs"

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO",
        alias="LOG_LEVEL",
        description="The least severe lines that are written",
    )
    format: Literal["simple", "json"] = Field(
        "simple",
        alias="LOG_FORMAT",
        description="simple for people, json for collectors of logs",
    )
    service_name: str = Field(
        "purple-sector",
        alias="SERVICE_NAME",
        min_length=1,
        description="The name that each line of a json log carries",
    )
    file: str = Field(
        "",
        alias="LOG_FILE",
        description="A file for the lines too; it is rotated at 2 MB, and four old ones are kept",
    )
