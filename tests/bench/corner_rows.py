"""Laps in corners as rows for a model: what was driven otherwise than in the session's fastest lap,
and what that cost.

Rule: a row holds what a driver can change (where the pedals move, how slow the car gets, how hard
it brakes) and what is known before he changes it (the reference's speeds). How fast he is on the
way in and out is left out: time is length by speed, and whoever is told the speeds of a zone has
been told its time. Corners and reference are of the row's own session, so no session is seen
through another one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import analytics
from analytics.catalog import Session
from analytics.comparison.consistency import representative_laps
from analytics.comparison.corner_metrics import CornerMetrics, cornering
from analytics.comparison.corners import find_corners
from analytics.comparison.trace import Trace, traces
from analytics.model.arrays import Reals

#: As insights word them: differences to the reference in their own units.
WORDED = ("brake_m", "lift_m", "throttle_m", "full_throttle_m", "min_speed_kmh")
#: The same in seconds: metres that are driven at the reference's slowest speed and not at that of
#: the straight.
IN_SECONDS = ("brake_s", "lift_s", "release_s", "throttle_s", "full_throttle_s", "bend_s")
#: Whether a pedal was used at all, -1..1, and how hard.
USED = ("braked", "lifted", "brake_most")
#: Of the reference, hence no differences: its speeds in m/s before, in and behind the corner, and
#: the length of its part.
KNOWN = ("approach_mps", "slowest_mps", "leaving_mps", "part_m")
DIFFERENCES = (*WORDED, *IN_SECONDS, *USED)
FEATURES = (*DIFFERENCES, *KNOWN)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One row for each lap and corner: its session, `FEATURES` and what it lost to the reference,
    in s.
    """

    session: np.ndarray
    features: Reals
    lost_s: Reals

    def __len__(self) -> int:
        return len(self.lost_s)

    def of(self, mask: np.ndarray) -> "Rows":
        return Rows(self.session[mask], self.features[mask], self.lost_s[mask])

    def __getitem__(self, names: tuple[str, ...]) -> Reals:
        return self.features[:, [FEATURES.index(name) for name in names]]


def rows_of(folder: Path) -> Rows:
    """Of the recordings in a folder that have two laps in earnest and a corner."""
    each = [rows for drive in analytics.open(folder).sessions for rows in _of_session(drive)]
    return Rows(
        *(
            np.concatenate([getattr(rows, name) for rows in each])
            for name in ("session", "features", "lost_s")
        )
    )


def against_fastest(driven: CornerMetrics) -> tuple[Reals, Reals]:
    """Features (laps × corners × features) and seconds lost (laps × corners) of all laps but the
    fastest, against it.
    """
    reference = int(np.argmin([lap.lap_time_s for lap in driven.laps]))
    others = np.arange(len(driven)) != reference
    apart = {name: (values - values[reference])[others] for name, values in driven.measures.items()}
    known = _known(driven, reference)
    columns = (
        _in_words(apart)
        | _in_seconds(apart, known, driven)
        | _used(driven, reference, others)
        | known
    )
    features = [np.broadcast_to(columns[name], apart["time_s"].shape) for name in FEATURES]
    # A point that one of the two has not is no difference of places; that it is missing says
    # `USED`.
    return np.nan_to_num(np.stack(features, axis=-1)), apart["time_s"]


def _of_session(drive: Session) -> Iterator[Rows]:
    laps = traces(representative_laps(list(drive.laps)))
    if len(laps) < 2:
        return
    features, lost_s = against_fastest(cornering(laps, find_corners(laps)))
    flat = features.reshape(-1, len(FEATURES))
    yield Rows(np.full(len(flat), drive.key, object), flat, lost_s.ravel())


def _known(driven: CornerMetrics, reference: int) -> dict[str, Reals]:
    lap: Trace = driven.laps[reference]
    begin = np.searchsorted(lap.axis.distance_m, [corner.begin_m for corner in driven.corners])
    return {
        "approach_mps": lap["speed_kmh"][begin] / 3.6,
        "slowest_mps": driven["min_speed_kmh"][reference] / 3.6,
        "leaving_mps": driven["exit_speed_kmh"][reference] / 3.6,
        "part_m": np.diff(driven.corners.bounds_m),
    }


def _in_words(apart: dict[str, Reals]) -> dict[str, Reals]:
    return {name: apart[name] for name in WORDED}


def _in_seconds(
    apart: dict[str, Reals], known: dict[str, Reals], driven: CornerMetrics
) -> dict[str, Reals]:
    """Positive where time should be lost: sooner on the brake, later on the throttle, slower
    through the bend.
    """
    slowest = 1 / known["slowest_mps"]
    before, behind = slowest - 1 / known["approach_mps"], slowest - 1 / known["leaving_mps"]
    bend_m = np.array([corner.exit_m - corner.entry_m for corner in driven.corners])
    sooner = {f"{name}_s": -apart[f"{name}_m"] * before for name in ("brake", "lift", "release")}
    later = {f"{name}_s": apart[f"{name}_m"] * behind for name in ("throttle", "full_throttle")}
    slower = bend_m * (1 / (known["slowest_mps"] + apart["min_speed_kmh"] / 3.6) - slowest)
    return sooner | later | {"bend_s": slower}


def _used(driven: CornerMetrics, reference: int, others: np.ndarray) -> dict[str, Reals]:
    done = {"braked": np.isfinite(driven["brake_m"]), "lifted": np.isfinite(driven["lift_m"])}
    hard = np.nan_to_num(driven["brake_most"])
    used = {name: values.astype(float) for name, values in done.items()} | {"brake_most": hard}
    return {name: (values - values[reference])[others] for name, values in used.items()}
