"""Exports and forgets everything that is stored of a user: ``purple-sector users``."""

from hashlib import sha256
from pathlib import Path

import click

from ingest.errors import BrokerUnavailable, PurpleSectorError, SettingsError
from ingest.settings import KafkaSettings
from serve.bridge.access.audit import audit
from serve.cli.sessions.store import owner_connection, what_is_left

_ANSWER_WITHIN_S = 3.0


@click.group()
def users() -> None:
    """Export or forget everything that is stored of a user.

    A user is the USER_ID of collectors. The commands connect as the owner of the tables, where
    OWNER_DATABASE_URL is set.
    """


@users.command()
@click.argument("user")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def export(user: str, file: Path) -> None:
    """Write everything that is stored of USER into FILE, a new ZIP file.

    A folder for each session has its frames and seconds as Parquet, and as JSON its facts, laps,
    colours, best times, gaps and clock corrections. Shares and dead letters are beside them. Only
    you may read the file.
    """
    from ingest.store.removal.user_export import export_user

    try:
        with owner_connection() as conn:
            count = export_user(conn, user, file, _topic_of(user))
    except FileExistsError:
        raise PurpleSectorError(f"{file} exists already: choose another name") from None
    except OSError as failure:
        raise PurpleSectorError(f"{file} cannot be written: {failure.strerror}") from failure
    audit("user_exported", user_sha256=_digest(user), sessions=count)
    click.echo(f"{file}: {count} sessions")


@users.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Without a question.")
def forget(user: str, yes: bool) -> None:
    """Delete everything that is stored of USER, for good.

    Sessions with all that belongs to them, dead letters, shares by and with USER, and USER's login
    as an analyst. First let USER in no more: `purple-sector access remove USER`, the same with
    --collector, which also removes the Kafka topic of USER. Kafka deletes records on a shared topic
    when they are as old as its retention allows; the log keeps its lines about USER.
    """
    from ingest.store.removal.users import forget_topic, forget_user, stored_of

    topic = _topic_of(user)
    with owner_connection() as conn:
        stored = stored_of(conn, user, topic)
        if not yes:
            what = f"{len(stored.sessions)} sessions, {len(stored.letters)} dead letters"
            question = f"delete {what} and {stored.shares} shares of {user} for good?"
            click.confirm(question, abort=True)
        erased = forget_user(conn, user, topic)
        left = what_is_left(erased)
        if topic and _is_gone(topic):
            forget_topic(conn, topic)
        elif topic:
            left += f"; topic {topic} is still in Kafka, or no broker answers"
    audit("user_forgotten", user_sha256=_digest(user), sessions=len(stored.sessions))
    click.echo(f"forgotten: {len(stored.sessions)} sessions{left}")


def _topic_of(user: str) -> str | None:
    """Return the topic that only this user writes to; None where users share one."""
    from ingest.kafka.topics import telemetry_topic

    kafka = KafkaSettings.read()
    try:
        return telemetry_topic(kafka, user) if kafka.topic_per_user else None
    except SettingsError:
        return None  # Kafka would refuse the name: there is no such topic


def _is_gone(topic: str) -> bool:
    from ingest.kafka.topics import cluster_of, open_admin

    kafka = KafkaSettings.read()
    try:
        return topic not in cluster_of(open_admin(kafka), kafka, timeout_s=_ANSWER_WITHIN_S).topics
    except BrokerUnavailable:
        return False


def _digest(user: str) -> str:
    """Return what the audit log has in place of the name of a user who is forgotten."""
    return sha256(user.encode()).hexdigest()[:16]
