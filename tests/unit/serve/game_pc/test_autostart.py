"""The files that `collect init` writes say what was meant, and harm nothing that is there."""

import io
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path, PureWindowsPath

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import PurpleSectorError, SettingsError
from ingest.settings import CollectorSettings, KafkaSettings
from serve.game_pc.autostart import (
    GAMES,
    how_to_start,
    service_name,
    service_text,
    settings_text,
    write_new,
)

TASK = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
AWKWARD = Path('/srv/the driver\'s 100 % $HOME "pc"/purple')


def kafka(**more):
    return KafkaSettings(_env_file=None, brokers="kafka.example.net:9093", **more)


ANNA = CollectorSettings(_env_file=None, user_id="anna")


def written(settings):
    return dotenv_values(stream=io.StringIO(settings_text(settings, ANNA)))


def test_settings_are_read_as_they_were_given(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("KAFKA_", "USER_ID"))]:
        monkeypatch.delenv(name)
    given_ = kafka(
        security_protocol="SASL_SSL",
        username="anna",
        password="o'b\"r#i n\\",
        ca_file=r"C:\Users\Anna\ca.pem",
    )
    file = tmp_path / ".env"
    write_new(file, settings_text(given_, ANNA), force=False, mode=0o600)

    assert KafkaSettings.read(_env_file=file) == given_
    assert CollectorSettings.read(_env_file=file).user_id == "anna"


PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=20)


@given(PASSWORDS.filter(lambda text: "${" not in text))
def test_any_password_is_read_as_it_was_given(password):
    assert written(kafka(password=password))["KAFKA_SECURITY_PASSWORD"] == password


@pytest.mark.parametrize("password", ["two\nlines", "a${b}c"])
def test_what_such_a_file_cannot_hold_is_refused_without_being_shown(password):
    with pytest.raises(SettingsError, match=r"KAFKA_SECURITY_PASSWORD=\*\*\*: want no line breaks"):
        written(kafka(password=password))


def test_a_file_that_is_there_stays(tmp_path):
    file = tmp_path / ".env"
    file.write_text("USER_ID=bert\n")
    with pytest.raises(PurpleSectorError, match="is there already; --force"):
        write_new(file, "USER_ID=anna\n", force=False)

    assert file.read_text() == "USER_ID=bert\n"
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_settings_are_for_their_owner_also_where_they_were_not(tmp_path):
    file = tmp_path / ".env"
    file.write_text("")
    file.chmod(0o644)
    write_new(file, "USER_ID=anna\n", force=True, mode=0o600)

    assert file.read_text() == "USER_ID=anna\n"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(PurpleSectorError, match=r"cannot be written: "):
        write_new(tmp_path / "taken" / ".env", "", force=False)


