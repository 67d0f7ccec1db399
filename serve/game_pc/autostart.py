"""Writes the files of `purple-sector collect init`: a game PC's settings, and the autostart of a
collector.

The autostart starts the collector with the user's session. The texts come from the templates in
this folder, and each format has its own quoting. Rule: an existing file is overwritten only on
request, and only the owner can read the settings.
"""

import os
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal
from xml.sax.saxutils import escape

from ingest.errors import PurpleSectorError, SettingsError
from ingest.settings import CollectorSettings, KafkaSettings

Platform = Literal["linux", "win32"]
GAMES = {"acc": "Assetto Corsa Competizione", "ac": "Assetto Corsa"}
SETTINGS = ".env"
_INTERPOLATED = "${"
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def settings_text(kafka: KafkaSettings, collector: CollectorSettings) -> str:
    """Return the ``.env`` of a game PC. Raises SettingsError for a value that such a file cannot
    hold.
    """
    values = {
        "user": _env("USER_ID", collector.user_id),
        "brokers": _env("KAFKA_BROKERS", kafka.brokers),
        "protocol": kafka.security_protocol,
        "username": _env("KAFKA_SECURITY_USERNAME", kafka.username),
        "password": _env("KAFKA_SECURITY_PASSWORD", kafka.password.get_secret_value()),
        "ca_file": _env("KAFKA_SECURITY_CA", kafka.ca_file),
        "topic_per_user": str(kafka.topic_per_user).lower(),
    }
    return _template("settings.env").substitute(values)


def service_text(
    game: str, *, platform: Platform, python: Path, folder: Path, log_file: Path, account: str
) -> str:
    """Return a systemd unit, or a Windows task, that starts the collector of ``game`` with its
    user's session.

    ``account`` is the user name in the form of Windows. systemd knows the user of a session.
    """
    arguments = ["-m", "serve.cli.main", "collect", game, "--log-file", str(log_file)]
    name = service_name(game, platform=platform)
    if platform == "linux":
        command = " ".join(_systemd(part) for part in (str(python), *arguments))
        values = {"command": command, "folder": str(folder).replace("%", "%%")}
        return _template("collect.service").substitute(values, game=GAMES[game], file=name)
    # Windows itself splits a command line. None of its paths may contain a quote.
    quoted = " ".join(f'"{part}"' if " " in part else part for part in arguments)
    texts = {"command": python, "arguments": quoted, "folder": folder, "account": account}
    values = {what: escape(str(text)) for what, text in texts.items()}
    return _template("collect.xml").substitute(values, game=GAMES[game], file=name, name=game)


def service_name(game: str, *, platform: Platform) -> str:
    """Return the name of the file that starts the collector of ``game``."""
    return f"purple-sector-{game}.{'service' if platform == 'linux' else 'xml'}"


def how_to_start(file: Path, game: str, *, platform: Platform) -> str:
    """Return the command that a driver types once, so that every session starts the collector."""
    if platform == "linux":
        return f'systemctl --user enable --now "{file}"'
    return f'schtasks /create /tn "Purple Sector {game}" /xml "{file}"'


def write_new(
    path: Path, text: str, *, force: bool, encoding: str = "utf-8", mode: int = 0o644
) -> None:
    """Write a new file, or with ``force`` replace the existing one. Raises PurpleSectorError."""
    if path.exists() and not force:
        raise PurpleSectorError(f"{path} is there already; --force writes a new one in its place")
    try:
        _replace(path, text, encoding=encoding, mode=mode)
    except OSError as refused:
        raise PurpleSectorError(f"{path} cannot be written: {refused.strerror}") from None


def _replace(path: Path, text: str, *, encoding: str, mode: int) -> None:
    draft = path.with_name(f"{path.name}.draft")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft.unlink(missing_ok=True)
    # The file has its mode from the first byte on, because a moment is enough to read a password.
    with os.fdopen(os.open(draft, _NEW_FILE, mode), "wb") as file:
        file.write(text.encode(encoding))
    draft.replace(path)


def _template(name: str) -> Template:
    return Template((files("serve.game_pc") / name).read_text(encoding="utf-8"))


def _env(variable: str, value: str) -> str:
    """Return the value, quoted for a ``.env`` file where needed."""
    if "\n" in value or "\r" in value or _INTERPOLATED in value:
        shown = "***" if "PASSWORD" in variable else value.splitlines()[0]
        raise SettingsError(
            variable, shown, "want no line breaks and no ${ in a file; set it in the environment"
        )
    if all(character.isalnum() or character in "._:,/\\-" for character in value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _systemd(argument: str) -> str:
    """Return the argument, quoted for ExecStart of a systemd unit where needed."""
    quoted = (
        argument.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    )
    return f'"{quoted}"' if quoted != argument or " " in argument else argument
