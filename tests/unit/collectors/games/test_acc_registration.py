"""What is said to ACC's broadcasting server, and when."""

import pytest
from structlog.testing import capture_logs

from ingest.collectors.games.acc import broadcast_protocol
from ingest.collectors.games.acc.registration import Access, Registration
from ingest.collectors.games.anomalies import AnomalyCounts
from tests.game_emulators import acc_messages as game
from tests.unit.acc import car_update, update

ACCESS = Access("127.0.0.1", 9000, "Purple Sector", "asd")
REGISTER = broadcast_protocol.register("Purple Sector", "asd", 100)


@pytest.fixture
def complaints():
    return AnomalyCounts("test")


@pytest.fixture
def registration(complaints):
    return Registration(interval_ms=100, complaints=complaints)


def hear(registration, datagram, now_s):
    registration.take(broadcast_protocol.parse(datagram)[0], now_s)


def accept(registration, now_s=0.0):
    registration.register(ACCESS, now_s)
    hear(registration, game.registration_result(5, success=True, commands=False, error=""), now_s)


def refuse(registration, now_s, words="Wrong connection password"):
    hear(
        registration,
        game.registration_result(-1, success=False, commands=False, error=words),
        now_s,
    )


def test_registers_until_somebody_answers(registration):
    assert registration.wants_access(0.0)
    assert registration.register(ACCESS, 0.0) == [REGISTER]
    assert not registration.wants_access(2.9)
    assert registration.wants_access(3.0)
    assert registration.register(ACCESS, 3.0) == [REGISTER]


def test_requests_both_lists_until_they_come(registration):
    accept(registration)
    both = [broadcast_protocol.request_track_data(5), broadcast_protocol.request_entry_list(5)]

    assert registration.due(0.0) == both
    assert registration.due(1.9) == []
    assert registration.due(2.0) == both
    hear(registration, game.TrackData(5, "Spa", 1, 7004, [], []).encode(), 2.1)
    hear(registration, game.entry_list(5, [3]), 2.1)
    assert registration.due(9.0) == []


def test_another_session_is_requested_again(registration):
    accept(registration)
    hear(registration, update(1.0).encode(), 0.1)
    hear(registration, game.TrackData(5, "Spa", 1, 7004, [], []).encode(), 0.1)
    hear(registration, game.entry_list(5, []), 0.1)
    hear(registration, update(1.0, session=1).encode(), 0.2)

    assert registration.due(0.2) == [
        broadcast_protocol.request_track_data(5),
        broadcast_protocol.request_entry_list(5),
    ]


def test_a_car_that_no_list_has_is_requested_now_and_then(registration):
    accept(registration)
    registration.due(0.0)
    hear(registration, game.TrackData(5, "Spa", 1, 7004, [], []).encode(), 0.1)
    hear(registration, game.entry_list(5, [3]), 0.1)
    for _ in range(20):
        hear(registration, car_update(1).encode(), 0.2)

    assert registration.due(0.2) == []
    assert registration.due(2.0) == [broadcast_protocol.request_entry_list(5)]
    hear(registration, game.entry_list(5, [3]), 2.1)
    hear(
        registration,
        game.EntryListCar(3, 32, "", 1, 0, 0, 0, [game.Driver("A", "B", "C")]).encode(),
        2.1,
    )
    hear(registration, car_update(1).encode(), 9.0)
    assert registration.due(9.0) == []
    hear(registration, car_update(1, driver_count=2).encode(), 9.0)
    assert registration.due(9.0) == [broadcast_protocol.request_entry_list(5)]


def test_a_server_that_falls_silent_is_left_and_requested_again(registration):
    accept(registration)
    hear(registration, update(1.0).encode(), 10.0)

    assert not registration.wants_access(15.0)
    assert registration.wants_access(15.1)
    assert registration.register(ACCESS, 15.1) == [broadcast_protocol.unregister(5), REGISTER]
    assert registration.due(15.1) == []


def test_a_wrong_password_is_reported_once_and_tried_again_later(registration, complaints):
    with capture_logs() as said:
        for now_s in (0.0, 15.0, 30.0):
            assert registration.wants_access(now_s)
            registration.register(ACCESS, now_s)
            refuse(registration, now_s)
            assert not registration.wants_access(now_s + 14.9)

    assert complaints.counts == {"ACC refused the registration": 3}
    (line,) = said
    assert "Wrong connection password" in line["detail"]
    assert "ACC_PASSWORD" in line["detail"]
    assert "asd" not in line["detail"]


def test_a_registration_that_is_ended_later_is_made_again(registration, complaints):
    accept(registration)
    refuse(registration, 1.0, "")

    assert registration.due(1.0) == []
    assert not registration.wants_access(3.9)
    assert registration.wants_access(4.0)
    assert complaints.counts == {"ACC ended the registration": 1}


def test_takes_leave_once(registration):
    accept(registration)

    assert registration.leave() == [broadcast_protocol.unregister(5)]
    assert registration.leave() == []


def test_a_name_that_does_not_fit_is_counted(registration, complaints):
    assert registration.register(Access("127.0.0.1", 9000, "x", "y" * 70_000), 0.0) == []
    assert complaints.counts == {"no registration": 1}


def test_no_password_shows():
    assert "asd" not in repr(ACCESS)
