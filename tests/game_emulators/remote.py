"""Assetto Corsa's remote telemetry: the server's side of the handshake, the stream of car infos,
and the laps of all cars.

A client is its address: subscribed to updates or to laps, not to both. Nothing is sent to who did
not shake hands, and a game that was started again knows nobody.
"""

from random import Random
from typing import Any

from tests.game_emulators.ac_packets import (
    CAR_INFO,
    HANDSHAKE,
    IDENTIFIER,
    LAP,
    RESPONSE,
    SUBSCRIBE_SPOT,
    SUBSCRIBE_UPDATE,
    UNSUBSCRIBE,
    VERSION,
    packet,
    read_request,
)
from tests.game_emulators.acc import GRAVITY_MPS2
from tests.game_emulators.drive import Moment
from tests.game_emulators.ledger import Kind, Ledger
from tests.game_emulators.playing import Playing, Status
from tests.game_emulators.rivals import rivals
from tests.game_emulators.wire import Address, Wire

_MPS_PER_MPH = 0.44704
_PHYSICS_STEP_MS = 3  # lap times are whole steps of 333 Hz


class RemoteTelemetry:
    """On ``wire``, ``rate_hz`` times a second. ``lock_deg`` is how far the wheel turns to each
    side.
    """

    def __init__(
        self,
        wire: Wire,
        playing: Playing,
        ledger: Ledger,
        *,
        rate_hz: float = 60.0,
        lock_deg: float = 450.0,
        cars: int = 1,
        seed: int = 1,
    ) -> None:
        self._wire, self._playing, self._ledger = wire, playing, ledger
        self._period_s = 1 / rate_hz
        self._lock_deg = lock_deg
        self._cars = cars
        self._garbage = Random(f"padding {seed}")
        self._listeners: dict[Address, int] = {}  # HANDSHAKE until subscribed
        self._due_s = 0.0
        self._sent = 0
        self._before = (Moment(), 0.0)
        self._counted_session: int | None = None
        self._counted: list[int] = []
        self._there = False
        self.silent = False

    @property
    def sockets(self) -> tuple[Any, ...]:
        return (self._wire.socket,) if self._there else ()

    @property
    def listeners(self) -> dict[Address, int]:
        """Who is subscribed, and to what."""
        return dict(self._listeners)

    def appear(self, now_s: float) -> None:
        if self._wire.socket.fileno() < 0:
            self._wire.reopen()
        self._listeners, self._due_s, self._there = {}, now_s, True
        self._counted_session = None

    def vanish(self) -> None:
        self._there = False
        self._wire.close()

    def die(self) -> None:
        self.vanish()

    def step(self, now_s: float) -> float:
        """Answer who asked, send what is due; when the next is due."""
        if not self._there:
            return now_s + 1.0
        for datagram, address in self._wire.receive():
            self._receive(datagram, address)
        if now_s < self._due_s:
            return self._due_s
        self._due_s = max(self._due_s + self._period_s, now_s)
        if self._playing.loaded and self._playing.status is not Status.OFF and not self.silent:
            self._send_car_info(now_s)
            self._send_laps()
        return self._due_s

    def _receive(self, datagram: bytes, address: Address) -> None:
        request = read_request(datagram)
        if request is None or request.version != VERSION or not self._playing.loaded:
            return  # as silent as the game, before a session is loaded too
        if request.operation == HANDSHAKE:
            self._listeners.setdefault(address, HANDSHAKE)
            self._wire.send(self._response(), address)
        elif request.operation == UNSUBSCRIBE:
            self._listeners.pop(address, None)
        elif address in self._listeners and request.operation in (SUBSCRIBE_UPDATE, SUBSCRIBE_SPOT):
            self._listeners[address] = request.operation

    def _response(self) -> bytes:
        outing = self._playing.outing
        values = {
            "carName": outing.car,
            "driverName": outing.driver,
            "identifier": IDENTIFIER,
            "version": VERSION,
            "trackName": outing.track,
            "trackConfig": outing.track,
        }
        return packet(RESPONSE, values, self._garbage)

    def _send_car_info(self, now_s: float) -> None:
        moment, (before, before_s) = self._playing.moment, self._before
        self._before = (moment, now_s)
        told = moment._replace(
            lap_clock_ms=moment.lap_clock_ms // _PHYSICS_STEP_MS * _PHYSICS_STEP_MS
        )
        listening = [a for a, operation in self._listeners.items() if operation == SUBSCRIBE_UPDATE]
        if not listening:
            return
        datagram = packet(CAR_INFO, self._car_info(told, before, now_s - before_s), self._garbage)
        copies = [self._wire.send(datagram, address) for address in listening]
        self._sent += 1
        self._ledger.add(
            Kind.CAR_INFO,
            self._sent,
            told,
            at_s=now_s,
            status=self._playing.status,
            session=self._playing.session,
            copies=max(copies),
        )

    def _car_info(self, m: Moment, before: Moment, passed_s: float) -> dict[str, Any]:
        speed_mps = m.speed_kmh / 3.6
        gain_mps2 = (m.speed_kmh - before.speed_kmh) / 3.6 / passed_s if passed_s > 0 else 0.0
        return _STANDING | {
            "speed_Kmh": m.speed_kmh,
            "speed_Mph": speed_mps / _MPS_PER_MPH,
            "speed_Ms": speed_mps,
            "isInPit": int(m.pit > 0),
            "isEngineLimiterOn": int(m.pit == 1),
            "accG_frontal": gain_mps2 / GRAVITY_MPS2,
            "lapTime": m.lap_clock_ms,
            "lastLap": m.last_lap_ms,
            "bestLap": m.best_lap_ms,
            "lapCount": m.lap_count,
            "gas": m.throttle,
            "brake": m.brake,
            "engineRPM": float(m.rpm),
            "steer": m.steering * self._lock_deg,
            "gear": m.gear + 1,
            "wheelAngularSpeed": (speed_mps / 0.2824,) * 4,
            "carPositionNormalized": m.position,
            "carCoordinates": (m.x_m, m.y_m, m.z_m),
        }

    def _send_laps(self) -> None:
        """Of every car that has crossed the line since the last call."""
        playing = self._playing
        moment, outing = playing.moment, playing.outing
        others = rivals(
            self._cars, player=0, track_length_m=outing.track_length_m, driven_s=playing.driven_s
        )
        laps = [
            (moment.lap_count, moment.last_lap_ms, outing.driver),
            *((r.laps, r.lap_ms, r.name) for r in others),
        ]
        counts = [count for count, _, _ in laps]
        if playing.session != self._counted_session:
            self._counted_session, self._counted = playing.session, counts
        for car, ((count, time_ms, name), counted) in enumerate(
            zip(laps, self._counted, strict=True)
        ):
            if count > counted:
                self._send_lap(car, name, count - 1, time_ms)
        self._counted = counts

    def _send_lap(self, car: int, name: str, lap: int, time_ms: int) -> None:
        values = {
            "carIdentifierNumber": car,
            "lap": lap,
            "driverName": name,
            "carName": self._playing.outing.car,
            "time": time_ms,
        }
        datagram = packet(LAP, values, self._garbage)
        for address, operation in self._listeners.items():
            if operation == SUBSCRIBE_SPOT:
                self._wire.send(datagram, address)


