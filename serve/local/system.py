"""Runs the whole system on one machine: Kafka, PostgreSQL, Ray, ingest and Serve as children of
this process.

Everything that starts here ends with the process, in the reverse order, after Ctrl-C as after an
error. A service that the environment names (KAFKA_BROKERS, DATABASE_URL) is used as it is, and
neither started nor stopped.
"""

import io
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import psutil
import psycopg
from dotenv import load_dotenv

from ingest.cancellation import Cancelled, never, unless_cancelled
from ingest.embedded.broker import Broker, start_broker
from ingest.embedded.kafka.class_archive import archive_written_meanwhile
from ingest.embedded.kafka.cluster import KafkaCluster
from ingest.embedded.postgres import FindPrograms, Postgres, embedded_programs
from ingest.embedded.process import Progress, Step, free_port, quiet
from ingest.embedded.timescale import timescale_programs
from ingest.env_file import encoding_of
from ingest.errors import NotUpgraded, PurpleSectorError, StoreUnavailable
from ingest.kafka.topics import create_topics, refuse_unproved_users
from ingest.settings import (
    DatabaseSettings,
    EmbeddedSettings,
    IngestSettings,
    KafkaSettings,
    LogSettings,
    Retention,
    ServeSettings,
    bridge_database,
    owner_database,
)
from ingest.store.schema.edition import read_edition, update_extension
from ingest.store.schema.migrations import migrate
from ingest.store.schema.version import may_migrate, refuse_other_version
from serve.bridge.access.logins import check_logins
from serve.bridge.front.front import (
    Front,
    address_of,
    haproxy_home,
    most_connections,
    warning_of,
)
from serve.local.concurrent_contexts import at_once
from serve.local.listeners import listening, summary
from serve.local.orphans import folder_of_rays
from serve.local.ray_cluster import connect_ray, run_ray
from serve.local.ray_lifecycle import RayLifecycle
from serve.local.ray_node import pandas_left_out
from serve.local.shutdown_signal import ShutdownSignal
from serve.local.supervision import Service, supervised
from serve.store_errors import translate_database_errors

#: Receives a line for each part that is ready. `Progress` receives the step in progress.
Report = Callable[[str], None]

#: The choices of EMBEDDED_DATABASE, with folder and programs. Each has its own folder, because one
#: server cannot read the other's data.
_DATABASES: dict[str, tuple[str, FindPrograms]] = {
    "postgresql": ("postgres", embedded_programs),
    "timescaledb": ("timescaledb", timescale_programs),
}
_LOOPBACK = "127.0.0.1"
_FIRST_ANSWER_WITHIN_S = 300.0  # only a failure waits so long, and a busy machine is not a failure


@dataclass(frozen=True, slots=True)
class LocalSystem:
    """A running system, with its addresses. The thread that started it has to call ``keep_up``
    about every second.
    """

    kafka: KafkaSettings
    database: DatabaseSettings
    serve: ServeSettings
    keep_up: Callable[[], None]

    @property
    def page(self) -> str:
        """Return the address of the viewer page."""
        return address_of(self.serve)


@contextmanager
def run_local(
    folder: Path,
    *,
    durable: bool,
    report: Report,
    progress: Progress = quiet,
    shutdown: ShutdownSignal | None = None,
) -> Iterator[LocalSystem]:
    """Start the system with its data in ``folder``; stop it on leaving. ``durable``: the data
    outlives a power cut.

    ``shutdown`` interrupts restarts in `LocalSystem.keep_up`. Raises PurpleSectorError, with
    advice, when something is not available.
    """
    wanted, ingest, log = ServeSettings.read(), IngestSettings.read(), LogSettings.read()
    front = _checked_front(wanted)
    _report_if_any(advice_for_root(os.geteuid()), report)
    shutdown = shutdown or ShutdownSignal()
    ray_part = RayLifecycle(
        lambda: run_ray(report, pandas=False, meanwhile=_import_deployed), report, shutdown
    )
    with _suppress_ray_output() as stack:
        progress(Step("Ray", "starting"))
        _, database, kafka = stack.enter_context(
            at_once(
                ray_part.ray(),  # in this thread: it sets signal handlers
                run_database(
                    folder,
                    durable=durable,
                    report=report,
                    progress=progress,
                    cancelled=shutdown.is_set,
                ),
                run_broker(
                    folder / "kafka", report=report, progress=progress, cancelled=shutdown.is_set
                ),
            )
        )
        create_topics(kafka)
        serve = _on_free_port(wanted, report)
        progress(Step("ingest and the page", "starting"))
        stack.enter_context(
            ray_part.services(
                lambda: at_once(
                    _ingest(
                        kafka, database, ingest, log, report, stoppable=lambda: ray_part.running
                    ),
                    _serve(kafka, _of_page(database), serve, front, report, shutdown.is_set),
                )
            )
        )
        for line in filter(None, (summary(listening(psutil.Process())), warning_of(wanted))):
            report(line)
        yield LocalSystem(kafka, database, serve, ray_part.keep_up)


