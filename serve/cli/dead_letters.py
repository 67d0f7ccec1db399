"""Lists, shows and replays dead letters, which ingest could not store: ``purple-sector
dead-letters``.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings, KafkaSettings
from serve.cli.param_types import Finite
from serve.cli.tables import print_table, table_of

if TYPE_CHECKING:
    from ingest.control.dead_letter_replay import Connection, Filter, Outcome, StoredLetter

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_PLACE = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)\[(?P<partition>\d{1,9})\]@(?P<offset>\d{1,18})")
_SHOWN_BYTES = 512


class Since(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has it without a type argument
    """A moment: a time ago (90s, 15m, 2h, 7d), or a date and time."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment in UTC; a time without a zone counts as UTC. Fails with an error text
        for people.
        """
        try:
            return since(str(value), now=datetime.now(UTC))
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither 90s, 15m, 2h or 7d ago nor a time such as"
                " 2026-03-14T15:09:26",
                param,
                ctx,
            )


def since(text: str, *, now: datetime) -> datetime:
    """Return the moment that ``2h`` or ``2026-03-14T15:09:26`` stands for. Raises ValueError or
    OverflowError.
    """
    if ago := re.fullmatch(r"(\d{1,9})([smhd])", text):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Place(click.ParamType):  # type: ignore[type-arg]  # click 8.2 has it without a type argument
    """The place of a dead letter, as topic, partition and offset: ``telemetry[3]@17``."""

    name = "place"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Filter":
        """Return the filter that only this dead letter passes.

        Fails with an error text for people.
        """
        from ingest.control.dead_letter_replay import Filter

        found = _PLACE.fullmatch(str(value))
        if found is None:
            self.fail(
                f"{value!r} is no place such as telemetry[3]@17; dead-letters list shows them",
                param,
                ctx,
            )
        return Filter(
            topic=found["topic"], partition=int(found["partition"]), offset=int(found["offset"])
        )


@click.group("dead-letters")
def dead_letters() -> None:
    """List, show and replay dead letters: records that ingest could not store.

    Each has a reason that begins with its kind: key, empty, oversize, decode, encoding, json, time,
    value, facts or refused. For each kind the store keeps a topic's first DEAD_LETTERS_PER_KIND and
    counts the rest. The workers delete them after RETENTION_DEAD_LETTERS_DAYS.
    """


_FILTERS = (
    click.option(
        "--since",
        "since_at",
        type=Since(),
        help="Only those since then: 90s, 15m, 2h, 7d, or a time.",
    ),
    click.option("--session", help="Only those of this session, by its key."),
    click.option("--topic", help="Only those of this topic."),
    click.option(
        "--reason", help="Only those whose reason begins so: time, or 'value: speed_kmh'."
    ),
)


def _filters(function: Any) -> Any:
    for option in _FILTERS:
        function = option(function)
    return function


def _filter(
    reason: str | None, topic: str | None, session: str | None, since_at: datetime | None
) -> "Filter":
    from ingest.control.dead_letter_replay import Filter

    return Filter(reason, topic, None if session is None else session.encode(), since_at)


@dead_letters.command("list")
@_filters
@click.option(
    "--limit",
    default=50,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="At most so many.",
)
def list_letters(limit: int, **which: Any) -> None:
    """List dead letters, newest first, and count those of each kind that were not kept."""
    from ingest.control.dead_letter_replay import dead_letters as stored
    from ingest.control.dead_letter_replay import not_kept

    wanted = _filter(**which)
    with _store() as conn:
        letters, counts = stored(conn, wanted, limit=limit + 1), not_kept(conn, wanted)
    if not letters:
        click.echo("no dead letters" + (" of that description" if any(which.values()) else ""))
    else:
        table = table_of("place", "session", "seen", "bytes", "state", "reason", right={"bytes"})
        for one in letters[:limit]:
            size = str(len(one.value or b""))
            table.add_row(
                one.place,
                printable(one.key),
                f"{one.seen_at:%Y-%m-%d %H:%M:%S}",
                size,
                state(one),
                one.reason,
            )
        print_table(table)
    if len(letters) > limit:
        click.echo(
            f"and more than these {limit}: --limit shows them, --since and --reason narrow it down"
        )
    for count in counts:
        click.echo(
            f"{count.topic}: {count.count:,} more of kind {count.kind} had no place, the last"
            f" {count.last_at:%Y-%m-%d %H:%M:%S}"
        )


@dead_letters.command("show")
@click.argument("place", type=Place())
@click.option(
    "--all", "whole", is_flag=True, help=f"Every byte of the value, not the first {_SHOWN_BYTES}."
)
def show_letter(place: "Filter", whole: bool) -> None:
    """Show the dead letter at PLACE, such as telemetry[3]@17: its bytes and its decoded content.

    Untrusted content is printed as hexadecimal and escaped text.
    """
    from ingest.control.dead_letter_replay import dead_letters as stored

    with _store() as conn:
        letters = stored(conn, place, limit=1)
    if not letters:
        raise PurpleSectorError(
            f"there is no dead letter at {place.topic}[{place.partition}]@{place.offset};"
            " purple-sector dead-letters list shows those that there are"
        )
    click.echo("\n".join(described(letters[0], whole=whole)))


@dead_letters.command("replay")
@_filters
@click.argument("place", type=Place(), required=False)
@click.option(
    "--limit",
    default=1000,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="At most so many.",
)
@click.option("--again", is_flag=True, help="Also those that were replayed already.")
@click.option(
    "--wait",
    "wait_s",
    default=30.0,
    show_default=True,
    type=Finite(0, 3600),
    help="Seconds for ingest to read them.",
)
@click.option("--yes", is_flag=True, help="Without a question.")
def replay_letters(
    place: "Filter | None", limit: int, again: bool, wait_s: float, yes: bool, **which: Any
) -> None:
    """Send dead letters to their topic again: the one at PLACE, or those that match the options.

    Use it once their cause is gone: a newer version can read them, or a clock is right again. Each
    is sent once, as an ordinary record. Ingest stores the valid ones; an invalid one becomes a dead
    letter again. Exit code 1 if any did.
    """
    from ingest.control.dead_letter_replay import dead_letters as stored
    from ingest.control.dead_letter_replay import replay

    wanted = _filter(**which)
    if place is not None and any(which.values()):
        raise click.UsageError("name a place, or describe them by options, not both")
    with _store() as conn:
        letters = stored(conn, place or wanted, limit=limit)
        if not letters:
            raise PurpleSectorError(
                "there are no such dead letters; purple-sector dead-letters list shows those that"
                " there are"
            )
        if not yes and len(letters) > 1:
            click.confirm(f"send {len(letters)} records again?", abort=True)
        outcomes = replay(KafkaSettings.read(), conn, letters, again=again, within_s=wait_s)
    for line in summed_up(outcomes):
        click.echo(line)
    if any(outcome.what == "dead letter again" for outcome in outcomes):
        raise PurpleSectorError(
            "some are dead letters again: their reasons are above; their cause is still there"
        )


def state(letter: "StoredLetter") -> str:
    """Return the replay state of a dead letter: ``replayed``, ``bad again`` or empty."""
    if letter.replayed_at is not None:
        return "replayed"
    return "bad again" if letter.of_replay else ""


def printable(raw: bytes | None) -> str:
    """Return foreign bytes as one line of ASCII without control characters for the terminal."""
    return "–" if raw is None else ascii(raw.decode(errors="backslashreplace"))[1:-1]


def hex_lines(raw: bytes, *, limit: int | None) -> list[str]:
    """Return a hex dump, ``00000010  08 ff …  text``, of sixteen bytes a line. The last line counts
    omitted bytes.
    """
    shown = raw[:limit]
    lines = [
        f"  {start:08x}  {part.hex(' '):<47} "
        f" {''.join(chr(b) if 32 <= b < 127 else '.' for b in part)}"
        for start in range(0, len(shown), 16)
        if (part := shown[start : start + 16])
    ]
    return lines + (
        [f"  … {len(raw) - len(shown):,} bytes more; --all shows them"]
        if len(shown) < len(raw)
        else []
    )


def described(letter: "StoredLetter", *, whole: bool) -> list[str]:
    """Return the known facts of a dead letter, one a line."""
    from ingest.control.dead_letter_replay import original_headers

    names = (
        f"{printable(name.encode())}={printable(value if isinstance(value, bytes) else None)}"
        for name, value in original_headers(letter)
    )
    origin = (
        "" if letter.headers is not None else " (not known: made again from key, user and value)"
    )
    lines = [
        f"place    {letter.place}",
        f"reason   {letter.reason}",
        f"seen     {letter.seen_at.isoformat(timespec='seconds')}",
        (
            "replayed"
            f" {letter.replayed_at.isoformat(timespec='seconds') if letter.replayed_at else 'no'}"
        ),
        f"key      {printable(letter.key)}",
        f"headers  {', '.join(names)}{origin}",
        f"value    {'none' if letter.value is None else f'{len(letter.value):,} bytes'}",
    ]
    if letter.value:
        lines += hex_lines(letter.value, limit=None if whole else _SHOWN_BYTES)
        lines += ["read as", *(f"  {line}" for line in readable(letter.value, whole=whole))]
    return lines


def readable(value: bytes, *, whole: bool) -> Iterator[str]:
    """Yield the lines of a value as the official parser decodes it, or the reason why it cannot."""
    from google.protobuf import text_format

    from ingest.codec.messages import read_message
    from ingest.codec.record_format import InvalidRecord

    try:
        message = read_message(value)
    except InvalidRecord as bad:
        yield str(bad)
        return
    text = text_format.MessageToString(message, as_utf8=False)
    lines = text.splitlines()
    most = len(lines) if whole else 60
    yield from lines[:most]
    if most < len(lines):
        yield f"… {len(lines) - most:,} lines more; --all shows them"


def summed_up(outcomes: "list[Outcome]") -> list[str]:
    """Return a line for each kind of outcome, with the first place of those not stored."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        found.setdefault((outcome.what, outcome.detail), []).append(outcome)
    lines = []
    for (what, detail), those in found.items():
        why = f": {detail}" if detail else ""
        where = "" if what == "stored" else f" (first: {those[0].letter.place})"
        lines.append(f"{len(those):,} {what}{why}{where}")
    return lines


@contextmanager
def _store() -> "Iterator[Connection]":
    import psycopg

    from serve.store_errors import translate_database_errors

    settings = DatabaseSettings.read()
    url = settings.url.get_secret_value()
    with (
        translate_database_errors(settings.address),
        psycopg.connect(url, autocommit=True, connect_timeout=5) as conn,
    ):
        yield conn
