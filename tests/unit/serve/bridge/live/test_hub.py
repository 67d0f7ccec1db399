"""Who gets what, and which sessions are live."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.codec.session_owner import FOREIGN_HEADER
from ingest.telemetry_pb2 import (
    Lap,
    LapInProgress,
    Session,
    Status,
    TelemetryFrame,
    TelemetryMessage,
)
from serve.bridge.access.callers import ANYONE, Caller, Role, Shared
from serve.bridge.live.hub import Hub, LiveRecord, Subscription
from serve.bridge.live.viewer import SESSION_DELETED, TOO_SLOW, Patience, Viewer, ViewerQueue


def frame(session, *, user="anna", time_ms=1_700_000_000_000, **values):
    return LiveRecord(
        session, user, TelemetryFrame(timestamp=time_ms, lap_number=1, **values).SerializeToString()
    )


def message(key, *, user="anna", **fields):
    return LiveRecord(key, user, TelemetryMessage(**fields).SerializeToString())


class Seat:
    """A viewer whose messages are kept."""

    def __init__(self, hub, *watches, as_text=False, patience=None, caller=ANYONE):
        self.closed = []
        self.viewer = Viewer(
            as_text=as_text,
            wake=lambda: None,
            close=self.closed.append,
            queue=ViewerQueue(patience),
            caller=caller,
        )
        hub.join(self.viewer)
        for watch in watches:
            hub.watch(self.viewer, watch, now=0.0)

    def envelopes(self):
        found = []
        while (one := self.viewer.queue.take(now=0.0)) is not None:
            found.append(one)
        return found

    def messages(self):
        return [TelemetryMessage.FromString(e.binary) for e in self.envelopes()]

    def speeds(self):
        return [m.telemetry.speed for m in self.messages()]


@pytest.fixture
def hub():
    return Hub(forget_after_s=30.0)


def session(name):
    return Subscription("session", name)


def user(name):
    return Subscription("user", name)


def test_a_viewer_of_a_session_sees_that_session_only(hub):
    seat = Seat(hub, session("monza"))

    hub.publish(
        [frame("monza", speed=100), frame("spa", speed=200), frame("monza", speed=101)], now=1.0
    )

    assert seat.speeds() == [100, 101]


def test_a_viewer_of_a_user_sees_all_of_their_sessions(hub):
    seat = Seat(hub, user("anna"))

    hub.publish(
        [frame("monza", speed=1), frame("spa", user="bert", speed=2), frame("imola", speed=3)],
        now=1.0,
    )

    assert seat.speeds() == [1, 3]


def test_a_viewer_of_both_gets_each_frame_once(hub):
    seat = Seat(hub, user("anna"), session("monza"))

    hub.publish([frame("monza", speed=1)], now=1.0)

    assert seat.speeds() == [1]


def test_a_frame_reaches_the_viewer_byte_for_byte(hub):
    """What the collector sent is what arrives: the bridge wraps, it does not rewrite."""
    sent = frame("monza", speed=1, sequence=7)
    seat = Seat(hub, session("monza"))

    hub.publish([sent], now=1.0)

    (envelope,) = seat.envelopes()
    assert sent.value in envelope.binary
    assert TelemetryMessage.FromString(envelope.binary).session_id == "monza"


def test_two_viewers_share_one_message(hub):
    one, other = Seat(hub, session("monza"), as_text=True), Seat(hub, user("anna"))

    hub.publish([frame("monza")], now=1.0)

    assert one.envelopes()[0] is other.envelopes()[0]


def test_a_late_viewer_receives_the_facts_first(hub):
    hub.publish(
        [message("monza", session=Session(track="Monza", user_id="anna")), frame("monza", speed=1)],
        now=1.0,
    )

    facts, live = Seat(hub), Seat(hub, user("anna"))
    hub.publish([frame("monza", speed=2)], now=2.0)

    first, second = live.messages()
    assert (first.session.track, first.session.id, second.telemetry.speed) == ("Monza", "monza", 2)
    assert facts.messages() == []


def test_a_late_viewer_receives_the_sectors_of_the_running_lap(hub):
    def sectors(*times_ms, lap=7):
        return message(
            "monza", lap_in_progress=LapInProgress(lap_number=lap, sector_times=times_ms)
        )

    def finished(lap):
        return message("monza", lap=Lap(lap_number=lap))

    def heard():
        return [
            list(m.lap_in_progress.sector_times) for m in Seat(hub, session("monza")).messages()
        ]

    hub.publish([sectors(29_000, lap=6), frame("monza"), finished(6)], now=1.0)
    assert heard() == []

    hub.publish([sectors(30_000), finished(5), sectors(30_000, 41_000), finished(6)], now=2.0)
    assert heard() == [[30_000, 41_000]]

    hub.publish([finished(7)], now=3.0)
    assert heard() == []


def test_a_user_known_from_facts_alone_is_enough(hub):
    """A collector may write no headers."""
    seat = Seat(hub, user("anna"))

    hub.publish(
        [
            message("monza", user="", session=Session(user_id="anna")),
            frame("monza", user="", speed=3),
        ],
        now=1.0,
    )

    assert seat.speeds() == [0, 3]


def test_a_lap_goes_to_the_viewers_of_its_user_without_naming_one(hub):
    seat = Seat(hub, user("anna"))
    hub.publish([frame("monza")], now=1.0)

    hub.publish([message("monza", user="", lap=Lap(lap_number=4, lap_time=80_123))], now=2.0)

    assert seat.messages()[-1].lap == Lap(session_id="monza", lap_number=4, lap_time=80_123)


def test_a_sector_reaches_viewers_in_both_formats(hub):
    binary, text = Seat(hub, session("monza")), Seat(hub, session("monza"), as_text=True)
    ended = LapInProgress(lap_number=4, sector_times=[30_000], sector_colours=["purple"])

    hub.publish([message("monza", lap_in_progress=ended)], now=1.0)

    (told,) = binary.messages()
    assert (told.session_id, told.lap_in_progress.session_id) == ("monza", "monza")
    assert told.lap_in_progress.sector_colours == ["purple"]
    (envelope,) = text.envelopes()
    assert envelope.frames == 0, "a slow viewer gets it too"
    assert json.loads(envelope.text())["lapInProgress"] == {
        "sessionId": "monza",
        "lapNumber": 4,
        "startedAt": 0,
        "sectorTimes": [30_000],
        "sectorColours": ["purple"],
    }


def test_a_lap_makes_no_session_live(hub):
    ended = LapInProgress(lap_number=4)
    hub.publish(
        [message("monza", lap=Lap(lap_number=4)), message("monza", lap_in_progress=ended)], now=1.0
    )

    assert hub.sessions == {}


def test_live_is_judged_by_arrival(hub):
    """A replay of 2019 is live while it arrives."""
    hub.publish([frame("monza", time_ms=1_550_000_000_000)], now=100.0)

    assert hub.expire(now=129.0) == []
    assert hub.sessions["monza"].frame_time_ms == 1_550_000_000_000
    assert hub.expire(now=131.0) == ["monza"]
    assert hub.sessions == {}


def test_frames_are_counted_in_batches_too(hub):
    hub.publish(
        [
            message(
                "monza",
                frames=[TelemetryFrame(timestamp=5, gear=1), TelemetryFrame(timestamp=6, gear=1)],
            )
        ],
        now=1.0,
    )
    hub.publish([frame("monza", time_ms=7)], now=1.5)

    assert (hub.sessions["monza"].count, hub.sessions["monza"].seen_at) == (3, 1.5)


def test_json_records_arrive_as_protobuf(hub):
    seat = Seat(hub, session("monza"))

    hub.publish(
        [LiveRecord("monza", "anna", b'{"timestamp": 5, "speed": 90.5, "note": "from Node"}')],
        now=1.0,
    )
    hub.publish(
        [LiveRecord("monza", "anna", b'{"telemetry": {"timestamp": "6", "speed": 91}}')], now=1.0
    )

    assert seat.speeds() == [90.5, 91]


def test_a_collector_cannot_speak_for_the_bridge(hub):
    seat = Seat(hub, session("monza"))

    hub.publish(
        [
            message(
                "monza", telemetry=TelemetryFrame(timestamp=5, gear=1), status=Status(state="live")
            )
        ],
        now=1.0,
    )

    assert not seat.messages()[0].HasField("status")


def test_the_key_states_whose_record_it_is(hub):
    seat = Seat(hub, session("monza"))

    hub.publish(
        [message("monza", telemetry=TelemetryFrame(timestamp=5, gear=1), session_id="spa")], now=1.0
    )

    assert seat.messages()[0].session_id == "monza"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x08",
        b"\xff" * 40,
        b"{",
        b"{}",
        b"[1]",
        b'{"telemetry": 1}',
        b"\x0a\x05ab",
        b"{" * 5000,
        b"\x0a\x00" * 50_000,
    ],
)
def test_garbage_is_counted_and_the_next_record_arrives(hub, value):
    seat = Seat(hub, session("monza"))

    hub.publish([LiveRecord("monza", "anna", value), frame("monza", speed=1)], now=1.0)

    assert (hub.received, hub.unreadable, seat.speeds()) == (2, 1, [1])


def test_a_record_without_a_session_is_garbage(hub):
    hub.publish([frame("")], now=1.0)

    assert (hub.unreadable, dict(hub.sessions)) == (1, {})


@given(st.binary(max_size=200))
def test_no_bytes_break_the_hub(value):
    hub = Hub()
    seat = Seat(hub, session("monza"), as_text=True)

    hub.publish([LiveRecord("monza", "anna", value)], now=1.0)

    for envelope in seat.envelopes():
        envelope.text()


def test_a_stalled_viewer_goes_and_the_other_stays(hub):
    stalled = Seat(hub, session("monza"), patience=Patience(stalled_s=5.0))
    other = Seat(hub, session("monza"))

    for second in (1.0, 7.0, 8.0):
        hub.publish([frame("monza", speed=second)], now=second)
        assert other.speeds() == [second]

    assert stalled.closed == [TOO_SLOW]
    assert hub.viewers == 1


def test_who_left_gets_nothing_and_is_forgotten(hub):
    seat = Seat(hub, session("monza"), user("anna"))

    hub.leave(seat.viewer)
    hub.leave(seat.viewer)
    hub.publish([frame("monza")], now=1.0)

    assert (seat.messages(), hub.viewers, hub._watching) == ([], 0, {})


def test_unwatching_one_of_two(hub):
    seat = Seat(hub, session("monza"), session("spa"))

    hub.unwatch(seat.viewer, session("monza"))
    hub.unwatch(seat.viewer, session("monza"))
    hub.publish([frame("monza", speed=1), frame("spa", speed=2)], now=1.0)

    assert seat.speeds() == [2]
    assert hub.watches(seat.viewer) == {session("spa")}


def test_watching_needs_joining(hub):
    viewer = Viewer(as_text=False, wake=lambda: None, close=lambda _: None)

    with pytest.raises(ValueError, match="joins before it watches"):
        hub.watch(viewer, session("monza"), now=0.0)


def proved(record, **more):
    """A record from a topic of its user's own."""
    return replace(record, proved=True, **more)


