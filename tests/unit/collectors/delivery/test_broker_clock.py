"""A collector finds out by itself that its PC's clock is wrong, from the broker's times in the
reports of delivery.
"""

import confluent_kafka
import pytest
from structlog.testing import capture_logs

from ingest.codec.record_headers import behind_of
from ingest.codec.timestamps import AHEAD_MS, BEHIND_MS
from ingest.collectors.delivery.broker_clock import LOG_APPEND_TIME, BrokerClock, clock_trouble
from ingest.collectors.delivery.statistics import Statistics
from ingest.telemetry_pb2 import StatusReport
from serve.cli.collectors import as_json

NOON_MS = 1_767_268_800_000


def told(*offsets_ms: int, ways_ms: tuple[int, ...] = (5,)) -> list[str]:
    """What is said when reports come of a PC whose clock is so far ahead, each after its way."""
    clock = BrokerClock()
    with capture_logs() as logs:
        for n, offset_ms in enumerate(offsets_ms):
            appended_ms = NOON_MS + 16 * n
            wall_ms = appended_ms + offset_ms + ways_ms[n % len(ways_ms)]
            clock.note((LOG_APPEND_TIME, appended_ms), wall_ms=wall_ms)
    return [line["event"] for line in logs]


def test_the_kind_of_time_is_the_librarys():
    assert LOG_APPEND_TIME == confluent_kafka.TIMESTAMP_LOG_APPEND_TIME


def test_a_clock_that_is_ahead_is_reported_once_and_at_once():
    (line,) = told(*[6 * 60_000] * 40)
    assert (
        line
        == "this PC's clock is 360.00 s ahead of the broker's: frames are kept, with the times at"
        " which the broker gets them; set the clock; let the PC do it by itself"
    )


@pytest.mark.parametrize("ahead_ms", [90_000, -3_600_000])
def test_a_clock_that_ingest_believes_is_reported_too(ahead_ms):
    (line,) = told(*[ahead_ms] * 4)
    assert "frames are kept, with this PC's times" in line


def test_a_clock_that_is_days_behind_is_reported_to_be_moved():
    (line,) = told(*[-3 * 86_400_000] * 4)
    assert "frames of sessions that begin now are kept, with times moved to the broker's" in line


def test_a_record_shows_its_senders_clock():
    def behind(sent: bytes | None, kind: int = LOG_APPEND_TIME) -> int:
        return behind_of([("userId", b"anna"), ("sentAt", sent)], (kind, NOON_MS))

    assert behind(b"%d" % (NOON_MS - BEHIND_MS - 1)) == BEHIND_MS + 1
    assert behind(b"0") == NOON_MS
    for right in (NOON_MS, NOON_MS - BEHIND_MS, NOON_MS + 10**9):
        assert behind(b"%d" % right) == 0
    for none in (None, b"", b"-5", b"now", b"9" * 400, "²".encode()):
        assert behind(none) == 0
    assert behind(b"0", confluent_kafka.TIMESTAMP_CREATE_TIME) == 0
    assert behind_of([], (LOG_APPEND_TIME, NOON_MS)) == 0


def test_a_clock_that_is_set_wrong_on_the_way_is_reported_then():
    assert told(*[0] * 10) == []
    assert len(told(*[0] * 40, *[400_000] * 40)) == 1
    assert len(told(*[0] * 40, *[-400_000] * 5)) == 1


def test_the_way_of_a_report_is_no_wrong_clock():
    """Of a broker that is slow to answer now and then."""
    assert told(*[0] * 30, ways_ms=(4000, 3000, 40)) == []


def test_a_topic_that_keeps_our_own_times_yields_nothing():
    clock = BrokerClock()
    for _ in range(10):
        clock.note((confluent_kafka.TIMESTAMP_CREATE_TIME, NOON_MS), wall_ms=NOON_MS + 10**7)
    assert clock.ahead_ms is None


def test_what_is_reported_is_what_ingest_does():
    assert clock_trouble(AHEAD_MS).level == "warning"
    assert clock_trouble(AHEAD_MS + 1).level == "error"
    assert clock_trouble(900) is None
    assert clock_trouble(-1_400, within_ms=500) is None


def test_statistics_and_status_show_it():
    wrong = Statistics(clock_ahead_ms=360_000) + Statistics(5)
    assert wrong.as_json()["clockAheadMs"] == 360_000
    assert "clockAheadMs" not in Statistics(clock_ahead_ms=12).as_json()
    assert "clockAheadMs" not in Statistics().as_json()
    assert as_json(StatusReport(clock_ahead=-5_000))["clockAheadMs"] == -5_000
