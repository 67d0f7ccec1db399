from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PitState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PIT_STATE_UNKNOWN: _ClassVar[PitState]
    PIT_STATE_ON_TRACK: _ClassVar[PitState]
    PIT_STATE_PIT_LANE: _ClassVar[PitState]
    PIT_STATE_PIT_BOX: _ClassVar[PitState]

class LapValidity(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAP_VALIDITY_UNKNOWN: _ClassVar[LapValidity]
    LAP_VALIDITY_VALID: _ClassVar[LapValidity]
    LAP_VALIDITY_INVALID: _ClassVar[LapValidity]
PIT_STATE_UNKNOWN: PitState
PIT_STATE_ON_TRACK: PitState
PIT_STATE_PIT_LANE: PitState
PIT_STATE_PIT_BOX: PitState
LAP_VALIDITY_UNKNOWN: LapValidity
LAP_VALIDITY_VALID: LapValidity
LAP_VALIDITY_INVALID: LapValidity

class TelemetryFrame(_message.Message):
    __slots__ = ("timestamp", "lap_time", "throttle", "brake", "steering", "speed", "gear", "rpm", "normalized_position", "lap_number", "sequence", "x", "y", "z", "heading", "last_lap_time", "sector", "pit", "validity", "blanked")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    LAP_TIME_FIELD_NUMBER: _ClassVar[int]
    THROTTLE_FIELD_NUMBER: _ClassVar[int]
    BRAKE_FIELD_NUMBER: _ClassVar[int]
    STEERING_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    GEAR_FIELD_NUMBER: _ClassVar[int]
    RPM_FIELD_NUMBER: _ClassVar[int]
    NORMALIZED_POSITION_FIELD_NUMBER: _ClassVar[int]
    LAP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    HEADING_FIELD_NUMBER: _ClassVar[int]
    LAST_LAP_TIME_FIELD_NUMBER: _ClassVar[int]
    SECTOR_FIELD_NUMBER: _ClassVar[int]
    PIT_FIELD_NUMBER: _ClassVar[int]
    VALIDITY_FIELD_NUMBER: _ClassVar[int]
    BLANKED_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    lap_time: int
    throttle: float
    brake: float
    steering: float
    speed: float
    gear: int
    rpm: int
    normalized_position: float
    lap_number: int
    sequence: int
    x: float
    y: float
    z: float
    heading: float
    last_lap_time: int
    sector: int
    pit: PitState
    validity: LapValidity
    blanked: int
    def __init__(self, timestamp: _Optional[int] = ..., lap_time: _Optional[int] = ..., throttle: _Optional[float] = ..., brake: _Optional[float] = ..., steering: _Optional[float] = ..., speed: _Optional[float] = ..., gear: _Optional[int] = ..., rpm: _Optional[int] = ..., normalized_position: _Optional[float] = ..., lap_number: _Optional[int] = ..., sequence: _Optional[int] = ..., x: _Optional[float] = ..., y: _Optional[float] = ..., z: _Optional[float] = ..., heading: _Optional[float] = ..., last_lap_time: _Optional[int] = ..., sector: _Optional[int] = ..., pit: _Optional[_Union[PitState, str]] = ..., validity: _Optional[_Union[LapValidity, str]] = ..., blanked: _Optional[int] = ...) -> None: ...

class TelemetryMessage(_message.Message):
    __slots__ = ("telemetry", "session", "lap", "status", "frames", "session_id", "lap_in_progress")
    TELEMETRY_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LAP_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LAP_IN_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    telemetry: TelemetryFrame
    session: Session
    lap: Lap
    status: Status
    frames: _containers.RepeatedCompositeFieldContainer[TelemetryFrame]
    session_id: str
    lap_in_progress: LapInProgress
    def __init__(self, telemetry: _Optional[_Union[TelemetryFrame, _Mapping]] = ..., session: _Optional[_Union[Session, _Mapping]] = ..., lap: _Optional[_Union[Lap, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., frames: _Optional[_Iterable[_Union[TelemetryFrame, _Mapping]]] = ..., session_id: _Optional[str] = ..., lap_in_progress: _Optional[_Union[LapInProgress, _Mapping]] = ...) -> None: ...

class Session(_message.Message):
    __slots__ = ("id", "user_id", "game", "track", "car", "driver", "track_length", "sector_count", "sample_rate", "started_at", "last_sequence")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    GAME_FIELD_NUMBER: _ClassVar[int]
    TRACK_FIELD_NUMBER: _ClassVar[int]
    CAR_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    TRACK_LENGTH_FIELD_NUMBER: _ClassVar[int]
    SECTOR_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    game: str
    track: str
    car: str
    driver: str
    track_length: float
    sector_count: int
    sample_rate: float
    started_at: int
    last_sequence: int
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ..., game: _Optional[str] = ..., track: _Optional[str] = ..., car: _Optional[str] = ..., driver: _Optional[str] = ..., track_length: _Optional[float] = ..., sector_count: _Optional[int] = ..., sample_rate: _Optional[float] = ..., started_at: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class Lap(_message.Message):
    __slots__ = ("session_id", "lap_number", "started_at", "lap_time", "official_lap_time", "sector_times", "flags", "frames", "max_speed", "colour", "sector_colours", "colour_version", "ended_at")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LAP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    LAP_TIME_FIELD_NUMBER: _ClassVar[int]
    OFFICIAL_LAP_TIME_FIELD_NUMBER: _ClassVar[int]
    SECTOR_TIMES_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    FRAMES_FIELD_NUMBER: _ClassVar[int]
    MAX_SPEED_FIELD_NUMBER: _ClassVar[int]
    COLOUR_FIELD_NUMBER: _ClassVar[int]
    SECTOR_COLOURS_FIELD_NUMBER: _ClassVar[int]
    COLOUR_VERSION_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    lap_number: int
    started_at: int
    lap_time: int
    official_lap_time: int
    sector_times: _containers.RepeatedScalarFieldContainer[int]
    flags: _containers.RepeatedScalarFieldContainer[str]
    frames: int
    max_speed: float
    colour: str
    sector_colours: _containers.RepeatedScalarFieldContainer[str]
    colour_version: int
    ended_at: int
    def __init__(self, session_id: _Optional[str] = ..., lap_number: _Optional[int] = ..., started_at: _Optional[int] = ..., lap_time: _Optional[int] = ..., official_lap_time: _Optional[int] = ..., sector_times: _Optional[_Iterable[int]] = ..., flags: _Optional[_Iterable[str]] = ..., frames: _Optional[int] = ..., max_speed: _Optional[float] = ..., colour: _Optional[str] = ..., sector_colours: _Optional[_Iterable[str]] = ..., colour_version: _Optional[int] = ..., ended_at: _Optional[int] = ...) -> None: ...

class LapInProgress(_message.Message):
    __slots__ = ("session_id", "lap_number", "started_at", "sector_times", "sector_colours")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    LAP_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    SECTOR_TIMES_FIELD_NUMBER: _ClassVar[int]
    SECTOR_COLOURS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    lap_number: int
    started_at: int
    sector_times: _containers.RepeatedScalarFieldContainer[int]
    sector_colours: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, session_id: _Optional[str] = ..., lap_number: _Optional[int] = ..., started_at: _Optional[int] = ..., sector_times: _Optional[_Iterable[int]] = ..., sector_colours: _Optional[_Iterable[str]] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ("state", "missed_frames", "detail")
    STATE_FIELD_NUMBER: _ClassVar[int]
    MISSED_FRAMES_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    state: str
    missed_frames: int
    detail: str
    def __init__(self, state: _Optional[str] = ..., missed_frames: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class CommandMessage(_message.Message):
    __slots__ = ("command", "status_report")
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    STATUS_REPORT_FIELD_NUMBER: _ClassVar[int]
    command: Command
    status_report: StatusReport
    def __init__(self, command: _Optional[_Union[Command, _Mapping]] = ..., status_report: _Optional[_Union[StatusReport, _Mapping]] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("id", "user_id", "session_id", "resend", "report_sessions", "resume", "pause", "sample_rate", "get_status")
    ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    RESEND_FIELD_NUMBER: _ClassVar[int]
    REPORT_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_RATE_FIELD_NUMBER: _ClassVar[int]
    GET_STATUS_FIELD_NUMBER: _ClassVar[int]
    id: str
    user_id: str
    session_id: str
    resend: Resend
    report_sessions: ReportSessions
    resume: Resume
    pause: Pause
    sample_rate: SampleRate
    get_status: GetStatus
    def __init__(self, id: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., resend: _Optional[_Union[Resend, _Mapping]] = ..., report_sessions: _Optional[_Union[ReportSessions, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., pause: _Optional[_Union[Pause, _Mapping]] = ..., sample_rate: _Optional[_Union[SampleRate, _Mapping]] = ..., get_status: _Optional[_Union[GetStatus, _Mapping]] = ...) -> None: ...

class Resend(_message.Message):
    __slots__ = ("ranges",)
    RANGES_FIELD_NUMBER: _ClassVar[int]
    ranges: _containers.RepeatedCompositeFieldContainer[SequenceRange]
    def __init__(self, ranges: _Optional[_Iterable[_Union[SequenceRange, _Mapping]]] = ...) -> None: ...

class SequenceRange(_message.Message):
    __slots__ = ("from_sequence", "to_sequence")
    FROM_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TO_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    from_sequence: int
    to_sequence: int
    def __init__(self, from_sequence: _Optional[int] = ..., to_sequence: _Optional[int] = ...) -> None: ...

class ReportSessions(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Resume(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Pause(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SampleRate(_message.Message):
    __slots__ = ("rate",)
    RATE_FIELD_NUMBER: _ClassVar[int]
    rate: float
    def __init__(self, rate: _Optional[float] = ...) -> None: ...

class GetStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReport(_message.Message):
    __slots__ = ("command_id", "user_id", "session_id", "state", "frames_collected", "frames_published", "frames_resent", "errors", "messages_sent", "bytes_sent", "producer_errors", "clock_ahead")
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FRAMES_COLLECTED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PUBLISHED_FIELD_NUMBER: _ClassVar[int]
    FRAMES_RESENT_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_SENT_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_ERRORS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_AHEAD_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    user_id: str
    session_id: str
    state: str
    frames_collected: int
    frames_published: int
    frames_resent: int
    errors: int
    messages_sent: int
    bytes_sent: int
    producer_errors: int
    clock_ahead: int
    def __init__(self, command_id: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., state: _Optional[str] = ..., frames_collected: _Optional[int] = ..., frames_published: _Optional[int] = ..., frames_resent: _Optional[int] = ..., errors: _Optional[int] = ..., messages_sent: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., producer_errors: _Optional[int] = ..., clock_ahead: _Optional[int] = ...) -> None: ...
