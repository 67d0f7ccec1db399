from ingest.collectors.games.session_clock import SessionClock


def test_frames_are_timed_by_the_monotonic_clock_from_the_sessions_start():
    clock = SessionClock(wall_ms=1_700_000_000_000, now_s=50.0)

    assert clock.stamp_ms(50.0) == 1_700_000_000_000
    assert clock.stamp_ms(50.0166) == 1_700_000_000_017
    assert clock.stamp_ms(3650.0) == 1_700_003_600_000


def test_every_frame_is_later_than_the_one_before():
    clock = SessionClock(wall_ms=1000, now_s=0.0)

    stamps = [clock.stamp_ms(now_s) for now_s in (0.0, 0.0, 0.0001, 0.0049, 0.01, 0.005)]

    assert stamps == [1000, 1001, 1002, 1005, 1010, 1011]
