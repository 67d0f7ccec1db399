"""Sends a league operator's commands to the collectors of a user, wherever their PCs are:
``purple-sector collectors``.
"""

import json

import click

from ingest.errors import PurpleSectorError
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Command, Pause, Resume, SampleRate, StatusReport
from serve.bridge.access.audit import audit
from serve.cli.param_types import Finite

_user = click.argument("user")
_session = click.option(
    "--session", default="", help="Only while this session is driven; whichever by default."
)


@click.group()
def collectors() -> None:
    """Send commands to the collectors of a USER, or query their status.

    Only collectors that run receive a command. A collector that starts later does not get it.
    """


@collectors.command()
@_user
@_session
def pause(user: str, session: str) -> None:
    """Send no frames until they are resumed. The collectors still follow the game."""
    _send(user, Command(session_id=session, pause=Pause()))


@collectors.command()
@_user
@_session
def resume(user: str, session: str) -> None:
    """Send frames again."""
    _send(user, Command(session_id=session, resume=Resume()))


@collectors.command()
@_user
@click.argument("hertz", type=Finite(0, 500))
@_session
def rate(user: str, hertz: float, session: str) -> None:
    """Limit the frames to HERTZ a second. 0: as many as the game gives."""
    _send(user, Command(session_id=session, sample_rate=SampleRate(rate=hertz)))


@collectors.command()
@_user
@click.option(
    "--wait", "wait_s", default=5.0, show_default=True, type=Finite(0.1, 60), help="Seconds."
)
def status(user: str, wait_s: float) -> None:
    """Print each collector's statistics since its start: one line of JSON per answer. Exit code 1
    without an answer.
    """
    from ingest.control.collector_client import CollectorClient

    answers = CollectorClient(KafkaSettings.read(), user).get_status(within_s=wait_s)
    for answer in answers:
        click.echo(json.dumps(as_json(answer)))
    if not answers:
        raise PurpleSectorError(
            f"no collector of {user} answered within {wait_s:g} s; is one running?"
        )


def as_json(answer: StatusReport) -> dict[str, object]:
    """Return an answer under the names that collectors use when they print their statistics."""
    return {
        "user": answer.user_id,
        "session": answer.session_id,
        "state": answer.state,
        "framesCollected": answer.frames_collected,
        "framesPublished": answer.frames_published,
        "framesResent": answer.frames_resent,
        "errors": answer.errors,
        "producerStats": _producer_statistics(answer),
        "clockAheadMs": answer.clock_ahead,
    }


def _producer_statistics(answer: StatusReport) -> dict[str, int]:
    return {
        "messagesSent": answer.messages_sent,
        "bytesSent": answer.bytes_sent,
        "errors": answer.producer_errors,
    }


def _send(user: str, command: Command) -> None:
    from ingest.control.collector_client import CollectorClient

    kafka = KafkaSettings.read()
    CollectorClient(kafka, user).send(command)
    kind = command.WhichOneof("order") or ""
    audit("command", command=kind, user=user, by=kafka.username or "a Kafka without logins")
    click.echo(f"sent to the collectors of {user}")