def _checked_front(serve: ServeSettings) -> Front:
    """Check the settings of the page before anything starts. Raises PurpleSectorError."""
    check_logins(serve)
    refuse_unproved_users(KafkaSettings.read(), serve.auth_mode)
    _on_free_port(serve, lambda _: None)
    front = Front(serve)
    front.check()
    return front


def _report_if_any(line: str, report: Report) -> None:
    if line:
        report(line)


def advice_for_root(user_id: int) -> str:
    """Return the advice for a start as root; empty for another user."""
    if user_id != 0:
        return ""
    return (
        "started as root, so Kafka, Ray and the page run as root, and none of them needs that:"
        " start it as a user of its own"
    )


@contextmanager
def _suppress_ray_output() -> Iterator[ExitStack]:
    """Yield a stack that suppresses output while it unwinds. Ray prints that its controller died,
    as intended.
    """
    stack = ExitStack()
    try:
        yield stack
    finally:
        with redirect_stdout(io.StringIO()):
            stack.close()


@contextmanager
def run_database(
    folder: Path,
    *,
    durable: bool,
    report: Report,
    progress: Progress = quiet,
    cancelled: Cancelled = never,
) -> Iterator[DatabaseSettings]:
    """Use the database that the environment names, or run one with its data below ``folder``.
    Migrate its schema.
    """
    settings = DatabaseSettings.read()
    with ExitStack() as stack:
        if "url" not in settings.model_fields_set:
            postgres = _start_postgres(folder, durable, progress, cancelled)
            stack.callback(postgres.stop)
            _report_changes(postgres.changes, report)
            settings = DatabaseSettings.read(url=postgres.url)
            prepare_database(settings, report)
            stack.enter_context(supervised({"the database": postgres}, report))
        else:
            check_or_prepare_database(settings, report)
        yield settings


def _start_postgres(
    folder: Path, durable: bool, progress: Progress, cancelled: Cancelled
) -> Postgres:
    place, programs = _DATABASES[EmbeddedSettings.read().database]
    return Postgres.start(
        folder / place,
        programs=programs,
        durable=durable,
        progress=progress,
        cancelled=cancelled,
    )


def _of_page(database: DatabaseSettings) -> DatabaseSettings:
    """Return the database as the page connects to it. An embedded one has a single user."""
    is_named = "url" in DatabaseSettings.read().model_fields_set
    return bridge_database(database) if is_named else database


def check_or_prepare_database(settings: DatabaseSettings, report: Report) -> None:
    """Do as `prepare_database` for the owner of the tables; for another user, check their version.

    A user such as purple_ingest changes nothing here. Raises SchemaOutdated too.
    """
    owner = owner_database(settings)
    if owner is not settings or _may_migrate(settings):
        prepare_database(owner, report)
        return
    with (
        translate_database_errors(settings.address),
        psycopg.connect(settings.url.get_secret_value(), connect_timeout=5) as conn,
    ):
        refuse_other_version(conn, settings.address)
        report(f"{read_edition(conn)}, at {settings.address}")


def _may_migrate(settings: DatabaseSettings) -> bool:
    try:
        with psycopg.connect(settings.url.get_secret_value(), connect_timeout=5) as conn:
            return may_migrate(conn)
    except psycopg.Error:
        return True  # the migration meets the same error, and knows what it means


def prepare_database(settings: DatabaseSettings, report: Report) -> None:
    """Bring TimescaleDB and the schema up to date, and report the edition of the store.

    Raises StoreUnavailable, NotUpgraded, LicenceLost.
    """
    url = settings.url.get_secret_value()
    try:
        if (version := update_extension(url)) is not None:
            report(f"TimescaleDB in this database was updated to {version}")
        with psycopg.connect(url, connect_timeout=5) as conn:
            _migrate(conn, settings, report)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(settings.address, str(error).partition("\n")[0]) from error
    except psycopg.Error as error:
        raise NotUpgraded(settings.address, str(error).partition("\n")[0]) from error