def test_session_shows_only_records_of_its_first_proved_user(hub):
    """Even after a pause in which the session was forgotten."""
    seat = Seat(hub, session("monza"))
    hub.publish([proved(frame("monza", speed=1))], now=1.0)
    hub.publish([proved(frame("monza", user="bob", speed=2))], now=1.0)
    assert seat.speeds() == [1]
    hub.expire(now=100.0)
    hub.publish([proved(frame("monza", user="bob", speed=3))], now=100.0)
    hub.publish([proved(frame("monza", speed=4))], now=100.0)

    assert (hub.foreign, seat.speeds()) == (2, [4])


def test_record_with_a_false_claim_claims_no_session(hub):
    seat = Seat(hub, session("monza"))
    told = Session(track="Monza", user_id="anna")
    hub.publish(
        [
            proved(frame("monza", user="bob", speed=1), fault=FOREIGN_HEADER),
            proved(message("monza", user="bob", session=told)),
            proved(frame("monza", speed=2)),
        ],
        now=1.0,
    )

    assert (hub.foreign, seat.speeds(), hub.sessions["monza"].user) == (2, [2], "anna")


def test_remembered_owners_are_bounded(hub):
    hub.publish([proved(frame(f"s{n}")) for n in range(20_100)], now=1.0)

    assert 10_000 <= len(hub._owners) <= 20_001


