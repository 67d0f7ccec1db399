"""Lists each game's conventions for values around a lap, in one table with its sources.

The table holds the lap times that mean "none". It also holds how long after the line old values
remain. Collectors take the sentinel values from here. The lap engine knows no game and believes a
value as far as it fits. It must be right with every lag of the table
(`tests/unit/analytics/model/test_game_conventions.py`). The module is plain Python, so that it runs
on game PCs.
"""

from dataclasses import dataclass

_NONE_MS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Conventions:
    """The sentinels and lags of one game. ``no_time_ms`` holds the lap times that mean "none".

    The other values are the longest lags observed, in s after the line. ``official_time_s`` ends
    when the last lap time is that of the lap that ended. ``validity_s`` ends when the validity is
    that of the new lap. ``lap_clock_s`` ends when the lap clock has restarted, ``lap_counter_s``
    when the lap counter has risen.
    """

    no_time_ms: frozenset[int]
    official_time_s: float
    validity_s: float
    lap_clock_s: float
    lap_counter_s: float
    source: str


CONVENTIONS: dict[str, Conventions] = {
    "Assetto Corsa": Conventions(
        # ACC's page derives from this one, and ACC uses the second value.
        frozenset({0, _NONE_MS}),
        official_time_s=0.1,
        validity_s=0.0,
        lap_clock_s=0.0,
        lap_counter_s=0.11,
        source=(
            "12 crossings recorded at 9 Hz: the counter rises one frame after the position in 4. It"
            " judges no lap"
        ),
    ),
    "Assetto Corsa Competizione": Conventions(
        frozenset({_NONE_MS}),
        # The game writes the graphics page with each picture, not at the same moment as the physics
        # page.
        official_time_s=0.1,
        validity_s=0.1,
        lap_clock_s=0.0,
        lap_counter_s=0.05,
        source=(
            "captured pages and broadcasts; on 22 of 25 tracks the counter rises within a frame of"
            " the origin"
        ),
    ),
    "iRacing": Conventions(
        frozenset({-1, 0}),
        official_time_s=4.7,
        validity_s=4.0,
        lap_clock_s=1.9,
        lap_counter_s=0.0,
        source=(
            "sessions recorded over a network, read from files: last lap time 1.6 to 4.7 s late,"
            " lap clock 0.1 to 1.9 s, and the flag outlives its lap by 1 to 4 s in four of them"
        ),
    ),
}


def known_time_ms(game: str, time_ms: int) -> int:
    """Return a lap time of a game in the table as a frame stores it: 0 for a sentinel."""
    return 0 if time_ms in CONVENTIONS[game].no_time_ms else time_ms
