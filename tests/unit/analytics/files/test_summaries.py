"""What laps come to, of the engine's laps and not of the game's counter."""

import pytest

from analytics.files.summaries import laps_of
from analytics.laps.engine import advance
from tests.unit.recordings import even_drive, uncounted_out_lap


def test_an_out_lap_that_the_game_does_not_count_moves_no_top_speed() -> None:
    frames = uncounted_out_lap().frames()
    laps, _ = advance(frames, None)
    sums = laps_of(frames, laps)

    assert [(lap.lap_number, lap.max_speed_kmh) for lap in sums] == [
        (1, 150),
        (2, 210),
        (3, 220),
        (4, 230),
        (5, 120),
    ]
    assert [lap.frames for lap in sums[1:4]] == [1900, 1880, 1920]
    assert [lap.lap_time_ms for lap in laps[1:]] == pytest.approx([95_000, 94_000, 96_000], abs=1)


def test_the_lap_in_progress_is_there_before_the_first_is_over() -> None:
    frames = even_drive((100.0,)).frames().slice(0, 500)

    assert [(lap.lap_number, lap.frames) for lap in laps_of(frames, [])] == [(1, 500)]
    assert laps_of(frames.slice(0, 0), []) == []
