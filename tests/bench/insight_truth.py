"""``python -m tests.bench.insight_truth [FOLDER]``: are insights true, and how often do they speak where there is nothing to say?

True: simulated drivers are who they are. Who uses more of the brakes' limit brakes later, who uses more of the grip is faster in
the middle of a corner; every claim about two of them is held against that. Nothing to say: the laps of one session, a recorded one
of FOLDER too, are split in two at random, again and again.
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
from analytics.consistency import in_earnest
from analytics.cornering import Cornering, cornering
from analytics.corners import find_corners
from analytics.garage import Drive
from analytics.insights import LEAST_LAPS, Insight, insights
from analytics.trace import Trace, traces
from ingest.collectors.driver import Driver, driver
from tests.bench.corner_model import simulate

#: What a driver is, by the measure in which it shows: more of the one is more of the other.
SHOWS_IN = {"brake_m": "braking", "min_speed_kmh": "grip"}

console = Console(highlight=False, width=120)


@dataclass(frozen=True, slots=True)
class Claim:
    """That one driver does more of something than another in a corner, and whether he is one who does."""

    measure: str
    is_true: bool


def claims(said: Iterable[Insight], ours: Driver, theirs: Driver) -> Iterator[Claim]:
    """Those of which the drivers tell the truth."""
    for difference in (one for insight in said for one in insight.driving):
        if trait := SHOWS_IN.get(difference.measure):
            more = getattr(ours, trait) > getattr(theirs, trait)
            yield Claim(difference.measure, (difference.size > 0) == more)


def of_pairs(drives: Sequence[Drive]) -> tuple[int, int, list[Claim]]:
    """How many pairs of drivers on one track there are, of how many something is said, and all claims about them."""
    every = traces(lap for drive in drives for lap in in_earnest(list(drive.laps)))
    corners = find_corners(every)
    driven = {_seed(drive): cornering(_laps_of(drive, every), corners) for drive in drives}
    said = {(a, b): insights(driven[a], driven[b]) for a, b in combinations(driven, 2)}
    told = [claim for (a, b), one in said.items() for claim in claims(one, driver(a), driver(b))]
    return len(said), sum(map(bool, said.values())), told


def spoken_of_nothing(driven: Cornering, splits: int) -> int:
    """In how many of so many random splits of the same laps something is said."""
    draw = np.random.default_rng(0)
    halves = (np.array_split(draw.permutation(len(driven)), 2) for _ in range(splits))
    return sum(bool(insights(_some(driven, a), _some(driven, b))) for a, b in halves)


def long_sessions(drives: Iterable[Drive]) -> Iterator[tuple[str, Cornering]]:
    """Those with enough laps in earnest for two halves."""
    for drive in drives:
        laps = traces(in_earnest(list(drive.laps)))
        if len(laps) >= 2 * LEAST_LAPS:
            yield drive.key, cornering(laps, find_corners(laps))


def _laps_of(drive: Drive, every: Sequence[Trace]) -> list[Trace]:
    return [trace for trace in every if trace.lap and trace.lap.session.key == drive.key]


def _some(driven: Cornering, rows: np.ndarray) -> Cornering:
    measures = {name: values[rows] for name, values in driven.measures.items()}
    return Cornering(driven.corners, tuple(driven.laps[row] for row in rows), measures)


def _seed(drive: Drive) -> int:
    return int(drive.key.rpartition("_")[2])


def _print_pairs(drives: Sequence[Drive]) -> None:
    table = Table(title="pairs of simulated drivers", title_justify="left")
    for column in ("track", "pairs", "something said", "braking: claims", "true", "slowest speed: claims", "true"):
        table.add_column(column, justify="left" if column == "track" else "right")
    for track in sorted({drive.facts.track for drive in drives}):
        pairs, said, told = of_pairs([drive for drive in drives if drive.facts.track == track])
        cells = [[claim.is_true for claim in told if claim.measure == measure] for measure in SHOWS_IN]
        table.add_row(track, str(pairs), str(said), *(str(n) for one in cells for n in (len(one), sum(one))))
    console.print(table)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--sessions", default=24, show_default=True, help="How many drivers to simulate, on two tracks in turns.")
@click.option("--laps", default=14, show_default=True, help="Of each.")
@click.option("--splits", default=300, show_default=True, help="Of each session that is split.")
def main(folder: Path | None, sessions: int, laps: int, splits: int) -> None:
    """Print what was said of pairs of drivers, and how often of one driver and himself."""
    with tempfile.TemporaryDirectory() as driven:
        drives = list(analytics.open(simulate(Path(driven), sessions=sessions, laps=laps, rate_hz=30)).sessions)
    _print_pairs(drives)
    alone = [*long_sessions(drives[:4]), *(long_sessions(analytics.open(folder).sessions) if folder else [])]
    for key, laps_driven in alone:
        said = spoken_of_nothing(laps_driven, splits)
        console.print(f"{key}, {len(laps_driven)} laps split at random: something said in {said} of {splits}")


if __name__ == "__main__":
    main()