def test_headers_name_the_user_where_no_topic_proves_it(hub):
    seat = Seat(hub, user("bob"))
    hub.publish([frame("monza", speed=1), frame("monza", user="bob", speed=2)], now=1.0)

    assert (hub.foreign, seat.speeds()) == (0, [2])


ANNA, BOB = (Caller(name, Role.DRIVER) for name in ("anna", "bob"))
SPA = Subscription("session", "spa")


def test_caller_gets_what_it_may_read_and_nothing_else():
    hub = Hub()
    anna, bob, both = (
        Seat(hub, SPA, Subscription("user", "anna"), caller=caller)
        for caller in (ANNA, BOB, Caller("eve", Role.ENGINEER))
    )
    hub.publish([frame("spa", speed=1.0)], now=0.0)
    hub.publish([frame("monza", speed=2.0)], now=0.0)

    assert anna.speeds() == both.speeds() == [1.0, 2.0]
    assert bob.speeds() == []


def test_facts_of_a_foreign_session_are_not_sent_to_one_who_comes_late():
    hub = Hub()
    hub.publish([message("spa", session=Session(track="Spa", user_id="anna"))], now=0.0)

    assert [m.session.track for m in Seat(hub, SPA, caller=ANNA).messages()] == ["Spa"]
    assert Seat(hub, SPA, caller=BOB).messages() == []


