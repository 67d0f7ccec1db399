"""Where ACC's broadcasting server is: settings first, then the game's own file, wherever a player
has it.
"""

import json
import sys

import pytest

from ingest.collectors.games.acc.broadcasting_config import (
    BroadcastingConfig,
    BroadcastingConfigReader,
    documents_folders,
    read_config,
)
from ingest.collectors.games.anomalies import AnomalyCounts
from ingest.settings import AccSettings

GAMES_OWN = {"updListenerPort": 9232, "connectionPassword": "geheim", "commandPassword": "c"}
IN_DOCUMENTS = "Assetto Corsa Competizione/Config/broadcasting.json"
PREFIX = "steamapps/compatdata/805550/pfx/drive_c/users/steamuser/Documents"


@pytest.fixture
def complaints():
    return AnomalyCounts("test")


def find(complaints, tmp_path, **given):
    return BroadcastingConfigReader(
        AccSettings.read(_env_file=None, **given), complaints, home=tmp_path
    ).find()


def put(folder, content):
    path = folder / IN_DOCUMENTS
    path.parent.mkdir(parents=True)
    path.write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode("utf-16-le")
    )
    return path


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16", "utf-8", "utf-8-sig"])
def test_the_file_is_read_as_the_game_or_an_editor_left_it(encoding):
    assert read_config(json.dumps(GAMES_OWN, indent=4).encode(encoding)) == BroadcastingConfig(
        9232, "geheim"
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        b'{"updListenerPort": 9000}',
        b'{"udpListenerPort": 9000, "connectionPassword": ""}',
        b'{"updListenerPort": 70000, "connectionPassword": ""}',
        b'{"updListenerPort": "9000", "connectionPassword": ""}',
        b'{"updListenerPort": 9000, "connectionPassword": 5}',
    ],
)
def test_a_file_that_is_wrong_is_refused(raw):
    with pytest.raises(ValueError):  # noqa: PT011 - whichever codec or parser refuses it
        read_config(raw)


def test_without_a_file_the_customary_port_is_tried(complaints, tmp_path):
    access = find(complaints, tmp_path)

    assert (access.host, access.port, access.password) == ("127.0.0.1", 9000, "")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no prefixes on Windows")
def test_the_file_of_a_proton_prefix_is_found(complaints, tmp_path):
    put(tmp_path / ".local/share/Steam" / PREFIX, GAMES_OWN)

    assert (find(complaints, tmp_path).port, find(complaints, tmp_path).password) == (
        9232,
        "geheim",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there are no prefixes on Windows")
def test_the_file_in_another_library_of_steam_is_found(complaints, tmp_path):
    library = tmp_path / "games"
    listed = tmp_path / ".steam/steam/steamapps/libraryfolders.vdf"
    listed.parent.mkdir(parents=True)
    listed.write_text(f'"libraryfolders"\n{{\n "1"\n {{\n  "path"\t\t"{library}"\n }}\n}}\n')
    put(library / PREFIX, GAMES_OWN)

    assert library / PREFIX in documents_folders(tmp_path)
    assert find(complaints, tmp_path).port == 9232


def test_settings_win(complaints, tmp_path):
    path = put(tmp_path, GAMES_OWN)
    access = find(
        complaints,
        tmp_path,
        broadcasting_json=str(path),
        broadcast_port=9777,
        password="other",
        host="pc",
    )

    assert (access.host, access.port, access.password) == ("pc", 9777, "other")


def test_broadcasting_that_is_off_is_reported(complaints, tmp_path):
    path = put(tmp_path, GAMES_OWN | {"updListenerPort": 0})

    assert find(complaints, tmp_path, broadcasting_json=str(path)) is None
    assert complaints.counts == {"broadcasting is off": 1}


def test_a_file_that_cannot_be_used_is_counted_and_shows_no_password(complaints, tmp_path, caplog):
    path = put(tmp_path, b'{"updListenerPort": 99999, "connectionPassword": "geheim"}')

    assert find(complaints, tmp_path, broadcasting_json=str(path)).port == 9000
    assert complaints.counts == {"broadcasting.json cannot be used": 1}
    assert "geheim" not in repr(read_config(json.dumps(GAMES_OWN).encode()))
