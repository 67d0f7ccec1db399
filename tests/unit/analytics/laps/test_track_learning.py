"""Tracks: line and sectors found from laps alone, and kept until laps say otherwise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analytics.files.recording import open_recording
from analytics.laps.engine import advance
from analytics.laps.track_learning import LapEvidence, LearnedTrack, learn
from tests.unit.analytics.laps.test_engine import DATA, LAP_MS, Drive, needs_recordings, timed


def evidences(drive: Drive) -> list[LapEvidence]:
    return [
        LapEvidence(lap.line_position, lap.sector_positions)
        for lap in timed(drive.frames()).values()
    ]


def drive_from(line: float, *, clock: bool, rate_hz: float) -> Drive:
    """A track of ACC: the counter moves at ``line``, sectors at 0.3 and 0.7 of the lap, and the
    origin sticks for five metres.
    """
    drive = Drive(laps=6.2, rate_hz=rate_hz)
    share = drive["normalized_position"]
    drive["sector"] = 1 + (share >= 0.3).astype(int) + (share >= 0.7)
    position = (share + line) % 1.0
    drive["normalized_position"] = np.where(
        position > 0.999, 1.0, np.where(position < 0.001, 0.0, position)
    )
    if not clock:
        drive["lap_clock_ms"] = 0
    return drive


@pytest.mark.parametrize("line", [0.97905, 0.99616, 0.0])
def test_line_and_sectors_are_found_from_laps(line):
    """Silverstone's, Spa's, and the many at the origin; with a lap clock, and with nothing but the
    counter.
    """
    for clock, rate_hz, within in (
        (True, 60, 2e-4),
        (False, 60, 4e-4),
        (True, 9, 5e-4),
        (False, 9, 2e-3),
    ):
        track = learn("acc", "somewhere", evidences(drive_from(line, clock=clock, rate_hz=rate_hz)))

        assert track is not None
        assert track.line == pytest.approx(line, abs=within)
        assert track.layout.sectors == pytest.approx((0.3, 0.7), abs=2 * within)


def test_two_laps_are_not_enough():
    few = [LapEvidence(0.979)] * 2
    assert learn("acc", "silverstone", few) is None
    assert learn("acc", "silverstone", [*few, LapEvidence(0.979)]) is not None


def test_one_lap_that_was_counted_elsewhere_is_outvoted():
    track = learn("acc", "spa", [LapEvidence(0.99616)] * 4 + [LapEvidence(0.5)])
    assert track is not None
    assert (track.line, track.laps, track.spread) == (0.99616, 5, 0.0)


def test_laps_that_disagree_teach_nothing():
    assert learn("acc", "spa", [LapEvidence(p) for p in (0.1, 0.3, 0.5, 0.7)]) is None


def test_what_is_known_stays_until_laps_state_otherwise():
    known = LearnedTrack("acc", "spa", line=0.99616, sectors=(0.3, 0.7), length_m=7004.0, version=3)
    same = LapEvidence(0.9960, (0.3004, 0.6998), 7004.0)

    assert learn("acc", "spa", [same] * 9, known) is None
    moved = learn("acc", "spa", [replace(same, line=0.98)] * 9, known)
    assert moved is not None
    assert (moved.line, moved.version) == (0.98, 4)
    assert (
        learn("acc", "spa", [replace(same, line=0.98)] * 9, replace(known, origin="authored"))
        is None
    )


def test_a_track_layout_of_a_track_has_its_parts_behind_the_line():
    layout = LearnedTrack(
        "acc", "silverstone", line=0.979, sectors=(0.279, 0.679), version=2
    ).layout
    assert layout.sectors == pytest.approx((0.3, 0.7))
    assert LearnedTrack("ac", "imola").layout.sectors == (1 / 3, 2 / 3)


def test_laps_on_the_learnt_track_layout_have_all_their_parts():
    drive = drive_from(0.97905, clock=True, rate_hz=60)
    track = learn("acc", "silverstone", evidences(drive))
    assert track is not None

    laps = {lap.lap_number: lap for lap in advance(drive.frames(), None, track.layout)[0]}

    assert sum(laps[4].mini_sector_times_ms) == laps[4].lap_time_ms == LAP_MS
    assert laps[4].mini_sector_times_ms == pytest.approx([LAP_MS / 25] * 25, abs=10)


@needs_recordings
def test_lines_of_real_tracks_are_at_the_origin():
    """Of all games and rates that are recorded, over the network too."""
    found = {}
    for path in sorted(Path(DATA).glob("*.parquet")):
        recording = open_recording(path)
        laps = timed(recording.frames()).values()
        seen = [LapEvidence(lap.line_position, length_m=recording.track_length_m) for lap in laps]
        found[(recording.game, recording.track)] = (
            found.get((recording.game, recording.track), []) + seen
        )
    learnt = [track for (game, name), seen in found.items() if (track := learn(game, name, seen))]

    assert len(learnt) >= 4
    assert {track.line for track in learnt} == {0.0}
