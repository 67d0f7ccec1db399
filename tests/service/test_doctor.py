"""What `purple-sector collect doctor` says of a real broker, of none, and of clocks and disks."""

import json
import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition

from ingest.collectors.delivery.records import OutgoingRecord
from ingest.collectors.games.ac.game import AcGame
from ingest.collectors.games.interface import SessionBegan
from ingest.collectors.spool.folder import SpoolFolder
from ingest.collectors.spool.memory import SpooledSession
from ingest.embedded.process import free_ports
from ingest.kafka.topics import create_topics
from ingest.settings import AcSettings, CollectorSettings, KafkaSettings
from ingest.telemetry_pb2 import Session, TelemetryFrame
from serve.game_pc.broker_probe import Offset
from serve.game_pc.doctor import check_broker, check_disk, check_game, check_spool, clock_finding
from tests.waiting import WITHIN_S

ANNA = CollectorSettings(_env_file=None, user_id="anna")


def settings_for(brokers):
    mine = uuid4().hex[:8]
    names = {
        f"topic_{name}": f"{name}{mine}"
        for name in ("telemetry", "commands", "status_reports", "laps")
    }
    return KafkaSettings(_env_file=None, brokers=brokers, **names)


def seen(findings):
    return {finding.check: (finding.level, finding.seen) for finding in findings}


def end_of(settings, topic):
    consumer = Consumer(settings.client({"group.id": "nobody"}))
    try:
        return sum(
            consumer.get_watermark_offsets(TopicPartition(topic, p), 10)[1] for p in range(10)
        )
    finally:
        consumer.close()


def test_a_broker_that_will_do(kafka):
    settings = settings_for(kafka.brokers)
    create_topics(settings)
    found = seen(check_broker(settings, ANNA))

    assert {check: level for check, (level, _) in found.items()} == dict.fromkeys(
        ["broker", "topic", "commands", "clock"], "ok"
    )
    assert (
        found["topic"][1] == f"{settings.topic_telemetry} has 10 partitions and may be written to"
    )
    assert end_of(settings, settings.topic_telemetry) == 0, "a check is not a frame"


def test_topics_that_are_missing(kafka):
    found = seen(check_broker(settings_for(kafka.brokers), ANNA))

    assert {check: level for check, (level, _) in found.items()} == {
        "broker": "ok",
        "topic": "warning",
        "commands": "warning",
        "clock": "warning",
    }


def doctor(folder: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "serve.cli.main", "collect", "doctor", *arguments],
        cwd=folder,
        env=os.environ | {"PURPLE_SECTOR_HOME": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )


def test_without_a_broker_it_is_an_error_that_states_what_to_do(tmp_path):
    (port,) = free_ports(1)
    done = doctor(tmp_path, "acc", "--json", KAFKA_BROKERS=f"127.0.0.1:{port}")

    assert done.returncode == 1, done.stderr
    (broker,) = [finding for finding in json.loads(done.stdout) if finding["check"] == "broker"]
    assert broker["level"] == "error"
    assert "refused" in broker["seen"]
    assert "KAFKA_BROKERS" in broker["to_do"]


def test_a_setting_that_is_wrong_is_one_too(tmp_path):
    done = doctor(tmp_path, KAFKA_BROKERS="nowhere")

    assert done.returncode == 1
    assert "error    settings  KAFKA_BROKERS=nowhere: want host:port" in done.stdout


