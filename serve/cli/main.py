"""Runs the ``purple-sector`` command.

Every error that a person can act on is one line. The exit code is 2 for a wrong setting or
argument, else 1. A game PC has neither Ray nor Arrow, so each command imports its needs when it
runs.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.markup import escape

from analytics.store.instance import Instance, state_folder
from ingest.errors import PurpleSectorError, SettingsError, SettingsFileError
from ingest.logging_setup import start_logging
from ingest.settings import DatabaseSettings, KafkaSettings, LogSettings, ServeSettings
from serve.cli.access.commands import access
from serve.cli.access.shares import shares
from serve.cli.collect import collect
from serve.cli.collectors import collectors
from serve.cli.database.commands import database
from serve.cli.dead_letters import dead_letters
from serve.cli.export import export
from serve.cli.fleet import fleet
from serve.cli.recompute import laps
from serve.cli.sessions.commands import sessions
from serve.cli.sessions.users import users
from serve.cli.tables import print_table, table_of
from serve.local.instance import single_instance, write_note
from serve.local.shutdown_signal import ShutdownSignal

if TYPE_CHECKING:
    from rich.table import Table

    from ingest.embedded.process import Process
    from serve.cli.status import Status
    from serve.local.system import LocalSystem

_LOOK_EVERY_S = 0.5
_STOP_WITHIN_S = 60.0
_DEMO_PAST_LAPS = 4
_FLUSHED_WITHIN_S = 15.0
# Modules of the standard library that some command here needs and Windows lacks.
_POSIX = frozenset({"fcntl", "grp", "pwd", "resource"})
_NEEDS_POSIX = (
    "this command runs on Linux and macOS only, and on Windows in WSL 2; "
    "on Windows itself run collect, collectors, status, export, topics and laps recompute"
)

console = Console(highlight=False, emoji=False)


def main() -> None:
    """Run a command as the entry point, and print an error as one line."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        if running := Instance.find(state_folder(os.environ)):
            running.export_to(os.environ)
        start_logging(LogSettings.read())
        command(standalone_mode=False)
    except (SettingsError, SettingsFileError) as error:
        sys.exit(_fail(str(error), 2))
    except PurpleSectorError as error:
        sys.exit(_fail(str(error), 1))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)
    except ModuleNotFoundError as error:
        sys.exit(_fail(_lacking(error), 1))


def _lacking(error: ModuleNotFoundError) -> str:
    """Return the advice for a missing module. No package can install a module that belongs to the
    operating system.
    """
    if error.name in _POSIX:
        return _NEEDS_POSIX
    return (
        f"{error.name} is not installed: pip install 'purple-sector[cluster,embedded]' has all"
        " of it"
    )


def _fail(sentence: str, code: int) -> int:
    click.echo(f"purple-sector: {sentence}", err=True)
    return code


def _stop(_: int, __: FrameType | None) -> None:
    # SIGTERM acts as Ctrl-C: the process stops everything that it started before it exits.
    raise KeyboardInterrupt


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="purple-sector")
def command() -> None:
    """Telemetry for sim racing: Kafka carries it, Ray runs it, TimescaleDB keeps it.

    Settings come from the environment and from .env in the current folder; .env.example lists them.
    While `up` or `demo` runs on this machine, the other commands find its broker and its database
    automatically.
    """


command.add_command(access)
command.add_command(collect)
command.add_command(export)
command.add_command(collectors)
command.add_command(database)
command.add_command(dead_letters)
command.add_command(laps)
command.add_command(sessions)
command.add_command(users)
command.add_command(shares)
laps.add_command(fleet)


_BROKERS = click.option(
    "--brokers",
    type=click.Choice(["1", "3"]),
    help="Kafka brokers to start: 1, or 3 of which one may die.",
)
_DATABASE = click.option(
    "--database",
    type=click.Choice(["postgresql", "timescaledb"]),
    help="The database to start.  [postgresql]",
)


