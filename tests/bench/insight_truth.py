"""``python -m tests.bench.insight_truth [FOLDER]``: are insights true, and how often do they speak
where there is nothing to say?

True: what is said of two simulated drivers is held against who they are (who is nearer to the car's
limits brakes and lifts later, is faster at the slowest and at the end of the straight), and against
what the two do in many more laps, which the claim has not seen. Nothing to say: the laps of one
session, a recorded one of FOLDER too, are split in two at random, again and again.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

import analytics
from analytics.catalog import Session
from analytics.comparison.consistency import representative_laps
from analytics.comparison.corner_metrics import CornerMetrics, cornering
from analytics.comparison.corners import find_corners
from analytics.comparison.insights import LEAST_LAPS, Difference, Insight, insights
from analytics.comparison.trace import Trace, traces
from ingest.collectors.simulator.driver import SimulatedDriver, driver
from tests.bench.corner_model import simulate

#: What a driver is, by the measure in which it shows: more of the one is more of the other.
SHOWS_IN = {
    "brake_m": "braking",
    "lift_m": "braking",
    "min_speed_kmh": "grip",
    "exit_speed_kmh": "grip",
}

console = Console(highlight=False, width=120)


@dataclass(frozen=True, slots=True)
class Claim:
    """That one driver does more of something than another in a corner.

    ``as_they_are``: whether he is one who does; None where no trait says so. ``later`` is the size
    of it in laps that the claim has not seen.
    """

    said: Difference
    as_they_are: bool | None
    later: float

    @property
    def right_way(self) -> bool:
        """Whether the laps that came later differ in the same direction."""
        return self.said.size * self.later > 0

    @property
    def in_interval(self) -> bool:
        """Whether their difference is one that the interval of the claim has in it."""
        return self.said.low <= self.later <= self.said.high


@dataclass(frozen=True, slots=True)
class Driven:
    """A simulated driver, the laps that insights see, and the laps that came later."""

    who: SimulatedDriver
    seen: CornerMetrics
    later: CornerMetrics


def claims(said: Iterable[Insight], ours: Driven, theirs: Driven) -> Iterator[Claim]:
    """All that is said of how two drive."""
    for insight in said:
        column = ours.later.corners.corners.index(insight.corner)
        for one in insight.driving:
            trait = SHOWS_IN.get(one.measure)
            more = getattr(ours.who, trait) > getattr(theirs.who, trait) if trait else None
            later = _median(ours.later, one.measure, column) - _median(
                theirs.later, one.measure, column
            )
            yield Claim(one, None if more is None else (one.size > 0) == more, later)


def of_pairs(drives: Sequence[Session], laps: int) -> tuple[int, int, list[Claim]]:
    """How many pairs of drivers on one track there are, of how many something is said after so many
    laps, and all claims about them.
    """
    every = traces(lap for drive in drives for lap in representative_laps(list(drive.laps)))
    corners = find_corners(every)
    driven = [
        Driven(
            driver(_seed(drive)),
            cornering([one for one in _laps_of(drive, every) if _number(one) <= laps], corners),
            cornering([one for one in _laps_of(drive, every) if _number(one) > laps], corners),
        )
        for drive in drives
    ]
    said = [(a, b, insights(a.seen, b.seen)) for a, b in combinations(driven, 2)]
    return (
        len(said),
        sum(bool(one) for _, _, one in said),
        [claim for a, b, one in said for claim in claims(one, a, b)],
    )


def spoken_of_nothing(driven: CornerMetrics, splits: int) -> int:
    """In how many of so many random splits of the same laps something is said."""
    draw = np.random.default_rng(0)
    halves = (np.array_split(draw.permutation(len(driven)), 2) for _ in range(splits))
    return sum(bool(insights(_some(driven, a), _some(driven, b))) for a, b in halves)


def long_sessions(drives: Iterable[Session]) -> Iterator[tuple[str, CornerMetrics]]:
    """Those with enough laps in earnest for two halves."""
    for drive in drives:
        laps = traces(representative_laps(list(drive.laps)))
        if len(laps) >= 2 * LEAST_LAPS:
            yield drive.key, cornering(laps, find_corners(laps))


def _laps_of(drive: Session, every: Sequence[Trace]) -> list[Trace]:
    return [trace for trace in every if trace.lap and trace.lap.session.key == drive.key]


def _number(trace: Trace) -> int:
    return trace.lap.number if trace.lap else 0


def _median(driven: CornerMetrics, measure: str, column: int) -> float:
    return float(np.nanmedian(driven[measure][:, column]))


def _some(driven: CornerMetrics, rows: np.ndarray) -> CornerMetrics:
    measures = {name: values[rows] for name, values in driven.measures.items()}
    return CornerMetrics(driven.corners, tuple(driven.laps[row] for row in rows), measures)


def _seed(drive: Session) -> int:
    return int(drive.key.rpartition("_")[2])


def _print_pairs(drives: Sequence[Session], laps: int) -> None:
    told: list[Claim] = []
    for track in sorted({drive.facts.track for drive in drives}):
        pairs, said, more = of_pairs(
            [drive for drive in drives if drive.facts.track == track], laps
        )
        console.print(f"{track}: {pairs} pairs of simulated drivers, of {said} something is said")
        told += more
    table = Table(title="what is said of them", title_justify="left")
    for column in (
        "measure",
        "claims",
        "as the drivers are",
        "later laps: the same way",
        "size within the interval",
    ):
        table.add_column(column, justify="left" if column == "measure" else "right")
    for measure in sorted({claim.said.measure for claim in told}):
        ours = [claim for claim in told if claim.said.measure == measure]
        as_they_are = (
            str(sum(bool(claim.as_they_are) for claim in ours)) if measure in SHOWS_IN else ""
        )
        held = (sum(claim.right_way for claim in ours), sum(claim.in_interval for claim in ours))
        table.add_row(measure, str(len(ours)), as_they_are, *map(str, held))
    console.print(table)


@click.command()
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
@click.option(
    "--sessions",
    default=24,
    show_default=True,
    help="How many drivers to simulate, on two tracks in turns.",
)
@click.option("--laps", default=14, show_default=True, help="Of each, that insights see.")
@click.option("--later", default=60, show_default=True, help="Laps of each that they do not see.")
@click.option("--splits", default=300, show_default=True, help="Of each session that is split.")
def main(folder: Path | None, sessions: int, laps: int, later: int, splits: int) -> None:
    """Print what was said of pairs of drivers, and how often of one driver and himself."""
    with tempfile.TemporaryDirectory() as driven:
        place = simulate(Path(driven), sessions=sessions, laps=laps + later, rate_hz=30)
        drives = list(analytics.open(place).sessions)
    _print_pairs(drives, laps)
    alone = [
        *long_sessions(drives[:4]),
        *(long_sessions(analytics.open(folder).sessions) if folder else []),
    ]
    for key, laps_driven in alone:
        said = spoken_of_nothing(laps_driven, splits)
        console.print(
            f"{key}, {len(laps_driven)} laps split at random: something said in {said} of {splits}"
        )


if __name__ == "__main__":
    main()
