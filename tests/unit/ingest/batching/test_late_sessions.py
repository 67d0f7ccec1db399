"""When laps are timed again: once, when what came late has come."""

from ingest.batching.late_sessions import LONGEST_S, QUIET_S, LateSessions
from ingest.batching.write_batch import LateFrames


def test_laps_are_timed_again_when_no_more_frames_come():
    lateness = LateSessions()
    lateness.note([LateFrames(1, "a", 500)], now=10.0)
    lateness.note([LateFrames(1, "a", 900)], now=10.5)

    assert lateness.due(now=10.5 + QUIET_S - 0.01) == []
    assert lateness.due(now=10.5 + QUIET_S) == [LateFrames(1, "a", 500)]
    assert lateness.due(now=100.0) == []


def test_frames_that_never_stop_coming_late_do_not_put_it_off_for_ever():
    lateness = LateSessions()
    due_at = []
    for step in range(100):
        now = step / 2
        lateness.note([LateFrames(1, "a", 1000 - step)], now=now)
        due_at += [now for _ in lateness.due(now=now)]

    assert due_at[0] == LONGEST_S


def test_each_session_waits_by_itself():
    lateness = LateSessions()
    lateness.note([LateFrames(1, "a", 500)], now=10.0)
    lateness.note([LateFrames(2, "b", 100)], now=10.8)

    assert lateness.due(now=11.0) == [LateFrames(1, "a", 500)]
    assert lateness.due(now=11.8) == [LateFrames(2, "b", 100)]