def _embedded(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the commands that start services.

    They win over the environment and .env.
    """

    @wraps(function)
    def chosen(*, brokers: str | None, database: str | None, **others: Any) -> None:
        wanted = {"EMBEDDED_BROKERS": brokers, "EMBEDDED_DATABASE": database}
        os.environ |= {name: value for name, value in wanted.items() if value}
        function(**others)

    return _BROKERS(_DATABASE(chosen))


@command.command()
@_embedded
@click.option(
    "--cars", default=1, show_default=True, type=click.IntRange(1, 40), help="How many cars drive."
)
def demo(cars: int) -> None:
    """Start everything on this machine, with a car that drives.

    Ctrl-C ends everything. No data is kept: broker and database use a folder that is removed at the
    end.
    """
    with tempfile.TemporaryDirectory(prefix="purple-sector-", ignore_cleanup_errors=True) as folder:
        # An embedded PostgreSQL that root starts runs as another user. That user needs access to
        # the data.
        Path(folder).chmod(0o755)
        _run(Path(folder), durable=False, cars=cars)


@command.command()
@_embedded
@click.option(
    "--detach", "-d", is_flag=True, help="Return when it is up; `purple-sector down` stops it."
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where broker and database keep their data.",
)
def up(detach: bool, data: Path | None) -> None:
    """Start everything on this machine, and stay until Ctrl-C.

    Everything is Kafka, PostgreSQL, Ray, ingest and the page. KAFKA_BROKERS and DATABASE_URL, where
    set, name services that run elsewhere, which are used instead. Data is kept from one run to the
    next.
    """
    folder = data or state_folder(os.environ) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if detach:
        _run_in_background(folder)
    else:
        _run(folder, durable=True, cars=0)


@command.command()
def down() -> None:
    """Stop everything that `up` or `demo` started on this machine."""
    folder = state_folder(os.environ)
    running = Instance.find(folder)
    if running is None:
        _sweep_left_processes()
        return
    os.kill(running.pid, signal.SIGTERM)
    _await_end(running, folder)
    click.echo("stopped")


def _sweep_left_processes() -> None:
    from serve.local.orphans import folder_of_rays, sweep

    killed = sweep(folder_of_rays())
    left = f"; {killed} processes were ended that a killed command had left behind"
    click.echo(f"nothing is running{left if killed else ''}")


def _await_end(running: Instance, folder: Path) -> None:
    deadline = time.monotonic() + _STOP_WITHIN_S
    while Instance.find(folder):
        if time.monotonic() > deadline:
            raise PurpleSectorError(
                f"process {running.pid} has not stopped within {_STOP_WITHIN_S:.0f} s; see its"
                " output"
            )
        time.sleep(0.1)


@command.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(as_json: bool) -> None:
    """Show the running system: brokers, topics, lag, workers, sessions, store, certificate.

    The workers come from the store's records; Ray is not queried.
    """
    import json

    from serve.cli.status import read_status

    seen = read_status(KafkaSettings.read(), DatabaseSettings.read(), _page_lines())
    if as_json:
        click.echo(json.dumps(seen.as_json(), default=str, indent=2))
    else:
        _show(seen)


def _page_lines() -> tuple[str, ...]:
    """Return what is known of the page's certificate. Without TLS nothing has to be installed."""
    serve, running = ServeSettings.read(), Instance.find(state_folder(os.environ))
    tls = running.tls_certificate if running else serve.tls_certificate
    if not tls:
        return ()
    from serve.bridge.front.page_status import page_lines

    return page_lines(serve, running)


@command.group()
def topics() -> None:
    """Create the Kafka topics, or show how they differ."""


@topics.command("create")
def topics_create() -> None:
    """Create missing topics. An existing topic is never changed; its differences are printed."""
    from ingest.kafka.topics import create_topics

    for outcome in create_topics(KafkaSettings.read()):
        click.echo(str(outcome))


@topics.command("describe")
def topics_describe() -> None:
    """Show how each topic differs from its specification. Exit code 1 if any does."""
    from ingest.kafka.topics import describe_topics

    reports = describe_topics(KafkaSettings.read())
    for report in reports:
        click.echo(str(report))
    if any(report.differences for report in reports):
        sys.exit(1)


@command.group()
def cluster() -> None:
    """Start or stop ingest and the page on a running Ray cluster.

    `ray up cluster.yaml` makes one. Where several Rays run on this machine, RAY_ADDRESS selects
    one.
    """


@cluster.command("start")
@click.option(
    "--env-file",
    type=click.Path(exists=True, dir_okay=False),
    help="Settings, one NAME=value a line.",
)
def cluster_start(env_file: str | None) -> None:
    """Create topics and tables, and start ingest and the page.

    Safe to run again: a running part is left alone, and the names of its settings that differ are
    printed. New settings and new code take effect only after a stop.
    """
    from serve.local.system import start_on_cluster

    start_on_cluster(env_file, click.echo)


@cluster.command("stop")
def cluster_stop() -> None:
    """Stop ingest and the page. Each worker first finishes its current write."""
    from serve.local.system import stop_on_cluster

    stop_on_cluster()
    click.echo("stopped")


def _run(folder: Path, *, durable: bool, cars: int) -> None:
    from ingest.embedded.process import Step
    from serve.local.system import run_local

    home = state_folder(os.environ)
    started_at = time.monotonic()
    with ExitStack() as stack:
        # Entered first, so left last: `down` waits until the note is gone, and thus until
        # everything has stopped.
        stack.enter_context(single_instance(home))
        spinner = stack.enter_context(console.status("starting"))
        _start_quiet_logging()

        def report(line: str) -> None:
            at_s = time.monotonic() - started_at
            console.print(f"[dim]{at_s:5.1f} s[/]  {escape(line)}", soft_wrap=True)

        def progress(step: Step) -> None:
            spinner.update(str(step))

        shutdown = ShutdownSignal()
        shutdown.install()
        with shutdown.interrupting():
            local = stack.enter_context(
                run_local(
                    folder, durable=durable, report=report, progress=progress, shutdown=shutdown
                )
            )
        write_note(_instance_of(local), home)
        driving = (
            [stack.enter_context(simulated_cars(cars, local.kafka.brokers, folder))] if cars else []
        )
        if cars:
            report(f"{cars} {'car drives' if cars == 1 else 'cars drive'}")
        spinner.stop()
        console.print(
            f"\n  [bold magenta]{local.page}[/]\n\n  Ctrl-C stops it all.", soft_wrap=True
        )
        with suppress(KeyboardInterrupt):
            _keep_up(local, driving, shutdown, report)
        console.print("stopping")


def _start_quiet_logging() -> None:
    # `_run` reports each part that is ready: the log has only warnings by default.
    start_logging(LogSettings.read(**({} if "LOG_LEVEL" in os.environ else {"level": "WARNING"})))


def _instance_of(local: "LocalSystem") -> Instance:
    url = local.database.url.get_secret_value()
    tls = (local.serve.tls_certificate, local.serve.tls_key)
    kafka = local.kafka
    return Instance(os.getpid(), local.page, kafka.brokers, url, kafka.replication, *tls)


def _keep_up(
    local: "LocalSystem",
    driving: list["Process"],
    shutdown: ShutdownSignal,
    report: Callable[[str], None],
) -> None:
    """Restart what ended by itself, until a signal interrupts."""
    while True:
        with shutdown.interrupting():
            time.sleep(_LOOK_EVERY_S)
        local.keep_up()
        if driving and not driving[0].running:
            report(str(driving.pop().failure("ended by itself")))


@contextmanager
def simulated_cars(count: int, brokers: str, folder: Path) -> Iterator["Process"]:
    """Run a collector as any user would: as another process that knows only the brokers. Its log is
    in ``folder``.

    It ends when this process ends, for any reason.
    """
    from ingest.embedded.process import Process

    past = ["--past-laps", str(_DEMO_PAST_LAPS)]
    arguments = ["collect", "simulate", "--cars", str(count), *past, "--quiet"]
    process = Process.start(
        "simulated cars",
        [sys.executable, "-m", "serve.cli.main", *arguments],
        log_file=folder / "collector.log",
        folder=Path.cwd(),  # where its .env is
        environment=os.environ | {"KAFKA_BROKERS": brokers},
    )
    try:
        yield process
    finally:
        process.stop(patience_s=_FLUSHED_WITHIN_S)


def _run_in_background(folder: Path) -> None:
    home = state_folder(os.environ)
    with single_instance(home):
        pass  # checked first, so as not to overwrite the log of a running instance
    log_file = home / "up.log"
    with log_file.open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "serve.cli.main", "up", "--data", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with console.status(f"starting; {escape(str(log_file))} has the details"):
            while (running := Instance.find(home)) is None or running.pid != process.pid:
                if process.poll() is not None:
                    raise PurpleSectorError(
                        f"it did not start: {_last_line(log_file)}; {log_file} has the details"
                    )
                time.sleep(0.2)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise
    click.echo(f"up, on {running.page}; purple-sector down stops it")


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").split("\n")
    return next(
        (line.removeprefix("purple-sector: ") for line in reversed(lines) if line.strip()),
        "it printed nothing",
    )


def _show(seen: "Status") -> None:
    _print_line("broker", ", ".join(seen.brokers))
    for line in seen.topics:
        _print_line("topic", line)
    _print_line("store", f"{seen.store}; {seen.counts.letter_text}")
    for line in seen.page:
        _print_line("page", line)
    if seen.counts.clock_text:
        _print_line("clocks", seen.counts.clock_text)
    for owner, partitions in seen.workers.items():
        _print_line("worker", f"{owner}: {partitions} partitions")
    console.print()
    print_table(_partitions_table(seen))
    console.print()
    print_table(_sessions_table(seen))


def _partitions_table(seen: "Status") -> "Table":
    numbers = {"stored up to", "lag", "last sign of life"}
    table = table_of(
        "partition", "stored up to", "lag", "owner", "last sign of life", right=numbers
    )
    for p in seen.partitions:
        place, stored = f"{p.topic}[{p.partition}]", f"{p.next_offset:,}"
        lag = "topic gone" if p.lag is None else f"{p.lag:,}"
        table.add_row(place, stored, lag, p.owner, f"{p.heartbeat_age_s:.1f} s ago")
    return table


def _sessions_table(seen: "Status") -> "Table":
    numbers = ("frames", "laps", "gaps", "clock corrections")
    table = table_of("session", "driver", "car", "track", *numbers, "written", right=set(numbers))
    for s in seen.sessions:
        counts = (f"{s.frames:,}", str(s.laps), str(s.open_gaps), str(s.clock_corrections))
        table.add_row(s.key, s.driver, s.car, s.track, *counts, f"{s.updated_at:%Y-%m-%d %H:%M:%S}")
    return table


def _print_line(what: str, words: str) -> None:
    console.print(f"[bold]{what:<8}[/] {escape(words)}", soft_wrap=True)


if __name__ == "__main__":
    main()