def test_wrong_settings_of_a_game_and_of_the_disk_hide_no_other(tmp_path):
    """Each is a finding, and what does not depend on it is looked at."""
    folder = str(tmp_path / ("x" * 300))
    wrong = {"AC_UDP_PORT": "0", "ACC_SHARED_MEMORY": str(tmp_path), "KAFKA_BROKERS": "127.0.0.1:9"}
    nobody = doctor(tmp_path, "--json", SPOOL_DIR="~nobody-is-called-so/spool", **wrong)
    too_long = doctor(tmp_path, "--json", SPOOL_DIR=folder, **wrong)

    assert nobody.returncode == too_long.returncode == 1
    told = [
        (f["check"], f["level"], f["seen"].partition(":")[0]) for f in json.loads(nobody.stdout)
    ]
    assert [told[0][:2], told[1][:2], *told[2:]] == [
        ("settings", "ok"),
        ("game", "warning"),
        ("settings", "error", "AC_UDP_PORT=0"),
        ("broker", "error", "no answer from 127.0.0.1"),
        ("settings", "error", "SPOOL_DIR=~nobody-is-called-so/spool"),
    ]
    assert [f["check"] for f in json.loads(too_long.stdout) if f["level"] == "error"][-2:] == [
        "disk",
        "spool",
    ]


def test_a_certificate_that_cannot_be_read_is_an_error(tmp_path):
    settings = KafkaSettings(
        _env_file=None, security_protocol="SSL", ca_file=str(tmp_path / "away.pem")
    )
    (finding,) = check_broker(settings, ANNA)

    assert (finding.check, finding.level) == ("broker", "error")
    assert "ssl.ca.location" in finding.seen


@pytest.mark.parametrize(
    ("ahead_ms", "level", "words"),
    [
        (3, "ok", "0.00 s behind"),
        (-1500, "warning", "1.50 s ahead of"),
        (90_000, "warning", "90.00 s behind"),
        (
            -301_000,
            "error",
            "301.00 s ahead of the broker's, within 5 ms: frames are kept, with the times at which",
        ),
    ],
)
def test_a_clock_that_is_wrong_is_reported_as_the_driver_sees_it(ahead_ms, level, words):
    finding = clock_finding(Offset(ahead_ms, 5))

    assert finding.level == level
    assert words in finding.seen


def test_a_folder_that_takes_frames(tmp_path):
    folder = tmp_path / "new"
    findings = list(check_disk(folder))

    assert [finding.check for finding in findings] == ["disk", "disk"]
    assert "GB free" in findings[0].seen
    assert "ms" in findings[1].seen
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o077 == 0, "who drives where is nobody else's business"


def test_a_folder_that_takes_none(tmp_path):
    (tmp_path / "taken").write_text("")
    (finding,) = check_disk(tmp_path / "taken" / "spool")

    assert finding.level == "error"


def test_what_waits_in_the_spool_is_reported(tmp_path):
    spool = SpoolFolder(tmp_path, max_bytes=100_000_000, keep_s=7200)
    assert check_spool(spool).seen == "sessions: 0, in 0.0 MB"

    left = spool.begin(SpooledSession("s", "anna", "protobuf"))
    left.append(OutgoingRecord(1, 1, b"frame"))
    left.close()
    assert (
        check_spool(spool).seen
        == "sessions: 1, in 0.0 MB; not sent to the end: 1, which goes by itself"
    )


class Script:
    name = "Scripted"
    running = True

    def __init__(self, *events, counts=None):
        self.said, self.counts = [list(events)], counts or {}

    def poll(self, timeout_s):
        return self.said.pop() if self.said else []


def test_a_game_with_a_car():
    game = Script(
        SessionBegan(Session(track="Spa", car="488")), *(TelemetryFrame() for _ in range(6))
    )

    assert [str(f.seen) for f in check_game(game, "Scripted", listen_s=0.1)] == [
        "Scripted is there: Spa, 488; 60 frames a second"
    ]


def test_a_host_that_cannot_be_one_is_reported():
    game = AcGame(AcSettings(_env_file=None, host="ü..de"))
    findings = list(check_game(game, "Assetto Corsa", listen_s=0.1))
    game.close()

    assert findings[-1].seen.startswith("not used: address cannot be reached")


def test_a_game_that_is_not_there():
    game = Script(counts={"truncated": 3})
    game.running = False
    away, odd = check_game(game, "Scripted", listen_s=0.05)

    assert (away.level, away.seen) == ("warning", "Scripted is not there")
    assert (odd.level, odd.seen) == ("warning", "not used: truncated, 3 times")
