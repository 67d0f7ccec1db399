"""Finds the address and password of ACC's broadcasting server: in the settings, or else in the
game's own file.

The game reads `broadcasting.json` when it starts and writes it again when it ends. So the file is
only read here.
"""

import ctypes
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ingest.collectors.games.acc.registration import Access
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.settings import AccSettings

_FILE = Path("Assetto Corsa Competizione", "Config", "broadcasting.json")
_CUSTOMARY_PORT = 9000
_STEAM_APP = "805550"
_STEAM_ROOTS = (
    ".steam/steam",
    ".local/share/Steam",
    ".var/app/com.valvesoftware.Steam/.local/share/Steam",
)


@dataclass(frozen=True, slots=True)
class BroadcastingConfig:
    """The port and password in the game's file. Port 0 means that broadcasting is off."""

    port: int
    password: str = field(repr=False)


class BroadcastingConfigReader:
    """Reads the configuration again at each call: a player may turn broadcasting on while the
    collector runs.
    """

    def __init__(
        self, settings: AccSettings, complaints: AnomalyCounts, *, home: Path | None = None
    ) -> None:
        self._settings, self._complaints = settings, complaints
        self._home = home or Path.home()

    def find(self) -> Access | None:
        """Return the access to the server; None where broadcasting is off, which is logged once."""
        config = self._config()
        port = self._settings.broadcast_port or (config.port if config else _CUSTOMARY_PORT)
        if port == 0:
            self._complaints.add(
                "broadcasting is off",
                "with the game closed, set updListenerPort in broadcasting.json to 9000",
            )
            return None
        password = self._settings.password.get_secret_value() or (config.password if config else "")
        return Access(self._settings.host, port, self._settings.display_name, password)

    def _config(self) -> BroadcastingConfig | None:
        for path in self._candidates():
            try:
                return read_config(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as wrong:
                # The log leaves out the file's text, because it contains a password.
                self._complaints.add(
                    "broadcasting.json cannot be used", f"{path}: {type(wrong).__name__}"
                )
        return None

    def _candidates(self) -> Iterable[Path]:
        if self._settings.broadcasting_json:
            return [Path(self._settings.broadcasting_json)]
        return [folder / _FILE for folder in documents_folders(self._home)]


def read_config(raw: bytes) -> BroadcastingConfig:
    """Return the configuration in the game's file. Raises ValueError.

    The game writes UTF-16 without a byte order mark; an editor may have saved the file differently.
    """
    match json.loads(_decoded(raw)):
        # "upd": the game misspells the key, and accepts no other spelling.
        case {"updListenerPort": int(port), "connectionPassword": str(password)} if (
            0 <= port <= 65535
        ):
            return BroadcastingConfig(port, password)
    raise ValueError("want an object with updListenerPort and connectionPassword")


def documents_folders(home: Path) -> list[Path]:
    """Return the possible documents folders of this player; under Proton there is one for each
    Steam library.
    """
    if sys.platform == "win32":
        return [_windows_documents() or home / "Documents"]
    prefix = Path(
        "steamapps", "compatdata", _STEAM_APP, "pfx", "drive_c", "users", "steamuser", "Documents"
    )
    roots = [home / root for root in _STEAM_ROOTS]
    return [library / prefix for root in roots for library in [root, *_other_libraries(root)]]


def _other_libraries(root: Path) -> list[Path]:
    try:
        listed = (root / "steamapps" / "libraryfolders.vdf").read_text(
            encoding="utf-8", errors="replace"
        )
    except OSError:
        return []
    return [Path(path) for path in re.findall(r'"path"\s+"([^"]+)"', listed)]


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    return raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-8-sig")


def _windows_documents() -> Path | None:
    """Return the documents folder of Windows, which a player may have moved, and OneDrive does
    move.
    """
    if sys.platform != "win32":
        return None
    personal, longest = 5, 260
    path = ctypes.create_unicode_buffer(longest)
    failed = ctypes.windll.shell32.SHGetFolderPathW(None, personal, None, 0, path)
    return None if failed else Path(path.value)