#: What the drive does not say, as in a real datagram.
_STANDING: dict[str, Any] = {
    "identifier": ord("a"),
    "size": CAR_INFO.size,
    "isAbsEnabled": 1,
    "isAbsInAction": 0,
    "isTcInAction": 0,
    "isTcEnabled": 0,
    "accG_vertical": 0.0,
    "accG_horizontal": 0.0,
    "clutch": 1.0,
    "cgHeight": 0.5561,
    "slipAngle": (0.034, -0.0064, -0.07, -0.071),
    "slipAngle_ContactPatch": (0.0,) * 4,
    "slipRatio": (0.0,) * 4,
    "tyreSlip": (0.0,) * 4,
    "ndSlip": (0.0099, 0.0233, 0.0351, 0.0325),
    "load": (1705.0, 2885.9, 2731.1, 1748.8),
    "Dy": (1.03, 1.09, 1.14, 1.27),
    "Mz": (0.0,) * 4,
    "tyreDirtyLevel": (0.0,) * 4,
    "camberRAD": (0.007, -0.033, -0.0096, -0.0034),
    "tyreRadius": (0.288,) * 4,
    "tyreLoadedRadius": (0.2824, 0.2786, 0.2795, 0.2823),
    "suspensionHeight": (0.042, 0.06, 0.057, 0.0435),
    "carSlope": 0.0,
}
