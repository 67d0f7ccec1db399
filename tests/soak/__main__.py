"""``python -m tests.soak``: kills every kind of process of the system in turn, and audits the
store. See docs/soak.md.

Exit code 1 where anything was lost, stored twice or out of order, did not recover or was never
killed.
"""

import shutil
import signal
import sys
from contextlib import closing
from pathlib import Path
from types import FrameType

import click

from serve.cli.tables import print_table
from tests.soak import store
from tests.soak.audit import judge, violations
from tests.soak.cars import given, taken
from tests.soak.kinds import Kind
from tests.soak.report import audit_line, kinds_table
from tests.soak.storm import Plan, Storm

_ALL = ",".join(Kind)


def _kinds(_: click.Context, __: click.Parameter, value: str) -> tuple[Kind, ...]:
    try:
        return tuple(Kind(name.strip()) for name in value.split(","))
    except ValueError as wrong:
        raise click.BadParameter(f"{wrong}; the kinds are {_ALL}") from None


@click.command()
@click.option(
    "--minutes",
    default=30.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="How long it kills.",
)
@click.option("--seed", default=1, show_default=True, help="The same seed kills in the same order.")
@click.option("--resume", is_flag=True, help="Go on from the ledger of this seed.")
@click.option(
    "--kinds", default=_ALL, show_default=True, callback=_kinds, help="What is killed, with commas."
)
@click.option(
    "--cars",
    default=2,
    show_default=True,
    type=click.IntRange(1, 20),
    help="Collectors, with a car each.",
)
@click.option(
    "--patience",
    "patience_s",
    default=300.0,
    show_default=True,
    help="Seconds that a recovery may take.",
)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="Ledger and data.  [build/soak/SEED]"
)
def main(
    minutes: float,
    seed: int,
    resume: bool,
    kinds: tuple[Kind, ...],
    cars: int,
    patience_s: float,
    folder: Path | None,
) -> None:
    """Kill processes of a system of its own, in an order that the seed chooses; then audit the
    store.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    place = (folder or Path("build/soak") / str(seed)).resolve()
    _prepare(place, resume=resume)
    plan = Plan(seed, kinds, minutes, patience_s)
    with closing(Storm(place, plan, cars, click.echo)) as storm:
        wrong = _run(storm, plan)
        wrong += [f"stopped, the system left {process} behind" for process in _stop(storm)]
    for sentence in wrong:
        click.echo(f"violation: {sentence}")
    sys.exit(1 if wrong else 0)


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _prepare(place: Path, *, resume: bool) -> None:
    """Make an empty folder, or leave the one that a storm is resumed from."""
    there = (place / "ledger.jsonl").exists()
    if resume and not there:
        raise click.UsageError(f"{place} has no ledger to resume from")
    if place.exists() and not there and any(place.iterdir()):
        raise click.UsageError(f"{place} is not empty and has no ledger; name another folder")
    if there and not resume:
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)


def _run(storm: Storm, plan: Plan) -> list[str]:
    storm.start()
    click.echo("the system runs, cars drive")
    storm.run()
    storm.settle()
    running = storm.system.running
    acknowledged, driven = taken(storm.cars), given(storm.cars)
    stored = store.read(running.database_url, driven) if running else {}
    verdicts = judge(acknowledged, driven, stored)
    click.echo("")
    print_table(kinds_table(plan.kinds, storm.ledger.kills))
    click.echo("\n" + audit_line(verdicts, sum(session.laps for session in stored.values())))
    return violations(plan.kinds, storm.ledger.kills, verdicts)


def _stop(storm: Storm) -> list[str]:
    return storm.system.stop()


if __name__ == "__main__":
    main()
