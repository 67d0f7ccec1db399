"""Sets up a game PC from the command line: ``purple-sector collect init`` and ``doctor``."""

import getpass
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
from pydantic import SecretStr

from ingest.collectors.spool.folder import SpoolFolder
from ingest.errors import PurpleSectorError, SettingsError
from ingest.settings import CollectorSettings, KafkaSettings
from serve.game_pc.autostart import (
    GAMES,
    SETTINGS,
    Platform,
    how_to_start,
    service_name,
    service_text,
    settings_text,
    write_new,
)
from serve.game_pc.doctor import Finding, Level, check_broker, check_disk, check_game, check_spool
from serve.game_pc.follow import open_game

_PASSWORD = "KAFKA_SECURITY_PASSWORD"
_COLOURS: dict[Level, str] = {"ok": "green", "warning": "yellow", "error": "red"}


@click.command()
@click.option("--user", help="Who drives: letters, digits and ._-")
@click.option("--brokers", help="Where the frames go: host:port[,host:port...]")
@click.option("--username", default="", help="The broker's name for you, where it asks for one.")
@click.option(
    "--ca",
    "ca_file",
    default="",
    help="File with the authority that signed the broker's certificate.",
)
@click.option("--topic-per-user", is_flag=True, help="Every user has a topic of its own.")
@click.option(
    "--service",
    "game",
    type=click.Choice(tuple(GAMES)),
    help="Write what starts its collector with your session.",
)
@click.option(
    "--folder",
    default=".",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where.  [this folder]",
)
@click.option("--force", is_flag=True, help="Write over what is there.")
def init(
    user: str | None,
    brokers: str | None,
    username: str,
    ca_file: str,
    topic_per_user: bool,
    game: str | None,
    folder: Path,
    force: bool,
) -> None:
    """Write the settings of this PC to .env, and a file that starts a collector with your session.

    Prompts for missing options. The password comes from a prompt or from KAFKA_SECURITY_PASSWORD:
    on a command line others could read it.
    """
    folder = folder.absolute()
    settings = folder / SETTINGS
    if force or not settings.exists() or game is None:
        kafka = {
            "brokers": brokers or click.prompt("Brokers, host:port"),
            "ca_file": ca_file,
            "topic_per_user": topic_per_user,
        }
        collector = CollectorSettings.read(user_id=user or click.prompt("Who drives"))
        text = settings_text(
            KafkaSettings.read(**kafka, **_identity(username, secured=bool(ca_file))), collector
        )
        write_new(settings, text, force=force, mode=0o600)
        click.echo(
            f"{settings}: what is in it, you can change; purple-sector collect doctor tries it"
        )
    if game is not None:
        _write_service(game, folder, force=force)


def _identity(username: str, *, secured: bool) -> dict[str, object]:
    if not username:
        return {
            "security_protocol": "SSL" if secured else "PLAINTEXT",
            "username": "",
            "password": SecretStr(""),
        }
    password = os.environ.get(_PASSWORD) or click.prompt("Password", hide_input=True)
    return {"security_protocol": "SASL_SSL", "username": username, "password": SecretStr(password)}


def _write_service(game: str, folder: Path, *, force: bool) -> None:
    platform = _platform()
    file = folder / service_name(game, platform=platform)
    python = _python(platform)
    log_file = folder / f"collect-{game}.log"
    account = "\\".join(filter(None, (os.environ.get("USERDOMAIN"), getpass.getuser())))
    text = service_text(
        game, platform=platform, python=python, folder=folder, log_file=log_file, account=account
    )
    # Windows reads its task files as UTF-16.
    write_new(file, text, force=force, encoding="utf-8" if platform == "linux" else "utf-16")
    how = how_to_start(file, game, platform=platform)
    click.echo(f"{file}: to start it with your session, type once\n  {how}")


def _python(platform: Platform) -> Path:
    python = Path(sys.executable)
    return python.with_name("pythonw.exe") if platform == "win32" else python  # without a window


def _platform() -> Platform:
    for platform in get_args(Platform):
        if sys.platform == platform:
            return platform  # type: ignore[no-any-return]
    raise PurpleSectorError(
        f"there is nothing here that starts a collector on {sys.platform}; start it by hand"
    )


@click.command()
@click.argument("games", nargs=-1, type=click.Choice(tuple(GAMES)))
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def doctor(games: tuple[str, ...], as_json: bool) -> None:
    """Check everything that collecting needs, and print advice: game, broker, clock and disk.

    Checks both GAMES where none is named. Exit code 1 if there is an error.
    """
    findings: list[Finding] = []
    for finding in _findings(games or tuple(GAMES)):
        findings.append(finding)
        if not as_json:
            _print_line(finding)
    if as_json:
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    if any(finding.level == "error" for finding in findings):
        sys.exit(1)


def _findings(games: tuple[str, ...]) -> Iterator[Finding]:
    try:
        kafka, collector = KafkaSettings.read(), CollectorSettings.read()
    except SettingsError as wrong:
        yield _wrong_setting(wrong)
        return
    yield Finding("settings", "ok", f"{collector.user_id} drives, frames go to {kafka.brokers}")
    for name in games:
        yield from _game_findings(name)
    yield from check_broker(kafka, collector)
    yield from _spool_findings(collector)


def _spool_findings(collector: CollectorSettings) -> Iterator[Finding]:
    try:
        spool = SpoolFolder.of(collector, os.environ)
    except SettingsError as wrong:
        yield _wrong_setting(wrong)
        return
    yield from check_disk(spool.path)
    yield check_spool(spool)


def _game_findings(name: str) -> Iterator[Finding]:
    try:
        game = open_game(name)
    except SettingsError as wrong:
        yield _wrong_setting(wrong)
        return
    try:
        yield from check_game(game, GAMES[name])
    finally:
        game.close()


def _wrong_setting(wrong: SettingsError) -> Finding:
    return Finding("settings", "error", str(wrong), "correct it in .env, or in the environment")


def _print_line(finding: Finding) -> None:
    click.echo(
        f"{click.style(f'{finding.level:7}', fg=_COLOURS[finding.level])}  {finding.check:8} "
        f" {finding.seen}"
    )
    if finding.to_do:
        click.echo(f"{'':19}→ {finding.to_do}")
