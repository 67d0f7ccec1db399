"""``python -m tests.game_emulators``: a game to play by hand, or to be played by a test."""

import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

import click

from ingest.collectors.simulator.circuit import CIRCUITS
from tests.game_emulators.ac import STEERING, AcPages
from tests.game_emulators.acc import AccPages
from tests.game_emulators.announcements import Announcements
from tests.game_emulators.broadcast import Broadcasting
from tests.game_emulators.game import COMMANDS, Game, Outlet, play
from tests.game_emulators.ledger import Ledger
from tests.game_emulators.memory import Pages, SharedMemory, Tearing
from tests.game_emulators.outing import Outing, recorded, simulated
from tests.game_emulators.playing import Playing
from tests.game_emulators.remote import RemoteTelemetry
from tests.game_emulators.wire import Weather, Wire

_SHARE = click.FloatRange(0, 1)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_TO_TYPE = "\b\nType while it plays:\n" + "\n".join(
    f"  {what:28}{why}" for what, why in COMMANDS.items()
)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def add(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return add


_drive_options = _options(
    click.option(
        "--file",
        "files",
        multiple=True,
        type=_FILE,
        help=(
            "A recorded session, Parquet or CSV; more are the sessions after it. Without one, a"
            " simulated car drives for ever."
        ),
    ),
    click.option(
        "--circuit", default="aldermoor", show_default=True, type=click.Choice(tuple(CIRCUITS))
    ),
    click.option(
        "--seed",
        default=1,
        show_default=True,
        help="Of the simulated car, and of all that goes wrong.",
    ),
    click.option("--speed", default=1.0, show_default=True, help="Times real time."),
    click.option("--loop", is_flag=True, help="After the last file, the first again."),
    click.option(
        "--load",
        "load_s",
        default=1.0,
        show_default=True,
        help="Seconds until a session is loaded.",
    ),
    click.option(
        "--cars", default=1, show_default=True, type=click.IntRange(1, 60), help="On the track."
    ),
    click.option(
        "--type",
        "session_type",
        default=0,
        show_default=True,
        help="0 practice, 1 qualifying, 2 race.",
    ),
    click.option(
        "--ledger",
        "ledger_path",
        type=click.Path(path_type=Path),
        help="A file to note in what was written.",
    ),
)
_memory_options = _options(
    click.option(
        "--folder",
        default="/dev/shm",
        show_default=True,
        type=_FOLDER,
        help="Where the pages are made.",
    ),
    click.option(
        "--graphics-hz",
        default=60.0,
        show_default=True,
        help="Writes of the graphics page a second.",
    ),
    click.option(
        "--torn",
        default=0.0,
        show_default=True,
        type=_SHARE,
        help="Share of writes made in pieces.",
    ),
    click.option(
        "--torn-pause", default=0.0005, show_default=True, help="Seconds between the pieces."
    ),
    click.option("--id-last", is_flag=True, help="Pieces: packetId after the rest, not before it."),
)
_weather_options = _options(
    click.option(
        "--loss",
        default=0.0,
        show_default=True,
        type=_SHARE,
        help="Share of datagrams lost, both ways.",
    ),
    click.option(
        "--doubling", default=0.0, show_default=True, type=_SHARE, help="Share that arrive twice."
    ),
    click.option(
        "--reordering",
        default=0.0,
        show_default=True,
        type=_SHARE,
        help="Share that the next overtakes.",
    ),
    click.option(
        "--garbage",
        default=0.0,
        show_default=True,
        type=_SHARE,
        help="Spoilt ones beside each good one.",
    ),
)


@click.group(epilog=_TO_TYPE)
def main() -> None:
    """Play a game byte for byte, for a collector to follow. Ctrl-C ends it."""


@main.command(epilog=_TO_TYPE)
@_drive_options
@_memory_options
@_weather_options
@click.option("--physics-hz", default=400.0, show_default=True, help="Physics steps a second.")
@click.option(
    "--broadcast-port",
    "port",
    default=0,
    show_default=True,
    help="9000 is customary, 0 is a free one.",
)
@click.option(
    "--password", default="asd", show_default=True, help="That a client of broadcasting must know."
)
@click.option(
    "--command-password",
    default="commands",
    show_default=True,
    help="Without it, a client only reads.",
)
@click.option(
    "--client-timeout",
    type=float,
    help="Seconds until a silent client is forgotten; without it, never.",
)
def acc(**options: Any) -> None:
    """Assetto Corsa Competizione: shared memory, and broadcasting over UDP."""
    playing, ledger = _playing(**options), Ledger(options["ledger_path"])
    cars, session_type = options["cars"], options["session_type"]
    player = cars // 2  # never the first of several
    pages = AccPages(cars=cars, player=player, session_type=session_type)
    wire = _wire(**options)
    broadcasting = Broadcasting(
        wire,
        playing,
        ledger,
        password=options["password"],
        command_password=options["command_password"],
        announcements=Announcements(playing, cars=cars, player=player, session_type=session_type),
        timeout_s=options["client_timeout"],
    )
    click.echo(f"broadcasting: 127.0.0.1:{wire.port}")
    _play(playing, [broadcasting, _memory(pages, playing, ledger, **options)])


@main.command(epilog=_TO_TYPE)
@_drive_options
@_memory_options
@_weather_options
@click.option("--physics-hz", default=333.0, show_default=True, help="Physics steps a second.")
@click.option(
    "--port",
    default=0,
    show_default=True,
    help="Of the remote telemetry; the game's is 9996, 0 a free one.",
)
@click.option("--rate", "rate_hz", default=60.0, show_default=True, help="Car infos a second.")
@click.option(
    "--lock",
    "lock_deg",
    default=450.0,
    show_default=True,
    help="How far the wheel turns to each side.",
)
@click.option(
    "--steering",
    default=STEERING[0],
    show_default=True,
    type=click.Choice(STEERING),
    help="In shared memory.",
)
def ac(**options: Any) -> None:
    """Assetto Corsa: remote telemetry over UDP, and shared memory."""
    playing, ledger = _playing(**options), Ledger(options["ledger_path"])
    lock_deg, cars = options["lock_deg"], options["cars"]
    pages = AcPages(
        cars=cars,
        session_type=options["session_type"],
        steering=options["steering"],
        lock_deg=lock_deg,
    )
    wire = _wire(**options)
    remote = RemoteTelemetry(
        wire, playing, ledger, rate_hz=options["rate_hz"], lock_deg=lock_deg, cars=cars
    )
    click.echo(f"remote telemetry: 127.0.0.1:{wire.port}")
    _play(playing, [remote, _memory(pages, playing, ledger, **options)])


def _playing(**options: Any) -> Playing:
    return Playing(_outings(**options), speed=options["speed"], load_s=options["load_s"])


def _outings(
    *, files: tuple[Path, ...], circuit: str, seed: int, loop: bool, **_: Any
) -> Iterator[Outing]:
    if not files:
        return (simulated(circuit, seed=one) for one in count(seed))
    outings = [recorded(file) for file in files]
    return cycle(outings) if loop else iter(outings)


def _memory(pages: Pages, playing: Playing, ledger: Ledger, **options: Any) -> SharedMemory:
    click.echo(f"shared memory: {options['folder']}")
    return SharedMemory(
        options["folder"],
        pages,
        playing,
        ledger,
        physics_hz=options["physics_hz"],
        graphics_hz=options["graphics_hz"],
        tearing=Tearing(options["torn"], options["torn_pause"], not options["id_last"]),
        seed=options["seed"],
    )


def _wire(
    port: int,
    *,
    loss: float,
    doubling: float,
    reordering: float,
    garbage: float,
    seed: int,
    **_: Any,
) -> Wire:
    return Wire(port, Weather(loss, doubling, reordering, garbage), seed=seed)


def _play(playing: Playing, outlets: list[Outlet]) -> None:
    commands: queue.Queue[str] = queue.Queue()
    stop = threading.Event()
    for ends in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ends, lambda *_: stop.set())
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()
    click.echo("playing")
    play(Game(playing, outlets), commands, stop, done=click.echo, dies=True)


def _listen(commands: "queue.Queue[str]") -> None:
    for line in sys.stdin:
        if line.strip():
            commands.put(line.strip())


if __name__ == "__main__":
    main(prog_name="python -m tests.game_emulators")