def test_session_is_judged_again_when_its_owner_changes():
    hub = Hub()
    anna, bob = Seat(hub, SPA, caller=ANNA), Seat(hub, SPA, caller=BOB)
    for user, speed in (("anna", 1.0), ("bob", 2.0), ("anna", 3.0), ("", 4.0)):
        hub.publish([frame("spa", user=user, speed=speed)], now=0.0)

    assert (anna.speeds(), bob.speeds()) == ([1.0, 3.0, 4.0], [2.0])


def test_another_role_counts_from_the_next_frame_on():
    hub = Hub()
    seat = Seat(hub, SPA, caller=BOB)
    for caller, speed in ((BOB, 1.0), (Caller("bob", Role.ENGINEER), 2.0), (BOB, 3.0)):
        hub.renew(seat.viewer, caller)
        hub.publish([frame("spa", speed=speed)], now=0.0)

    assert seat.speeds() == [2.0]


def test_frames_of_a_session_are_judged_once(monkeypatch):
    """Fan-out with logins costs what it costs without, since no frame is judged."""
    hub, judged = Hub(), []
    monkeypatch.setattr(
        "serve.bridge.live.hub.may_watch", lambda *given: judged.append(given) or True
    )
    seats = [Seat(hub, SPA, caller=BOB) for _ in range(3)]
    for speed in range(100):
        hub.publish([frame("spa", speed=float(speed))], now=0.0)

    assert len(judged) == 3
    assert {len(seat.speeds()) for seat in seats} == {100}


def test_guest_gets_the_session_of_its_link_and_nothing_else_of_its_owner():
    hub = Hub()
    whole, lap = (frozenset({Shared("spa", "anna", number)}) for number in (None, 1))
    seats = [
        Seat(hub, SPA, session("monza"), user("anna"), caller=Caller("link-1", Role.GUEST, **by))
        for by in ({"shared": whole, "share_id": 1}, {"shared": lap, "share_id": 2})
    ]
    hub.publish([frame("spa", speed=1.0), frame("monza", speed=2.0)], now=0.0)
    hub.publish([frame("spa", user="bob", speed=3.0)], now=0.0)

    assert [seat.speeds() for seat in seats] == [[1.0], []]


def test_share_counts_from_the_next_frame_on():
    hub = Hub()
    seat = Seat(hub, SPA, caller=BOB)
    shared = replace(BOB, shared=frozenset({Shared("spa", "anna")}))
    for caller, speed in ((BOB, 1.0), (shared, 2.0), (BOB, 3.0)):
        hub.renew(seat.viewer, caller)
        hub.publish([frame("spa", speed=speed)], now=0.0)

    assert seat.speeds() == [2.0]


def test_deleted_session_closes_its_viewers_and_does_not_come_back():
    hub = Hub()
    of_session = Seat(hub, Subscription("session", "a"))
    of_user = Seat(hub, Subscription("user", "anna"))
    hub.publish([frame("a", speed=1.0), frame("b", speed=2.0)], now=0.0)

    hub.withdraw({"a"}, ())
    hub.publish([frame("a", speed=3.0), frame("b", speed=4.0)], now=0.1)

    assert of_session.closed == [SESSION_DELETED]
    assert of_user.closed == []
    assert of_user.speeds() == [1.0, 2.0, 4.0]
    assert set(hub.sessions) == {"b"}


def test_hidden_session_is_watched_by_its_user_and_operators_alone():
    hub = Hub()
    watch = Subscription("session", "a")
    callers = [Caller("anna", Role.VIEWER), Caller("eve", Role.ENGINEER), ANYONE]
    callers.append(Caller("bob", Role.VIEWER, shared=frozenset({Shared("a", "anna")})))
    seats = [Seat(hub, watch, caller=caller) for caller in callers]
    hub.publish([frame("a", speed=1.0)], now=0.0)
    hub.withdraw((), {"a"})
    hub.publish([frame("a", speed=2.0), message("a", session=Session(track="spa"))], now=0.1)
    late = Seat(hub, watch, caller=callers[1])
    assert late.envelopes() == []
    hub.withdraw((), ())
    hub.publish([frame("a", speed=3.0)], now=0.2)

    got = [[m.telemetry.speed for m in s.messages() if m.HasField("telemetry")] for s in seats]
    assert got == [[1.0, 2.0, 3.0], [1.0, 3.0], [1.0, 2.0, 3.0], [1.0, 3.0]]
