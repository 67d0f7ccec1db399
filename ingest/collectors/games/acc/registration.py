"""Decides which datagrams to send to ACC's broadcasting server, and when. Pure: no socket, and time
is an argument.

The server answers a registration and then sends automatically. It does not answer while the game is
in no session. It does not forget a client that just goes away. So: register until there is an
answer, and request the lists. Unregister when the server falls silent, and register again.
"""

from dataclasses import dataclass, field

from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.broadcast_messages import (
    CarUpdate,
    EntryList,
    EntryListCar,
    Message,
    RegistrationResult,
    SessionUpdate,
    TrackData,
)
from ingest.collectors.games.anomalies import AnomalyCounts

RETRY_S = 3.0
#: A retry does not correct a wrong password; a change of the game's settings may.
REFUSED_S = 15.0
SILENT_S = 5.0
REQUEST_S = 2.0


@dataclass(frozen=True, slots=True)
class Access:
    """The address of the server, and the name and password for a registration."""

    host: str
    port: int
    display_name: str
    password: str = field(repr=False)


class Registration:
    """State machine that registers with ACC's broadcasting server; one registration at a time."""

    def __init__(self, *, interval_ms: int, complaints: AnomalyCounts) -> None:
        self._interval_ms, self._complaints = interval_ms, complaints
        self._id: int | None = None
        self._register_s = 0.0
        self._received_s = 0.0
        self._session: tuple[int, int] | None = None
        self._track_due_s: float | None = None  # None: the answer has arrived
        self._entries_due_s: float | None = None
        self._next_entries_s = float("-inf")
        self._drivers: dict[int, int] = {}  # car → number of drivers

    def wants_access(self, now_s: float) -> bool:
        """Return whether it is time to register, or to register again."""
        if self._id is not None:
            return now_s - self._received_s > SILENT_S
        return now_s >= self._register_s

    def register(self, access: Access, now_s: float) -> list[bytes]:
        """Return the datagrams of a registration; they unregister first where a registration
        exists.
        """
        left = self.leave()
        self._register_s = now_s + RETRY_S
        try:
            return [
                *left,
                broadcast_protocol.register(
                    access.display_name, access.password, self._interval_ms
                ),
            ]
        except ValueError as wrong:
            self._complaints.add("no registration", str(wrong))
            return left

    def postpone(self, now_s: float) -> None:
        """Postpone the registration, because there is no server to register with."""
        self.leave()
        self._register_s = now_s + RETRY_S

    def due(self, now_s: float) -> list[bytes]:
        """Return the requests that are due now."""
        if self._id is None:
            return []
        requests = []
        if self._track_due_s is not None and now_s >= self._track_due_s:
            self._track_due_s = now_s + REQUEST_S
            requests.append(broadcast_protocol.request_track_data(self._id))
        if self._entries_due_s is not None and now_s >= self._entries_due_s:
            self._entries_due_s = self._next_entries_s = now_s + REQUEST_S
            requests.append(broadcast_protocol.request_entry_list(self._id))
        return requests

    def leave(self) -> list[bytes]:
        """Forget the registration, and return the datagrams that end it."""
        left = [] if self._id is None else [broadcast_protocol.unregister(self._id)]
        self._id, self._session = None, None
        return left

    def take(self, message: Message, now_s: float) -> None:
        """Update the state from a message of the server."""
        match message:
            case RegistrationResult():
                self._answered(message, now_s)
            case SessionUpdate():
                self._received_s = now_s
                session = (message.event_index, message.session_index)
                if self._session not in {None, session}:
                    self._track_due_s = self._entries_due_s = now_s
                self._session = session
            case TrackData():
                self._track_due_s = None
            case EntryList():
                self._entries_due_s = None
            case EntryListCar():
                self._drivers[message.car_index] = len(message.drivers)
            case CarUpdate() if self._drivers.get(message.car_index) != message.driver_count:
                if self._entries_due_s is None:
                    self._entries_due_s = max(now_s, self._next_entries_s)

    def _answered(self, result: RegistrationResult, now_s: float) -> None:
        if result.success:
            self._id, self._received_s = result.connection_id, now_s
            self._track_due_s = self._entries_due_s = now_s
            return
        ended, self._id = self._id is not None, None
        self._register_s = now_s + (RETRY_S if ended else REFUSED_S)
        detail = f"the game reports: {result.error[:200] or 'nothing'}"
        if ended:
            self._complaints.add("ACC ended the registration", detail)
        else:
            hint = "ACC_PASSWORD must be broadcasting.json's connectionPassword"
            self._complaints.add("ACC refused the registration", f"{detail}; {hint}")
