"""Recomputes stored laps with another version of the lap engine: ``purple-sector laps``."""

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings
from serve.cli.tables import print_table, table_of

if TYPE_CHECKING:
    from ingest.store.recompute import Change, Recomputed


@click.group()
def laps() -> None:
    """Recompute stored laps, and time all sessions of a fleet."""


@laps.command("recompute")
@click.option("--session", "key", help="Only this session, by its key.")
@click.option(
    "--dry-run/--write",
    "dry_run",
    default=True,
    help="Say what would change, or change it.  [--dry-run]",
)
def recompute_laps(key: str | None, dry_run: bool) -> None:
    """Time laps again from their frames, with this engine and the newest version of their track.

    Sessions in progress are left alone, as are sessions without all their frames in the store.
    Where laps change, the worker of their partition starts again. That takes a second and loses
    nothing.
    """
    import psycopg

    from ingest.store.recompute import FramesGone, recompute, stored_sessions, write
    from serve.store_errors import translate_database_errors

    settings = DatabaseSettings.read()
    connection = partial(
        psycopg.connect, settings.url.get_secret_value(), autocommit=True, connect_timeout=5
    )
    with translate_database_errors(settings.address), connection() as conn:
        sessions = stored_sessions(conn, key)
        if key and not sessions:
            raise PurpleSectorError(
                f"session {key!r} is not in the store; purple-sector status lists the last ones"
            )
        for session in sessions:
            if session.live:
                click.echo(f"{session.key}: being driven; left alone")
                continue
            try:
                done = recompute(conn, session)
            except FramesGone as gone:
                click.echo(f"{gone}; left alone")
                continue
            _show(done)
            if done.changes and not dry_run:
                write(conn, done)
    click.echo("nothing was written; --write does" if dry_run else "written")


def _show(done: "Recomputed") -> None:
    changed = [change for change in done.changes if set(change.differences) != {"engine"}]
    as_before = len(done.changes) - len(changed)
    renewed = f"; {as_before} are as they were, by an older engine" if as_before else ""
    click.echo(f"{done.session.key}: {len(done.laps)} laps, {len(changed)} of them differ{renewed}")
    if not changed:
        return
    table = table_of("lap", "what", "stored", "now")
    for change in changed:
        for what, before, after in _lines(change):
            table.add_row(str(change.lap_number), what, before, after)
    print_table(table)


def _lines(change: "Change") -> list[tuple[str, str, str]]:
    if change.before is None or change.after is None:
        there = change.after or change.before
        time = _text(there and there.time_ms)
        return [("lap", "", time)] if change.before is None else [("lap", time, "")]
    return [
        (name.removesuffix("_us"), _value(name, before), _value(name, after))
        for name, (before, after) in change.differences.items()
        if name != "engine"
    ]


def _value(name: str, value: Any) -> str:
    """Return a value as text: instants in a readable form, in UTC."""
    if name.endswith("_us"):
        return datetime.fromtimestamp(value / 1e6, UTC).isoformat(sep=" ", timespec="milliseconds")
    return _text(value)


def _text(value: Any) -> str:
    return (
        ", ".join(map(_text, value))
        if isinstance(value, tuple)
        else "–"
        if value is None
        else str(value)
    )
