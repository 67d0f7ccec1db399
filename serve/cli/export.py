"""Exports a stored session, or one lap of it, to a file for other programs: ``purple-sector
export``.
"""

from pathlib import Path

import click

from ingest.errors import PurpleSectorError
from ingest.settings import DatabaseSettings


@click.command()
@click.argument("session")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--lap", "lap_number", type=click.IntRange(0), help="Only this lap.")
def export(session: str, file: Path, lap_number: int | None) -> None:
    """Write SESSION, by its key, into FILE, whose suffix is the format.

    .parquet, .arrow and .csv can be replayed and opened again. .ld is for MoTeC i2, with the laps
    in an .ldx file in the same folder. `purple-sector status` lists the last sessions.
    """
    import analytics
    from analytics.errors import ExportError, NoLap, NoSession
    from serve.store_errors import translate_database_errors

    settings = DatabaseSettings.read()
    try:
        with (
            translate_database_errors(settings.address),
            analytics.connect(settings.url.get_secret_value()) as catalog,
        ):
            drive = catalog.sessions[session]
            what = drive if lap_number is None else drive.laps.numbered(lap_number).only()
            what.export(file)
    except NoSession as error:
        unknown = (
            f"session {session!r} is not in the store; purple-sector status lists the last ones"
        )
        raise PurpleSectorError(unknown) from error
    except NoLap as error:
        raise PurpleSectorError(
            f"session {session!r} has no finished lap {lap_number}; the page lists its laps"
        ) from error
    except (ExportError, OSError) as error:
        raise PurpleSectorError(str(error)) from error
    click.echo(f"{file}: {drive.title}")
