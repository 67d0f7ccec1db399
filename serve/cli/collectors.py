"""``purple-sector tell``: what a league's operator says to the collectors of a user, wherever their PCs are."""

import json

import click

from ingest.errors import PurpleSectorError
from ingest.settings import KafkaSettings
from ingest.telemetry_pb2 import Answer, Command, SampleRate, Start, Stop
from serve.cli.param_types import Finite

_user = click.argument("user")
_session = click.option("--session", default="", help="Only while this session is driven; whichever by default.")


@click.group()
def tell() -> None:
    """Tell the collectors of a USER what to do, or ask how they are.

    An order is heard by collectors that run; one that starts later does not know of it.
    """


@tell.command()
@_user
@_session
def stop(user: str, session: str) -> None:
    """Send no frames until told to start; the game is followed all the same."""
    _say(user, Command(session_id=session, stop=Stop()))


@tell.command()
@_user
@_session
def start(user: str, session: str) -> None:
    """Send frames again."""
    _say(user, Command(session_id=session, start=Start()))


@tell.command()
@_user
@click.argument("hertz", type=Finite(0, 500))
@_session
def rate(user: str, hertz: float, session: str) -> None:
    """Send at most HERTZ frames a second; 0: as many as the game gives."""
    _say(user, Command(session_id=session, sample_rate=SampleRate(rate=hertz)))


@tell.command()
@_user
@click.option("--wait", "wait_s", default=5.0, show_default=True, type=Finite(0.1, 60), help="Seconds.")
def status(user: str, wait_s: float) -> None:
    """Ask what they have done since they started: a line of JSON for each that answers. Exit code 1 if none does."""
    from ingest.control.collector_client import CollectorClient

    answers = CollectorClient(KafkaSettings.read(), user).ask_status(within_s=wait_s)
    for answer in answers:
        click.echo(json.dumps(as_json(answer)))
    if not answers:
        raise PurpleSectorError(f"no collector of {user} answered within {wait_s:g} s; is one running?")


def as_json(answer: Answer) -> dict[str, object]:
    """An answer with the names that collectors print their statistics under."""
    return {
        "user": answer.user_id,
        "session": answer.session_id,
        "state": answer.state,
        "framesCollected": answer.frames_collected,
        "framesPublished": answer.frames_published,
        "framesResent": answer.frames_resent,
        "errors": answer.errors,
        "producerStats": {
            "messagesSent": answer.messages_sent,
            "bytesSent": answer.bytes_sent,
            "errors": answer.producer_errors,
        },
        "clockAheadMs": answer.clock_ahead,
    }


def _say(user: str, command: Command) -> None:
    from ingest.control.collector_client import CollectorClient

    CollectorClient(KafkaSettings.read(), user).say(command)
    click.echo(f"said to the collectors of {user}")
