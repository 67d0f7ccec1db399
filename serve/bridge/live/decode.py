"""Reads a Kafka value just far enough to pass it on.

Any of the three forms of the wire becomes one envelope. The rule: a value that is passed on has
been parsed here. So no viewer's decoder meets bytes that are not telemetry.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import DecodeError

from ingest.codec.blanking import blank_implausible, record_fault
from ingest.codec.record_format import MAX_VALUE_BYTES, Kind, frame_in_envelope, kind_of
from ingest.codec.timestamps import time_fault
from ingest.telemetry_pb2 import TelemetryFrame, TelemetryMessage
from serve.bridge.live.outgoing import OutgoingMessage

_MESSAGE_NAMES = {"telemetry", "frames", "session", "lap", "lapInProgress"}


class UndecodableRecord(Exception):
    """A record that is not telemetry (a poison record)."""


@dataclass(frozen=True, slots=True)
class LiveMessage:
    """The content of one record. ``facts`` is set if it carries the facts of its session.

    The laps are numbers; 0 is none. ``blanked`` names the fields whose values were impossible, one
    name for each value.
    """

    kind: Literal["frames", "facts", "lap"]
    envelope: OutgoingMessage
    frames: int = 0
    frame_time_ms: int = 0
    user: str = ""
    facts: OutgoingMessage | None = None
    finished_lap: int = 0
    running_lap: int = 0
    blanked: tuple[str, ...] = ()
    #: The sequence and the time of each frame, in order.
    clocks: tuple[tuple[int, int], ...] = ()
    started_at_ms: int = 0


def read(value: bytes, session: str) -> LiveMessage:
    """Return the message for viewers in a record of this session. Raises UndecodableRecord."""
    if not session:
        raise UndecodableRecord("no session")
    if len(value) > MAX_VALUE_BYTES:
        raise UndecodableRecord(f"{len(value)} bytes are more than {MAX_VALUE_BYTES}")
    try:
        match kind_of(value):
            case Kind.FRAME:
                return _frame(value, session)
            case Kind.MESSAGE:
                return _message(TelemetryMessage.FromString(value), session)
            case Kind.JSON:
                return _json(value.decode("utf-8-sig"), session)
            case Kind.EMPTY:
                raise UndecodableRecord("empty")
    except (DecodeError, ParseError, ValueError, RecursionError) as wrong:
        raise UndecodableRecord(str(wrong)) from None


def _frame(value: bytes, session: str) -> LiveMessage:
    frame = TelemetryFrame.FromString(value)
    blanked = _judged([frame])
    if blanked:
        value = frame.SerializeToString()
    envelope = OutgoingMessage(frame_in_envelope(value, session), session=session, frames=1)
    return LiveMessage(
        "frames",
        envelope,
        frames=1,
        frame_time_ms=frame.timestamp,
        blanked=blanked,
        clocks=((frame.sequence, frame.timestamp),),
    )


def _judged(frames: Iterable[TelemetryFrame]) -> tuple[str, ...]:
    """Blank impossible values, as ingest does, and return the names of their fields.

    Raises UndecodableRecord for a frame that ingest refuses.
    """
    blanked: list[str] = []
    for frame in frames:
        if fault := record_fault(frame) or time_fault(frame.timestamp):
            raise UndecodableRecord(fault)
        blanked += blank_implausible(frame)
    return tuple(blanked)


def _json(text: str, session: str) -> LiveMessage:
    body = json.loads(text)
    if not isinstance(body, dict):
        raise UndecodableRecord("JSON, but no object")
    if body.keys() & _MESSAGE_NAMES:
        return _message(ParseDict(body, TelemetryMessage(), ignore_unknown_fields=True), session)
    return _frame(
        ParseDict(body, TelemetryFrame(), ignore_unknown_fields=True).SerializeToString(), session
    )


def _message(message: TelemetryMessage, session: str) -> LiveMessage:
    message.session_id = session  # the key decides to which session it belongs
    message.ClearField("status")  # only a bridge reports on a viewer's own stream
    frames = len(message.frames) + message.HasField("telemetry")
    blanked = _judged(_frames_of(message))
    if message.HasField("session"):
        return replace(_facts(message, session, frames), blanked=blanked)
    laps = [name for name in ("lap", "lap_in_progress") if message.HasField(name)]
    for name in laps:
        getattr(message, name).session_id = session
    if laps:
        return LiveMessage(
            "lap",
            OutgoingMessage(message.SerializeToString(), session=session),
            frames=frames,
            finished_lap=message.lap.lap_number,
            running_lap=message.lap_in_progress.lap_number,
            blanked=blanked,
        )
    if not frames:
        raise UndecodableRecord("an empty message")
    envelope = OutgoingMessage(message.SerializeToString(), session=session, frames=frames)
    return LiveMessage(
        "frames",
        envelope,
        frames=frames,
        frame_time_ms=_newest_ms(message),
        blanked=blanked,
        clocks=_clocks(message),
    )


def _facts(message: TelemetryMessage, session: str, frames: int) -> LiveMessage:
    message.session.id = session
    whole = OutgoingMessage(message.SerializeToString(), session=session)
    known = TelemetryMessage(session=message.session, session_id=session).SerializeToString()
    return LiveMessage(
        "facts",
        whole,
        frames=frames,
        frame_time_ms=_newest_ms(message),
        clocks=_clocks(message),
        started_at_ms=message.session.started_at,
        user=message.session.user_id,
        facts=OutgoingMessage(known, session=session),
    )


def _frames_of(message: TelemetryMessage) -> list[TelemetryFrame]:
    """Return the frames in the order in which ingest stores them."""
    return (
        [message.telemetry, *message.frames] if message.HasField("telemetry") else [*message.frames]
    )


def _clocks(message: TelemetryMessage) -> tuple[tuple[int, int], ...]:
    return tuple((frame.sequence, frame.timestamp) for frame in _frames_of(message))


def _newest_ms(message: TelemetryMessage) -> int:
    return max((frame.timestamp for frame in _frames_of(message)), default=0)


def moved(message: LiveMessage, frames_ms: Sequence[int], start_ms: int) -> LiveMessage:
    """Return the message with other times.

    ``frames_ms`` has what is added to the time of each frame, ``start_ms`` is added to the start in
    its facts.
    """
    if not any(frames_ms) and not start_ms:
        return message
    times_ms = [
        clock_ms + by_ms for (_, clock_ms), by_ms in zip(message.clocks, frames_ms, strict=True)
    ]
    return replace(
        message,
        envelope=_moved(message.envelope, times_ms, start_ms),
        facts=message.facts and _moved(message.facts, (), start_ms),
        frame_time_ms=max(times_ms, default=0),
    )


def _moved(envelope: OutgoingMessage, times_ms: Iterable[int], start_ms: int) -> OutgoingMessage:
    message = TelemetryMessage.FromString(envelope.binary)
    for frame, time_ms in zip(_frames_of(message), times_ms, strict=True):
        frame.timestamp = time_ms
    if message.session.started_at:
        message.session.started_at += start_ms
    return OutgoingMessage(
        message.SerializeToString(), session=envelope.session, frames=envelope.frames
    )
