"""The comparison that decides whether a model ships: what it learns from, what it is told, and when
it has won.
"""

from dataclasses import replace

import numpy as np
import pytest

from analytics.comparison.corner_metrics import cornering
from tests.bench.corner_model import Errors, beats, held_out_errors, rule
from tests.bench.corner_rows import FEATURES, Rows, against_fastest
from tests.unit.analytics.comparison.test_insights import CORNERS, SLOWEST_KMH, a_driver, a_lap

MS_A_KMH = 30.0


def planted(*, sessions: int = 4, each: int = 40) -> Rows:
    """Who is slower by a km/h loses 30 ms; where the brake came makes no difference."""
    draw = np.random.default_rng(3)
    features = np.zeros((sessions * each, len(FEATURES)))
    features[:, FEATURES.index("min_speed_kmh")] = slower = draw.normal(0, 4, len(features))
    features[:, FEATURES.index("brake_m")] = draw.normal(0, 10, len(features))
    lost_s = -MS_A_KMH / 1000 * slower + draw.normal(0, 0.002, len(features))
    return Rows(np.repeat(np.arange(sessions), each), features, lost_s)


def test_the_rule_finds_the_difference_that_matters_and_its_slope() -> None:
    rows = planted()
    new = Rows(np.array([9]), np.zeros((1, len(FEATURES))), np.zeros(1))
    new.features[0, FEATURES.index("min_speed_kmh")] = -5

    assert rule(rows, new).tolist() == pytest.approx([5 * MS_A_KMH / 1000], abs=0.005)


def test_a_session_is_predicted_from_the_others_only() -> None:
    rows = planted()
    seen: list[tuple[set[int], set[int]]] = []

    def watched(learn: Rows, held_out: Rows) -> np.ndarray:
        seen.append((set(learn.session), set(held_out.session)))
        return held_out.lost_s + 0.001 * (held_out.session + 1)

    errors = held_out_errors(rows, "watched", watched)

    assert seen == [({0, 1, 2, 3} - {out}, {out}) for out in range(4)]
    assert errors.ms.tolist() == pytest.approx([1, 2, 3, 4])


def test_a_model_wins_when_it_is_better_in_session_after_session() -> None:
    """One session in which it is much better is luck."""
    other = Errors("rule", np.full(10, 100.0))

    assert beats(Errors("steady", other.ms - np.linspace(5, 15, 10)), other)
    assert not beats(Errors("lucky", other.ms - np.array([200.0, *[-5.0] * 9])), other)
    assert not beats(other, other)


def test_a_row_reports_what_was_done_and_not_what_came_of_it() -> None:
    """A lap's own speed at the end of the straight, and its time, leave its features as they
    were.
    """
    driven = a_driver(1, laps=4)
    features, lost_s = against_fastest(driven)
    reference = int(np.argmin([lap.lap_time_s for lap in driven.laps]))
    others = np.arange(4)[:, None] != reference
    spoilt = {name: driven[name] + 50.0 * others for name in ("exit_speed_kmh", "time_s")}

    again, later_s = against_fastest(replace(driven, measures={**driven.measures, **spoilt}))

    assert features.shape == (3, len(CORNERS), len(FEATURES))
    assert (again == features).all()
    assert later_s == pytest.approx(lost_s + 50)


def test_braking_early_is_a_loss_of_seconds_in_its_corner() -> None:
    early_m = np.array([5.0, 13.0, 5.0])
    driven = cornering(
        [a_lap(np.full(3, 5.0), np.array(SLOWEST_KMH)), a_lap(early_m, np.array(SLOWEST_KMH))],
        CORNERS,
    )

    features, lost_s = against_fastest(driven)

    assert features[0, :, FEATURES.index("brake_m")] == pytest.approx([0, -8, 0], abs=0.5)
    assert features[0, 1, FEATURES.index("brake_s")] == pytest.approx(lost_s[0, 1], rel=0.05)
    assert lost_s[0, [0, 2]] == pytest.approx([0, 0], abs=0.002)
