"""The table of sentinels and lags: the lap engine is right with each of them."""

import numpy as np
import pytest

from analytics.model.game_conventions import CONVENTIONS, known_time_ms
from analytics.model.limits import is_plausible
from tests.unit.analytics.laps.test_odd_sessions import LAPS_S, Session

GAMES = sorted(CONVENTIONS)
SLOW_HZ, FAST_HZ = 9.0, 60.0


def lagging(name: str, lag_s: float, rate_hz: float) -> Session:
    """A session in which a column goes on with the lap before for so long after each line."""
    session = Session(rate_hz=rate_hz)
    if name == "validity":
        session["validity"] = np.where(session.lap == 1, 2, 1)
    before = np.searchsorted(session.t, session.t - lag_s)
    since_line = session.t - np.concatenate([[0.0], session.ends_s])[session.lap]
    late = (since_line < lag_s) & (session.lap > 0)
    if name == "lap_clock_ms":
        # It runs on, and restarts with all that has passed.
        taken = np.array([0.0, *LAPS_S])[session.lap]
        session[name] = np.where(late, np.floor(1000 * (since_line + taken)), session[name])
    else:
        session[name] = np.where(late, session[name][before], session[name])
    return session


@pytest.mark.parametrize("rate_hz", [SLOW_HZ, FAST_HZ])
@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize(
    ("column", "lag"),
    [
        ("last_lap_time_ms", "official_time_s"),
        ("validity", "validity_s"),
        ("lap_clock_ms", "lap_clock_s"),
        ("lap_number", "lap_counter_s"),
    ],
)
def test_the_longest_lag_of_a_game_moves_no_lap(
    game: str, column: str, lag: str, rate_hz: float
) -> None:
    lag_s = getattr(CONVENTIONS[game], lag)
    laps = lagging(column, lag_s, rate_hz).timed()

    assert [lap.lap_time_ms for lap in laps] == pytest.approx(
        [1000 * lap_s for lap_s in LAPS_S], abs=30
    )
    assert [lap.official_lap_time_ms for lap in laps] == [round(1000 * lap_s) for lap_s in LAPS_S]
    invalid = [lap.lap_number for lap in laps if "invalid" in lap.flags]
    assert invalid == ([2] if column == "validity" else [])


@pytest.mark.parametrize("game", GAMES)
def test_a_sentinel_is_no_time_for_collectors_and_laps(game: str) -> None:
    for none_ms in CONVENTIONS[game].no_time_ms:
        assert known_time_ms(game, none_ms) == 0
        assert none_ms == 0 or not is_plausible("lap_time", none_ms), "a recording blanks it"
    assert known_time_ms(game, 94_321) == 94_321


@pytest.mark.parametrize("none_ms", [-1, 2**31 - 1, 2**32 - 1, float(np.float32(2**32 - 1))])
@pytest.mark.parametrize("game", GAMES)
def test_no_game_keeps_a_sentinel_of_another_one(game: str, none_ms: float) -> None:
    """0xFFFFFFFF is -1 in 32 bits with a sign, and 2^32 - 1 in a file."""
    for field in ("lap_time", "last_lap_time"):
        assert known_time_ms(game, none_ms) == 0 or not is_plausible(field, none_ms)


def test_every_game_has_its_source() -> None:
    assert all(conventions.source for conventions in CONVENTIONS.values())
