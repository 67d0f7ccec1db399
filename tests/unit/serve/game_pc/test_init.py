"""``purple-sector collect init``: asks for what it needs, once, and keeps the password to
itself.
"""

import os
import sys
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner

import serve.game_pc.init
from ingest.errors import PurpleSectorError, SettingsError
from ingest.settings import CollectorSettings, KafkaSettings
from serve.cli.collect import collect


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """Nothing in the environment, and a folder of one's own."""
    for name in [name for name in os.environ if name.startswith(("KAFKA_", "USER_ID"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, typed=None):
    return CliRunner().invoke(collect, ["init", *arguments], input=typed, catch_exceptions=True)


GIVEN = ("--user", "anna", "--brokers", "kafka.example.net:9093")


def test_it_requests_and_writes_what_the_collector_reads(bare):
    done = run(typed="kafka.example.net:9093\nanna\n")

    assert done.exit_code == 0, done.output
    assert KafkaSettings.read().brokers == "kafka.example.net:9093"
    assert KafkaSettings.read().security_protocol == "PLAINTEXT"
    assert CollectorSettings.read().user_id == "anna"
    assert (bare / ".env").stat().st_mode & 0o777 == 0o600 or sys.platform == "win32"


def test_a_password_is_typed_and_not_shown(bare):
    done = run(*GIVEN, "--username", "anna", "--ca", "ca.pem", typed="s3'cret\n")

    assert done.exit_code == 0, done.output
    assert "s3'cret" not in done.output
    read = KafkaSettings.read()
    assert (read.security_protocol, read.username, read.ca_file) == ("SASL_SSL", "anna", "ca.pem")
    assert read.password.get_secret_value() == "s3'cret"


def test_a_script_gives_the_password_in_the_environment(bare, monkeypatch):
    monkeypatch.setenv("KAFKA_SECURITY_PASSWORD", "s3cret")
    assert run(*GIVEN, "--username", "anna").exit_code == 0

    assert "KAFKA_SECURITY_PASSWORD=s3cret\n" in (bare / ".env").read_text()


def test_what_is_there_stays_unless_requested(bare):
    (bare / ".env").write_text("USER_ID=bert\n")
    refused = run(*GIVEN)
    assert isinstance(refused.exception, PurpleSectorError)
    assert (bare / ".env").read_text() == "USER_ID=bert\n"

    assert run(*GIVEN, "--force").exit_code == 0
    assert CollectorSettings.read().user_id == "anna"


def test_a_wrong_answer_is_one_line_and_writes_nothing(bare):
    refused = run("--user", "anna", "--brokers", "kafka")
    assert isinstance(refused.exception, SettingsError)
    assert str(refused.exception).startswith("brokers=kafka: want host:port")
    assert list(bare.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "name", "word"),
    [("linux", "acc.service", "systemctl"), ("win32", "acc.xml", "schtasks")],
)
def test_a_service_is_added_to_settings_that_are_there(bare, monkeypatch, platform, name, word):
    assert run(*GIVEN).exit_code == 0
    before = (bare / ".env").read_bytes()
    monkeypatch.setattr(serve.game_pc.init.sys, "platform", platform)
    monkeypatch.setenv("USERDOMAIN", "PC")
    done = run("--service", "acc")

    assert done.exit_code == 0, done.output
    assert word in done.output
    assert (bare / ".env").read_bytes() == before
    file = bare / f"purple-sector-{name}"
    if platform == "win32":
        assert file.read_bytes()[:2] in {b"\xff\xfe", b"\xfe\xff"}
        assert ET.parse(file).getroot().tag.endswith("Task")
    else:
        assert "collect acc --log-file" in file.read_text()


def test_without_anybody_to_request_it_ends(bare):
    assert run("--user", "anna", typed="").exit_code == 1
    assert list(bare.iterdir()) == []
