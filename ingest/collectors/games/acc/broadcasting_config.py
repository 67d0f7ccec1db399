"""Where ACC's broadcasting server is and what opens it: from the settings, and where they say nothing, from the game's own file.

The game reads `broadcasting.json` when it starts and writes it again when it ends, so it is only read here.
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
_STEAM_ROOTS = (".steam/steam", ".local/share/Steam", ".var/app/com.valvesoftware.Steam/.local/share/Steam")


@dataclass(frozen=True, slots=True)
class BroadcastingConfig:
    """What the file says. Port 0: broadcasting is off."""

    port: int
    password: str = field(repr=False)


class BroadcastingConfigReader:
    """Finds it anew at each call: a player may turn broadcasting on while the collector runs."""

    def __init__(self, settings: AccSettings, complaints: AnomalyCounts, *, home: Path | None = None) -> None:
        self._settings, self._complaints = settings, complaints
        self._home = home or Path.home()

    def find(self) -> Access | None:
        """None where broadcasting is off, which is said once."""
        config = self._config()
        port = self._settings.broadcast_port or (config.port if config else _CUSTOMARY_PORT)
        if port == 0:
            self._complaints.add(
                "broadcasting is off", "with the game closed, set updListenerPort in broadcasting.json to 9000"
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
                # Without the file's words: one of them is a password.
                self._complaints.add("broadcasting.json cannot be used", f"{path}: {type(wrong).__name__}")
        return None

    def _candidates(self) -> Iterable[Path]:
        if self._settings.broadcasting_json:
            return [Path(self._settings.broadcasting_json)]
        return [folder / _FILE for folder in documents_folders(self._home)]


def read_config(raw: bytes) -> BroadcastingConfig:
    """The game's file: UTF-16 without a mark as the game writes it, or as an editor has left it. Raises ValueError."""
    match json.loads(_decoded(raw)):
        # "upd": the game has it misspelt, and knows no other way.
        case {"updListenerPort": int(port), "connectionPassword": str(password)} if 0 <= port <= 65535:
            return BroadcastingConfig(port, password)
    raise ValueError("want an object with updListenerPort and connectionPassword")


def documents_folders(home: Path) -> list[Path]:
    """Where this player's documents may be; under Proton there is one for each of Steam's libraries."""
    if sys.platform == "win32":
        return [_windows_documents() or home / "Documents"]
    prefix = Path("steamapps", "compatdata", _STEAM_APP, "pfx", "drive_c", "users", "steamuser", "Documents")
    roots = [home / root for root in _STEAM_ROOTS]
    return [library / prefix for root in roots for library in [root, *_other_libraries(root)]]


def _other_libraries(root: Path) -> list[Path]:
    try:
        listed = (root / "steamapps" / "libraryfolders.vdf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [Path(path) for path in re.findall(r'"path"\s+"([^"]+)"', listed)]


def _decoded(raw: bytes) -> str:
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16")
    return raw.decode("utf-16-le" if raw[1:2] == b"\0" else "utf-8-sig")


def _windows_documents() -> Path | None:
    """Which a player may have moved, and OneDrive does."""
    if sys.platform != "win32":
        return None
    personal, longest = 5, 260
    path = ctypes.create_unicode_buffer(longest)
    failed = ctypes.windll.shell32.SHGetFolderPathW(None, personal, None, 0, path)
    return None if failed else Path(path.value)