def service(platform, *, python=Path("/usr/bin/python3"), folder=AWKWARD):
    return service_text(
        "acc",
        platform=platform,
        python=python,
        folder=folder,
        log_file=folder / "acc.log",
        account="PC\\Anna & Bert",
    )


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
@pytest.mark.parametrize("folder", [Path("/tmp"), AWKWARD], ids=["plain", "awkward"])
@pytest.mark.parametrize("scope", ["--user", "--system"])
def test_systemd_accepts_the_unit(tmp_path, folder, scope):
    unit = tmp_path / service_name("acc", platform="linux")
    unit.write_text(service("linux", python=Path(sys.executable), folder=folder))
    (tmp_path / "systemd").mkdir()
    checked = subprocess.run(
        ["systemd-analyze", scope, "verify", str(unit)],
        env=os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def test_the_unit_states_what_is_run_where():
    lines = service("linux").splitlines()

    assert 'WorkingDirectory=/srv/the driver\'s 100 %% $HOME "pc"/purple' in lines
    (command,) = [line for line in lines if line.startswith("ExecStart=")]
    assert (
        command == "ExecStart=/usr/bin/python3 -m serve.cli.main collect acc --log-file"
        ' "/srv/the driver\'s 100 %% $$HOME \\"pc\\"/purple/acc.log"'
    )


def test_the_task_states_what_is_run_where():
    folder = PureWindowsPath(r"C:\Users\Anna & Bert\purple")
    text = service("win32", python=PureWindowsPath(r"C:\Python 3\pythonw.exe"), folder=folder)
    task = ET.fromstring(text.encode("utf-16"))
    run = task.find(f"{TASK}Actions/{TASK}Exec")

    assert {element.tag.removeprefix(TASK): element.text for element in run} == {
        "Command": r"C:\Python 3\pythonw.exe",
        "Arguments": (
            r'-m serve.cli.main collect acc --log-file "C:\Users\Anna & Bert\purple\acc.log"'
        ),
        "WorkingDirectory": r"C:\Users\Anna & Bert\purple",
    }
    assert task.findtext(f"{TASK}Principals/{TASK}Principal/{TASK}UserId") == "PC\\Anna & Bert"


# What Microsoft's description of the schema allows below each element, as far as the task uses it.
SCHEMA = {
    "Task": {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"},
    "RegistrationInfo": {
        "URI",
        "SecurityDescriptor",
        "Source",
        "Date",
        "Author",
        "Version",
        "Description",
    },
    "Triggers": {
        "BootTrigger",
        "RegistrationTrigger",
        "IdleTrigger",
        "TimeTrigger",
        "EventTrigger",
        "LogonTrigger",
    },
    "LogonTrigger": {
        "Enabled",
        "StartBoundary",
        "EndBoundary",
        "Repetition",
        "ExecutionTimeLimit",
        "UserId",
        "Delay",
    },
    "Principals": {"Principal"},
    "Principal": {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"},
    "Settings": {
        *(
            "AllowStartOnDemand",
            "RestartOnFailure",
            "MultipleInstancesPolicy",
            "DisallowStartIfOnBatteries",
        ),
        *(
            "StopIfGoingOnBatteries",
            "AllowHardTerminate",
            "StartWhenAvailable",
            "NetworkProfileName",
        ),
        *(
            "RunOnlyIfNetworkAvailable",
            "WakeToRun",
            "Enabled",
            "Hidden",
            "DeleteExpiredTaskAfter",
            "IdleSettings",
        ),
        *("NetworkSettings", "ExecutionTimeLimit", "Priority", "RunOnlyIfIdle"),
    },
    "RestartOnFailure": {"Interval", "Count"},
    "Actions": {"Exec", "ComHandler", "SendEmail", "ShowMessage"},
    "Exec": {"Command", "Arguments", "WorkingDirectory"},
}
# A logon trigger is a sequence: what all triggers have, then what is its own.
SEQUENCES = {
    "LogonTrigger": [
        "Enabled",
        "StartBoundary",
        "EndBoundary",
        "Repetition",
        "ExecutionTimeLimit",
        "UserId",
    ]
}


def test_the_task_keeps_to_its_schema():
    """As far as it can be held to it without Windows."""
    task = ET.fromstring(service("win32").encode("utf-16"))
    for parent in task.iter():
        names = [child.tag.removeprefix(TASK) for child in parent]
        name = parent.tag.removeprefix(TASK)
        assert set(names) <= SCHEMA.get(name, set())
        assert len(set(names)) == len(names)
        order = SEQUENCES.get(name, names)
        assert names == sorted(names, key=order.index)
    # Their least and most: a minute, and a byte.
    assert task.findtext(f".//{TASK}RestartOnFailure/{TASK}Interval") == "PT1M"
    assert 1 <= int(task.findtext(f".//{TASK}RestartOnFailure/{TASK}Count")) <= 255
    assert task.find(f"{TASK}Actions").get("Context") == task.find(f".//{TASK}Principal").get("id")


@pytest.mark.parametrize("game", GAMES)
def test_a_driver_is_reported_what_to_type(game):
    file = Path("/srv") / service_name(game, platform="linux")
    assert (
        how_to_start(file, game, platform="linux")
        == f'systemctl --user enable --now "/srv/purple-sector-{game}.service"'
    )
    assert f'/tn "Purple Sector {game}"' in how_to_start(file, game, platform="win32")
