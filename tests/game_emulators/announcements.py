"""What Competizione's broadcasting tells of a session: its state, each car, who drives them, the
track, and events.

Messages only; who gets them, and when, is the server's business.
"""

from math import isfinite

from tests.game_emulators.acc_messages import (
    BEST_PERSONAL_LAP,
    GREEN_FLAG,
    LAP_COMPLETED,
    NONE_MS,
    CarUpdate,
    Driver,
    EntryListCar,
    Lap,
    Replay,
    TrackData,
    Update,
    event,
)
from tests.game_emulators.drive import SECTORS, Moment
from tests.game_emulators.playing import Playing, Status
from tests.game_emulators.rivals import Rival, rivals

#: Of the shared memory's kinds of session: practice, qualifying, race, hotlap, hotstint, superpole.
SESSION_TYPES = {0: 0, 1: 4, 2: 10, 3: 11, 7: 12, 8: 13}
_MODEL = 16  # the Huracán GT3 Evo, whatever the recording's car
_SESSION_MS = 3_600_000.0
_PHASE_SESSION = 5
_NOTHING = (NONE_MS,) * SECTORS
_CUT_SHORT = b"Cut \xf0\x9f\x8f"  # a flag that the game cut in its middle


class Announcements:
    """Of what is ``playing``, with ``cars`` of which ``player`` is the player's."""

    def __init__(
        self, playing: Playing, *, cars: int = 1, player: int = 0, session_type: int = 0
    ) -> None:
        self._playing, self._cars, self._player = playing, cars, player
        self._session_type = SESSION_TYPES.get(session_type, 0)
        self._seen: tuple[int, dict[int, int]] | None = None  # session, and the laps of each car

    def forget(self) -> None:
        """The game is started again."""
        self._seen = None

    def cars(self) -> list[EntryListCar]:
        """Not in the cars' order."""
        return [
            self._entry(car)
            for car in (self._player, *(rival.car for rival in reversed(self._rivals())))
        ]

    def track(self, connection: int) -> TrackData:
        outing = self._playing.outing
        sets = [("Drivable", ["Chase", "Bonnet", "Cockpit"]), ("set1", ["Set1_Cam1", "Set1_Cam2"])]
        name = outing.track.replace("_", " ").title()
        return TrackData(
            connection, name, 26, round(outing.track_length_m), sets, ["Blank", "Basic HUD"]
        )

    def session(self) -> Update:
        """Its state."""
        playing = self._playing
        driven_ms = playing.driven_s * 1000
        m = playing.moment
        return Update(
            event=0,
            session=playing.session_index,
            session_type=self._session_type,
            phase=_PHASE_SESSION,
            session_time_ms=driven_ms,
            remaining_ms=max(0.0, _SESSION_MS - driven_ms),
            focused_car=self._player,
            camera_set="Drivable",
            camera="Cockpit",
            hud_page="Basic HUD",
            replay=Replay(driven_ms, 5000.0) if playing.status is Status.REPLAY else None,
            time_of_day_s=(54_000 + playing.driven_s) % 86_400,
            ambient_celsius=30,
            track_celsius=38,
            clouds=0,
            rain=0,
            wetness=0,
            best_lap=self._best(m),
        )

    def player(self) -> CarUpdate:
        """The player's car."""
        m = self._playing.moment
        last = Lap(NONE_MS, self._player)
        if m.last_lap_ms:
            last = Lap(
                m.last_lap_ms,
                self._player,
                0,
                m.splits_ms or _NOTHING,
                int(not m.last_valid),
                int(m.last_valid),
            )
        outlap = int(m.lap_count == 0)
        return CarUpdate(
            car=self._player,
            driver=0,
            driver_count=1,
            gear=m.gear + 1,
            x_m=m.x_m,
            z_m=m.z_m,
            yaw_rad=m.heading_rad,
            location=2 if m.pit else 1,
            kmh=min(max(round(m.speed_kmh), 0), 65_535) if isfinite(m.speed_kmh) else 65_535,
            position=1,
            cup_position=1,
            track_position=0,
            spline_position=m.position,
            laps=m.lap_count,
            delta_ms=0,
            best_lap=self._best(m),
            last_lap=last,
            current_lap=Lap(
                m.lap_clock_ms, self._player, 0, (), int(not m.valid), int(m.valid), outlap
            ),
        )

    def rivals(self) -> list[CarUpdate]:
        """The other cars."""
        return [_rival_update(rival) for rival in self._rivals()]

    def events(self) -> list[bytes]:
        """Of each car that has crossed the line since the last call; a green flag where a session
        begins.
        """
        playing, m = self._playing, self._playing.moment
        time_ms = int(playing.driven_s * 1000)
        laps = {self._player: (m.lap_count, m.last_lap_ms)}
        laps |= {rival.car: (rival.laps, rival.lap_ms) for rival in self._rivals()}
        counts = {car: count for car, (count, _) in laps.items()}
        if self._seen is None or self._seen[0] != playing.session:
            self._seen = (playing.session, counts)
            return [event(GREEN_FLAG, "", time_ms=time_ms, car=-1)]
        before = self._seen[1]
        self._seen = (playing.session, counts)
        said = [
            event(LAP_COMPLETED, _minutes(lap_ms), time_ms=time_ms, car=car)
            for car, (count, lap_ms) in laps.items()
            if count > before[car]
        ]
        if m.lap_count > before[self._player] and m.last_lap_ms == m.best_lap_ms:
            said.append(
                event(BEST_PERSONAL_LAP, _minutes(m.last_lap_ms), time_ms=time_ms, car=self._player)
            )
        return said

    def _entry(self, car: int) -> EntryListCar:
        first, last = self._playing.outing.names
        driver = (
            Driver(first, last, last[:3].upper())
            if car == self._player
            else Driver("Rival", _CUT_SHORT, "RIV")
        )
        return EntryListCar(car, _MODEL, "Purple Sector", 40 + car, 0, 0, 2, [driver])

    def _rivals(self) -> list[Rival]:
        return rivals(
            self._cars,
            player=self._player,
            track_length_m=self._playing.outing.track_length_m,
            driven_s=self._playing.driven_s,
        )

    def _best(self, m: Moment) -> Lap:
        return Lap(m.best_lap_ms or NONE_MS, self._player, 0, m.best_splits_ms or _NOTHING)


def _rival_update(rival: Rival) -> CarUpdate:
    done = Lap(rival.lap_ms, rival.car, 0, rival.splits_ms)
    return CarUpdate(
        car=rival.car,
        driver=0,
        driver_count=1,
        gear=5,
        x_m=rival.x_m,
        z_m=rival.z_m,
        yaw_rad=rival.yaw_rad,
        location=1,
        kmh=rival.kmh,
        position=2 + rival.car,
        cup_position=2 + rival.car,
        track_position=0,
        spline_position=rival.position,
        laps=rival.laps,
        delta_ms=0,
        best_lap=done if rival.laps else Lap(NONE_MS, rival.car, 0, _NOTHING),
        last_lap=done if rival.laps else Lap(NONE_MS, rival.car),
        current_lap=Lap(rival.clock_ms, rival.car),
    )


def _minutes(ms: int) -> str:
    """As events write a lap time."""
    return f"{ms // 60_000:02}:{ms // 1000 % 60:02}.{ms % 1000:03}"