def _migrate(conn: psycopg.Connection, settings: DatabaseSettings, report: Report) -> None:
    migrate(conn, settings.retention)
    edition = read_edition(conn)
    report(f"{edition}, at {settings.address}")
    # The workers delete dead letters, without a job of TimescaleDB.
    others = replace(settings.retention, dead_letters_days=0)
    if others != Retention() and not edition.community:
        report(
            "nothing is dropped, whatever RETENTION_… holds: only TimescaleDB's Community"
            " edition has the jobs for it"
        )


@contextmanager
def run_broker(
    folder: Path, *, report: Report, progress: Progress = quiet, cancelled: Cancelled = never
) -> Iterator[KafkaSettings]:
    """Use the brokers that the environment names, or run brokers on this machine with their data in
    ``folder``.
    """
    settings = KafkaSettings.read()
    if "brokers" in settings.model_fields_set:
        yield settings
        return
    count = EmbeddedSettings.read().brokers
    # A separate folder for each number of brokers: a cluster cannot use the data of a single
    # broker.
    place = folder if count == 1 else folder.with_name(f"{folder.name}-{count}")
    broker = start_broker(place, brokers=count, progress=progress, cancelled=cancelled)
    report(f"{broker.name}, at {broker.brokers}")
    _report_changes(broker.changes, report)
    try:
        with supervised(_processes(broker), report), archive_written_meanwhile():
            yield KafkaSettings.read(brokers=broker.brokers, replication=count)
    finally:
        broker.stop()


def _processes(broker: Broker) -> dict[str, Service]:
    """Return the processes of ``broker`` by name."""
    if isinstance(broker, KafkaCluster):
        return {f"broker {number}": node for number, node in enumerate(broker.nodes, start=1)}
    return {"the broker": broker}


def _report_changes(changes: str, report: Report) -> None:
    if changes:
        report(f"{changes}; collectors that ran need the new address")


@contextmanager
def _ingest(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    ingest: IngestSettings,
    log: LogSettings,
    report: Report,
    *,
    stoppable: Callable[[], bool],
) -> Iterator[None]:
    import ray

    from ingest.workers.supervisor import ClusterSettings, start_ingest, stop_ingest

    supervisor = start_ingest(ClusterSettings(kafka, database, ingest, log))
    deadline = time.monotonic() + _FIRST_ANSWER_WITHIN_S
    while not ray.get(supervisor.stats.remote())["workers"]:
        if time.monotonic() > deadline:
            raise PurpleSectorError(
                f"no ingest worker started within {_FIRST_ANSWER_WITHIN_S:.0f} s; Ray's logs are"
                f" below {folder_of_rays()}"
            )
        time.sleep(0.1)
    report("ingest")
    try:
        yield
    finally:
        # Without its Ray there is no worker to wait for. Records that were not stored are read from
        # Kafka again.
        if stoppable():
            stop_ingest()


def _import_deployed() -> None:
    """Import what is deployed. That takes 1.5 s of CPU, while Ray's own processes start."""
    with pandas_left_out():
        import_module("serve.bridge.deployment")
    import_module("ingest.workers.supervisor")


@contextmanager
def _serve(
    kafka: KafkaSettings,
    database: DatabaseSettings,
    serve: ServeSettings,
    front: Front,
    report: Report,
    cancelled: Cancelled,
) -> Iterator[None]:
    with pandas_left_out():
        from serve.bridge.deployment import deploy

    front.start(haproxy_home(), connections=most_connections(), host=serve.host)
    try:
        # `deploy` waits a minute and more for an answer that an ended Ray does not send.
        # HAProxy alone listens where others reach it, so nobody gets around TLS and limits.
        unless_cancelled(lambda: deploy(kafka, database, serve, host=_LOOPBACK), cancelled)
        report(f"the page, on {address_of(serve)}")
        # The page ends with its Ray. That takes seconds less than to shut it down first; viewers
        # reconnect either way.
        yield
    finally:
        front.stop()


def _on_free_port(wanted: ServeSettings, report: Report) -> ServeSettings:
    """Return the settings with a port that is free.

    Raises PurpleSectorError where others come to the page: they know its port, or a proxy does.
    """
    serve = wanted.model_copy(update={"port": _free_port_near(wanted.host, wanted.port)})
    if serve.port != wanted.port:
        taken = f"port {wanted.port} is taken"
        if wanted.port and wanted.auth_mode != "none":
            raise PurpleSectorError(
                f"{taken} on {wanted.host}, and others know the page by it: end the process that"
                " has it, or choose another with WS_PORT"
            )
        report(f"{taken}, so the page is on {serve.port}; WS_PORT chooses another")
    return serve


