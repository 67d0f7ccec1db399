"""``python -m tests.bench.corner_model [FOLDER]``: does a learned model know better than the rule
what a change is worth?

Predicts what a lap loses to the session's fastest in a corner's part of the track, from what was
driven otherwise. Every session is held out once, and all that is learnt, the rule's slope included,
is learnt from the others. FOLDER holds recordings; beside them stand simulated sessions, whose
times are exact. A model ships only if it beats the rule on both and the interval of the difference
excludes 0: sessions are what is drawn again for it, for laps of one session err alike.
"""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from analytics.model.arrays import Reals
from ingest.collectors.simulator.circuit import aldermoor_park, val_sarine
from ingest.simulated_recordings import record
from tests.bench.corner_rows import DIFFERENCES, FEATURES, IN_SECONDS, WORDED, Rows, rows_of

_RESAMPLES = 4000
# Differences below are hardly ones, and to divide by them is to learn noise.
_LEAST = {"m": 2.0, "kmh": 0.5, "s": 0.005}

#: From the sessions to learn from and those held out: the seconds that each row of the latter
#: loses.
Predict = Callable[[Rows, Rows], Reals]

console = Console(highlight=False, width=120)


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors in ms of one method: an entry for each held-out session."""

    method: str
    ms: Reals

    @property
    def mean(self) -> float:
        return float(self.ms.mean())


def nothing(learn: Rows, held_out: Rows) -> Reals:
    """A change is worth nothing."""
    return np.zeros(len(held_out))


def usual(learn: Rows, held_out: Rows) -> Reals:
    """Every lap loses in every corner what is usual."""
    return np.full(len(held_out), np.median(learn.lost_s))


def rule(learn: Rows, held_out: Rows) -> Reals:
    """One difference by its median slope: the one which is nearest in the sessions to learn
    from.
    """
    slopes = {name: _slope(learn, name) for name in (*WORDED, *IN_SECONDS)}
    off = {
        name: np.abs(learn.lost_s - slope * learn[(name,)][:, 0]).mean()
        for name, slope in slopes.items()
    }
    name = min(off, key=lambda name: float(off[name]))
    return np.asarray(slopes[name] * held_out[(name,)][:, 0])


def ridge(learn: Rows, held_out: Rows) -> Reals:
    """All differences at once, linearly; no difference, no loss."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(
        StandardScaler(with_mean=False),
        RidgeCV(alphas=np.logspace(-2, 3, 12).tolist(), fit_intercept=False),
    )
    return np.asarray(model.fit(learn[DIFFERENCES], learn.lost_s).predict(held_out[DIFFERENCES]))


def boosting(learn: Rows, held_out: Rows) -> Reals:
    """Trees on all differences and on what is known of the corner."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        loss="absolute_error",
        n_estimators=200,
        learning_rate=0.05,
        subsample=0.7,
        min_samples_leaf=8,
        random_state=0,
    )
    return np.asarray(model.fit(learn[FEATURES], learn.lost_s).predict(held_out[FEATURES]))


METHODS: Mapping[str, Predict] = {
    "nothing": nothing,
    "the usual loss": usual,
    "rule: one difference": rule,
    "ridge": ridge,
    "gradient boosting": boosting,
}
RULE, MODELS = "rule: one difference", ("ridge", "gradient boosting")


def held_out_errors(rows: Rows, method: str, predict: Predict) -> Errors:
    """Of each session, by what was learnt from all others."""
    each = []
    for session in sorted(set(rows.session)):
        out = rows.session == session
        held_out = rows.of(out)
        each.append(1000 * np.abs(predict(rows.of(~out), held_out) - held_out.lost_s).mean())
    return Errors(method, np.array(each))


def interval(per_session: Reals) -> tuple[float, float]:
    """95 % of the mean, sessions drawn again."""
    drawn = (
        np.random.default_rng(0).choice(per_session, (_RESAMPLES, len(per_session))).mean(axis=1)
    )
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return low, high


def beats(model: Errors, other: Errors) -> bool:
    """Whether the whole interval of what it is better by is above 0."""
    return interval(other.ms - model.ms)[0] > 0


def simulate(folder: Path, *, sessions: int, rate_hz: float, laps: int = 10) -> Path:
    """So many laps each of other drivers, on two tracks in turns."""
    tracks = (val_sarine(), aldermoor_park())
    started_at = datetime(2026, 5, 1, tzinfo=UTC)
    for seed in range(sessions):
        path = folder / f"driver_{seed}.parquet"
        record(path, tracks[seed % 2], seed=seed, laps=laps, started_at=started_at, rate_hz=rate_hz)
    return folder


def _slope(learn: Rows, name: str) -> float:
    apart = learn[(name,)][:, 0]
    told = np.abs(apart) >= _LEAST[name.rpartition("_")[2]]
    return float(np.median(learn.lost_s[told] / apart[told])) if told.any() else 0.0


def _compared(title: str, rows: Rows) -> dict[str, Errors]:
    errors = {name: held_out_errors(rows, name, predict) for name, predict in METHODS.items()}
    sessions = len(set(rows.session))
    table = Table(
        title=f"{title}: {sessions} sessions, {len(rows)} corners driven", title_justify="left"
    )
    for column in (
        "predicted by",
        "error, ms",
        "95 %",
        "better than the rule by, ms",
        "95 %",
        "sessions",
    ):
        table.add_column(column, justify="left" if column == "predicted by" else "right")
    for name, one in errors.items():
        better = errors[RULE].ms - one.ms
        beside = (
            ("", "", "")
            if name == RULE
            else (f"{better.mean():+.1f}", _span(better), f"{(better > 0).sum()}")
        )
        table.add_row(name, f"{one.mean:.1f}", _span(one.ms), *beside)
    console.print(table)
    return errors


def _span(per_session: Reals) -> str:
    low, high = interval(per_session)
    return f"{low:.1f} to {high:.1f}"


@click.command()
@click.argument(
    "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False
)
@click.option("--sessions", default=16, show_default=True, help="How many to simulate.")
@click.option("--rate-hz", default=30.0, show_default=True, help="Of the simulated frames.")
def main(folder: Path | None, sessions: int, rate_hz: float) -> None:
    """Print a table for the simulated sessions and one for those in FOLDER, and which models may
    ship.
    """
    with tempfile.TemporaryDirectory() as driven:
        simulated = rows_of(simulate(Path(driven), sessions=sessions, rate_hz=rate_hz))
    compared = [_compared(f"simulated at {rate_hz:.0f} Hz", simulated)]
    if folder:
        compared.append(_compared("recorded", rows_of(folder)))
    for model in MODELS:
        wins = [beats(errors[model], errors[RULE]) for errors in compared]
        verdict = (
            ("ships" if all(wins) else "does not ship")
            if folder
            else "name a FOLDER of recordings, which decide"
        )
        console.print(f"{model}: beats the rule on {sum(wins)} of {len(wins)}: {verdict}")


if __name__ == "__main__":
    main()
