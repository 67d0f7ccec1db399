"""The product as its users meet it: one command, a page, recordings that are replayed, garbage, and
Ctrl-C.
"""

import json
import os
import subprocess
import sys
import time

import httpx
import psycopg
import pytest
from confluent_kafka import Producer

import analytics
from analytics.store.instance import Instance
from ingest.kafka.topics import partition_of
from tests.paths import SHARED
from tests.service.audit import assert_each_frame_once, laps_of, wait_for_frames
from tests.waiting import WITHIN_S, wait_until

RECORDINGS = SHARED / "data"


def purple_sector(
    *arguments: str, demo: Instance | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    addresses = {"KAFKA_BROKERS": demo.brokers, "DATABASE_URL": demo.database_url} if demo else {}
    return subprocess.run(
        [sys.executable, "-m", "serve.cli.main", *arguments],
        env=os.environ | {"PURPLE_SECTOR_HOME": "/nonexistent"} | addresses | environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_car_is_live_with_laps_to_compare_with(demo):
    """The demo publishes past laps at speed, and goes on driving."""
    session = wait_until(
        lambda: [s for s in get(demo, "api/sessions")["sessions"] if s["track"] == "Aldermoor Park"]
    )[0]
    laps = wait_until(
        lambda: [
            lap
            for lap in get(demo, f"api/sessions/{session['key']}/laps")["laps"]
            if not lap["flags"]
        ]
    )

    assert session["live"]
    assert all(abs(lap["lap_time_ms"] - lap["official_lap_time_ms"]) <= 2 for lap in laps)
    before = get(demo, "api/stats")["kafkaStats"]["messagesReceived"]
    assert wait_until(
        lambda: get(demo, "api/stats")["kafkaStats"]["messagesReceived"] > before + 60
    )


@pytest.mark.parametrize("name", ["iracing_okayama_driverA", "ac_limerock_driverC"])
def test_recording_is_stored_once_in_order_with_its_laps(demo, name):
    """A real session: every frame is a row, and laps are those that the game reported, to the
    recording's precision.
    """
    file = RECORDINGS / f"{name}.parquet"
    if not file.exists():
        pytest.skip(f"no recording at {file}")
    facts = json.loads(file.with_suffix(".json").read_text())
    official_ms = {
        lap["lap_number"]: lap["lap_time_ms"] for lap in facts["true_laps"] if lap["complete"]
    }

    replayed = purple_sector(
        "collect", "replay", str(file), "--speed", "100", "--session", name, demo=demo
    )

    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout.splitlines()[-1])["framesPublished"] == facts["rows"]
    wait_for_frames(demo.database_url, {name: facts["rows"]})
    assert_each_frame_once(demo.database_url, {name: facts["rows"]})
    laps = {row[0]: row[2] for row in laps_of(demo.database_url, name)}
    assert official_ms.keys() <= laps.keys()
    assert {n: laps[n] for n in official_ms} == pytest.approx(official_ms, abs=20)


def test_garbage_becomes_dead_letters_and_the_partition_goes_on(demo):
    key = b"garbage-session"
    now_ms = time.time_ns() // 1_000_000
    garbage = {
        "empty": b"",
        "decode": b"\x08\xff\xff",
        "oversize": b"\x08\x01" * 40_000,
        "encoding": b"\x1f\x8b" + b"\x00" * 30,
        "json": b'{"timestamp": }',
        "time": frame_json(now_ms * 1000),
        "value": frame_json(now_ms, sequence=-1),
    }
    producer = Producer({"bootstrap.servers": demo.brokers, "linger.ms": 5})
    place = partition_of(key, 10)
    for value in garbage.values():
        producer.produce("telemetry", key=key, value=value, partition=place)
    producer.produce("telemetry", key=b"\xff\xfe", value=frame_json(now_ms), partition=place)
    producer.produce("telemetry", key=key, value=frame_json(now_ms, sequence=1), partition=place)
    assert producer.flush(WITHIN_S) == 0

    wait_for_frames(demo.database_url, {"garbage-session": 1})
    with psycopg.connect(demo.database_url) as conn:
        reasons = [
            reason
            for (reason,) in conn.execute('SELECT reason FROM dead_letters ORDER BY "offset"')
        ]
    assert [reason.split(":")[0] for reason in reasons] == [*garbage, "key"]


def test_status_shows_what_runs(demo):
    seen = json.loads(purple_sector("status", "--json", demo=demo).stdout)

    assert seen["brokers"] == [demo.brokers]
    assert len(seen["partitions"]) == 10
    assert sum(seen["workers"].values()) == 10
    assert seen["sessions"]
    assert all(p["heartbeat_age_s"] < 30 for p in seen["partitions"])


def test_a_notebook_finds_the_running_system(demo, demo_home, monkeypatch):
    monkeypatch.setenv("PURPLE_SECTOR_HOME", str(demo_home))
    monkeypatch.delenv("DATABASE_URL", raising=False)

    with analytics.connect() as catalog:
        wait_until(lambda: list(catalog.sessions), "a session")


def test_topics_are_as_specified(demo):
    created = purple_sector("topics", "create", demo=demo)
    described = purple_sector("topics", "describe", demo=demo)

    assert created.returncode == described.returncode == 0
    assert described.stdout.splitlines() == [
        f"{name}: as specified" for name in ("telemetry", "commands", "laps", "status-reports")
    ]


def test_wrong_setting_is_one_line_and_exit_code_2():
    outcome = purple_sector("status", KAFKA_BROKERS="nowhere")

    assert outcome.returncode == 2
    assert outcome.stderr.count("\n") == 1
    assert "KAFKA_BROKERS=nowhere" in outcome.stderr


def test_no_broker_is_one_line_with_its_address():
    outcome = purple_sector("topics", "describe", KAFKA_BROKERS="127.0.0.1:1")

    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert "127.0.0.1:1" in outcome.stderr


def test_no_database_is_one_line_with_its_address():
    outcome = purple_sector(
        "database", "status", DATABASE_URL="postgresql://me:hidden@127.0.0.1:1/laps"
    )

    assert outcome.returncode == 1
    assert outcome.stderr.count("\n") == 1
    assert "127.0.0.1:1/laps" in outcome.stderr
    assert "hidden" not in outcome.stderr


def get(demo: Instance, path: str):
    return httpx.get(demo.page + path, timeout=WITHIN_S).raise_for_status().json()


def frame_json(timestamp_ms: int, **more: float) -> bytes:
    frame = {
        "timestamp": timestamp_ms,
        "lapTime": 1000,
        "speed": 200.0,
        "gear": 4,
        "rpm": 6000,
        "lapNumber": 1,
    }
    return json.dumps(frame | more).encode()
