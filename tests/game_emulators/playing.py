"""A game's course: loading, driving, paused, in a replay, in the menu; one session after the other.
Time is an argument.

Pages and datagrams only show what this says.
"""

from collections import deque
from collections.abc import Iterable
from enum import IntEnum

from tests.game_emulators.drive import Drive, Moment
from tests.game_emulators.outing import Outing

_REPLAY_MOMENTS = 600
_REPLAY_STEP_S = 1 / 60
_FAR_M = 40_000.0


class Status(IntEnum):
    """In both games' own numbers."""

    OFF = 0
    REPLAY = 1
    LIVE = 2
    PAUSE = 3


class Playing:
    """``outings`` one after the other, the first of which must be there; ``load_s`` passes before
    each.
    """

    def __init__(
        self, outings: Iterable[Outing], *, speed: float = 1.0, load_s: float = 1.0
    ) -> None:
        self._outings = iter(outings)
        self._speed = speed
        self._load_s = load_s
        self.outing = next(self._outings)
        self.status = Status.OFF
        self.loaded = False
        self.over = False
        self.session = 0  # of all since the beginning
        self.session_index = 0  # of this event, as the game counts
        self.moment = Moment()
        self._live_at_s: float | None = None
        self._now_s = 0.0
        self._driven_ms = 0.0
        self._drive: Drive = self.outing.begin()
        self._seen: deque[Moment] = deque(maxlen=_REPLAY_MOMENTS)
        self._seen_at_s = float("-inf")
        self._spoiling: str | None = None

    @property
    def driven_s(self) -> float:
        """Since the session began, pauses not counted."""
        return self._driven_ms / 1000

    def start(self, now_s: float) -> None:
        """The game is started: nothing is loaded yet."""
        self.loaded = False
        self._load(now_s)

    def advance(self, now_s: float) -> None:
        """Bring status and car up to now."""
        passed_s, self._now_s = now_s - self._now_s, now_s
        if self._live_at_s is not None and now_s >= self._live_at_s:
            self._live_at_s, self.loaded, self.status, passed_s = None, True, Status.LIVE, 0.0
        if self.status is Status.LIVE:
            self._driven_ms += passed_s * 1000 * self._speed
            self._go_on(now_s)
        elif self.status is Status.REPLAY and now_s - self._seen_at_s >= _REPLAY_STEP_S:
            self._seen_at_s = now_s
            self._seen.rotate(-1)
            self.moment = self._seen[0]

    def _go_on(self, now_s: float) -> None:
        moment = self._drive.at(self._driven_ms)
        if moment is None:
            self._finish(now_s)
            return
        self.moment = _spoilt(moment, self._spoiling) if self._spoiling else moment
        if now_s - self._seen_at_s >= _REPLAY_STEP_S:
            self._seen_at_s = now_s
            self._seen.append(moment)

    def live(self) -> None:
        """Out of pause, replay or menu, back to the car."""
        if self.loaded:
            self.status, self._spoiling = Status.LIVE, None

    def pause(self) -> None:
        self.status = Status.PAUSE

    def replay(self) -> None:
        """Show the last ten seconds again and again."""
        if self._seen:
            self.status = Status.REPLAY

    def menu(self) -> None:
        self.status = Status.OFF

    def next_session(self, now_s: float) -> None:
        """Another session of the event: the next outing, or the same where there is no other."""
        self.outing = next(self._outings, self.outing)
        self._begin(self.session_index + 1, now_s)

    def again(self, now_s: float) -> None:
        """The driver restarts the session: the same index, and laps from the first."""
        self._begin(self.session_index, now_s)

    def restart(self, now_s: float) -> None:
        """The game itself is started again, with the same outing."""
        self.loaded = False
        self._begin(0, now_s)

    def spoil(self, how: str) -> None:
        """Until `live`: ``nan``, ``infinite`` or ``teleport`` in what is told of the car."""
        self._spoiling = how

    def _finish(self, now_s: float) -> None:
        """The drive has no more moments: the next outing, or the menu for good."""
        following = next(self._outings, None)
        if following is None:
            self.status, self.over = Status.OFF, True
            return
        self.outing = following
        self._begin(self.session_index + 1, now_s)

    def _begin(self, session_index: int, now_s: float) -> None:
        self.session += 1
        self.session_index = session_index
        self._drive, self._driven_ms, self.moment = self.outing.begin(), 0.0, Moment()
        self._seen.clear()
        self._load(now_s)

    def _load(self, now_s: float) -> None:
        self.status, self._live_at_s, self._now_s = Status.OFF, now_s + self._load_s, now_s


def _spoilt(moment: Moment, how: str) -> Moment:
    if how == "teleport":
        return moment._replace(x_m=moment.x_m + _FAR_M, position=(moment.position + 0.5) % 1)
    value = float("nan") if how == "nan" else float("inf")
    return moment._replace(speed_kmh=value, throttle=value, steering=value, x_m=value)