def _free_port_near(host: str, port: int) -> int:
    """Return ``port`` if no process listens there, else one of `free_ports`."""
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host, port))
        except OSError:
            return free_port()
        return int(attempt.getsockname()[1])


def start_on_cluster(env_file: str | None, report: Report) -> None:
    """Start ingest and the page on the Ray cluster that this machine belongs to; create topics and
    tables.

    Raises PurpleSectorError.
    """
    kafka, database, serve = _read_settings(env_file)
    check_logins(serve)
    Front(serve)  # the files themselves are on the head
    refuse_unproved_users(kafka, serve.auth_mode)
    for outcome in create_topics(kafka):
        report(str(outcome))
    check_or_prepare_database(database, report)
    connect_ray(report)
    if new := not _page_runs():
        _start_front_on_cluster(serve, report)  # a wrong certificate ends the start here
    _start_ingest_on_cluster(kafka, database, report)
    start = _start_page_on_cluster if new else _report_page_on_cluster
    start(kafka, bridge_database(database), serve, report)


def _read_settings(env_file: str | None) -> tuple[KafkaSettings, DatabaseSettings, ServeSettings]:
    if env_file:
        # Variables that the environment has already win.
        load_dotenv(env_file, encoding=encoding_of(Path(env_file)))
    # Each node reads the secrets from its own copy of that file, or from the environment of its
    # Ray.
    from_file = {"_env_file": env_file} if env_file else {}
    return (
        KafkaSettings.read(**from_file),
        DatabaseSettings.read(**from_file),
        ServeSettings.read(),
    )


def _start_ingest_on_cluster(
    kafka: KafkaSettings, database: DatabaseSettings, report: Report
) -> None:
    import ray

    from ingest.workers.supervisor import ClusterSettings, running_ingest, start_ingest

    settings = ClusterSettings(kafka, database, IngestSettings.read(), LogSettings.read())
    if (supervisor := running_ingest()) is not None:
        report(_left_alone("ingest", lambda: ray.get(supervisor.differing.remote(settings))))
        return
    start_ingest(settings)
    report("ingest")


def _start_page_on_cluster(
    kafka: KafkaSettings, database: DatabaseSettings, serve: ServeSettings, report: Report
) -> None:
    from serve.bridge.deployment import deploy

    deploy(kafka, database, serve)
    report(f"the page, on {address_of(serve)}")


def _report_page_on_cluster(
    kafka: KafkaSettings, database: DatabaseSettings, serve: ServeSettings, report: Report
) -> None:
    from serve.bridge.deployment import differing_page

    report(_left_alone("the page", lambda: differing_page(kafka, database, serve)))


def _start_front_on_cluster(serve: ServeSettings, report: Report) -> None:
    from serve.bridge.deployment import start_front

    if warning := start_front(serve):
        report(warning)


def _left_alone(what: str, differing: Callable[[], list[str]]) -> str:
    """Return the report on a part that runs already, with the settings that it does not take."""
    alone = f"{what} runs already, and is left alone"
    try:
        names = differing()
    # The running code may be older, and Ray's exceptions have no narrower type.
    except Exception as error:
        return f"{alone}; whether with these settings it did not say ({type(error).__name__})"
    if not names:
        return alone
    return (
        f"{what} runs already, with another {', '.join(names)}, and is left alone:"
        " purple-sector cluster stop, and start again, takes the new settings"
    )


def _page_runs() -> bool:
    """Return whether the page is deployed and runs.

    A second deployment would cut all viewers' sockets, because Serve starts its replicas again.
    """
    import ray.serve
    from ray.serve.schema import ApplicationStatus

    from serve.bridge.deployment import NAME

    app = ray.serve.status().applications.get(NAME)
    return app is not None and app.status == ApplicationStatus.RUNNING


def stop_on_cluster() -> None:
    """Stop ingest and the page on the Ray cluster that this machine belongs to. Raises
    PurpleSectorError.
    """
    connect_ray(lambda _: None)
    import ray.serve

    from ingest.workers.supervisor import stop_ingest
    from serve.bridge.deployment import stop_front

    stop_ingest()
    ray.serve.shutdown()
    stop_front()
