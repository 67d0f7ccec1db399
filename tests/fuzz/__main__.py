"""``python -m tests.fuzz acc --seconds 60``: give a game's collector whatever there is, and see
that it tells nothing wrong.
"""

import importlib
import logging
import tempfile
import time
from pathlib import Path
from random import Random

import click
import structlog

# Each is a module here, with a class of that name that has step, close, inputs and summary.
GAMES = tuple(name for name in ("acc", "ac") if Path(__file__).with_name(f"{name}.py").exists())


@click.command()
@click.argument("name", type=click.Choice(GAMES))
@click.option("--seconds", default=60.0, show_default=True)
@click.option("--seed", type=int, help="Of what goes wrong; without one, another each time.")
def main(name: str, seconds: float, seed: int | None) -> None:
    """Fuzz the collector of a game."""
    seed = time.time_ns() if seed is None else seed
    click.echo(f"seed {seed}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        game = getattr(importlib.import_module(f"tests.fuzz.{name}"), name.capitalize())(
            Path(folder), Random(seed)
        )
        ends = time.monotonic() + seconds
        try:
            while time.monotonic() < ends:
                game.step()
        finally:
            game.close()
            click.echo(f"{game.inputs} inputs\n{game.summary}")


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
