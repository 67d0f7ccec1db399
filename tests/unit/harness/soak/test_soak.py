"""The pure parts of the storm: its schedule, its ledger, its audit and its table."""

import json
import os
from collections import Counter

import psutil
import pytest

from tests.soak.audit import Stored, judge, violations
from tests.soak.cars import Car, given, taken
from tests.soak.kinds import Kind, kind_of
from tests.soak.ledger import Kill, Ledger, parse
from tests.soak.report import audit_line, kinds_table
from tests.soak.schedule import firing
from tests.soak.storm import Former

KINDS = tuple(Kind)


def test_each_round_kills_each_kind_once():
    for turn in range(5):
        fired = [
            firing(7, KINDS, number).kind
            for number in range(turn * len(KINDS), (turn + 1) * len(KINDS))
        ]
        assert Counter(fired) == Counter(KINDS)


def test_same_seed_kills_in_the_same_order_and_another_in_another():
    assert [firing(7, KINDS, n) for n in range(30)] == [
        firing(7, KINDS[::-1], n) for n in range(30)
    ]
    assert [firing(7, KINDS, n).kind for n in range(30)] != [
        firing(8, KINDS, n).kind for n in range(30)
    ]
    assert all(
        1.0 <= firing(7, KINDS, n).pause_s <= 3.0 and 0.0 <= firing(7, KINDS, n).chance < 1.0
        for n in range(30)
    )


@pytest.mark.parametrize(
    ("name", "command", "kind"),
    [
        ("java", ["/usr/bin/java", "-Xmx512m", "kafka.Kafka", "server.properties"], Kind.BROKER),
        ("java", ["/usr/bin/java", "-jar", "editor.jar"], None),
        ("postgres", ["bin/postgres", "-D", "data", "-c", "port=32202"], Kind.DATABASE),
        ("postgres", ["postgres: postgres postgres 127.0.0.1(53262) idle"], Kind.BACKEND),
        ("postgres", ["postgres: walwriter "], None),
        ("raylet", ["core/src/ray/raylet/raylet", "--raylet_socket_name=socket"], Kind.RAYLET),
        ("gcs_server", ["core/src/ray/gcs/gcs_server"], Kind.GCS),
        ("haproxy", ["bin/haproxy", "-db"], Kind.HAPROXY),
        ("ray::ServeContro", ["ray::ServeController.listen_for_change", "", ""], Kind.CONTROLLER),
        ("ray::HAProxyMan", ["ray::HAProxyManager"], Kind.PROXY),
        ("ray::ServeRepli", ["ray::ServeReplica:purple-sector:Bridge"], Kind.REPLICA),
        ("ray::IngestWork", ["ray::IngestWorker.host"], Kind.WORKER),
        ("ray::Supervisor", ["ray::Supervisor"], Kind.SUPERVISOR),
        ("ray::IDLE", ["ray::IDLE"], None),
        # The guardian of a service has the service's command line behind its own.
        ("python", ["python", "guardian.py", "-", "-", "/usr/bin/java", "kafka.Kafka"], None),
    ],
)
def test_processes_are_recognised_by_name_and_command_line(name, command, kind):
    assert kind_of(name, command) == kind


def test_a_process_is_replaced_by_one_that_did_not_run_at_the_kill():
    """Others of its kind that live on, or the old ones of a Ray that is being taken down, are no
    sign of it.
    """
    here, parent = psutil.Process(), psutil.Process(os.getppid())
    former = Former(here.pid, frozenset({here}))
    assert not former.replaced_by([])
    assert not former.replaced_by([here])
    assert former.replaced_by([here, parent])


def test_ledger_goes_on_after_the_storm_was_killed(tmp_path):
    path = tmp_path / "ledger.jsonl"
    first = Ledger(path)
    first.killed(Kill(0, 2.5, 7, Kind.BROKER, 100))
    first.recovered(4.5, ["12 (haproxy)"])
    first.killed(Kill(1, 9.0, 7, Kind.GCS, 101))
    first.close()
    with path.open("a") as file:
        file.write('{"event": "recov')

    second = Ledger(path)
    assert second.kills == [
        Kill(0, 2.5, 7, Kind.BROKER, 100, concluded=True, recovered_s=4.5, left=("12 (haproxy)",)),
        Kill(1, 9.0, 7, Kind.GCS, 101),
    ]
    assert (second.next_number, second.elapsed_s) == (2, 9.0)
    second.killed(Kill(2, 12.0, 7, Kind.UP, 102))
    second.recovered(None, [])
    second.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "killed",
        "recovered",
        "killed",
        "killed",
        "recovered",
    ]
    assert parse(path.read_text().splitlines(keepends=True)) == second.kills


def test_book_is_read_on_from_where_it_ended(tmp_path):
    car = Car(tmp_path, "car-1")
    assert given([car]) == taken([car]) == {}
    before = given([car])
    with (tmp_path / "car-1" / "book").open("a") as book:
        book.write("given a 1\ntaken a 1\nsynced spool 1\ngiven a 2\ngiv")
        book.flush()
        assert (given([car]), taken([car])) == ({"a": 2}, {"a": 1})
        book.write("en b 1\n")
    assert (given([car]), taken([car]), before) == ({"a": 2, "b": 1}, {"a": 1}, {})


def test_empty_ledger_begins_at_zero(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert (ledger.next_number, ledger.elapsed_s, ledger.kills) == (0, 0.0, [])
    ledger.close()


@pytest.mark.parametrize(
    ("stored", "wrong"),
    [
        (Stored(100, 100, 100), {}),
        (Stored(101, 101, 101), {}),  # the frame that was on its way into the collector
        (Stored(99, 99, 99), {"lost": 1}),  # the end
        (Stored(98, 98, 100), {"lost": 2}),  # in the middle
        (Stored(100, 100, 101), {"lost": 1}),
        (Stored(103, 100, 100), {"twice": 3}),
        (Stored(100, 100, 100, disordered=2), {"disordered": 2}),
        (Stored(102, 102, 102), {"invented": 1}),
        (Stored(100, 100, 100, laps_changed=(4,)), {"laps_changed": (4,)}),
        (Stored(), {"lost": 100}),
    ],
)
def test_audit_names_what_is_wrong_with_a_session(stored, wrong):
    (verdict,) = judge({"a": 100}, {"a": 101}, {"a": stored})
    names = ("lost", "twice", "disordered", "invented", "laps_changed")
    assert {name: value for name in names if (value := getattr(verdict, name))} == wrong
    assert verdict.sound == (not wrong)


def test_session_that_is_not_stored_is_lost():
    (verdict,) = judge({"a": 100}, {"a": 101}, {})
    assert verdict.lost == 100


def test_session_of_which_nothing_was_acknowledged_may_be_absent():
    (verdict,) = judge({}, {"a": 1}, {})
    assert verdict.sound


def test_kind_that_was_never_killed_fails_the_run():
    kills = [Kill(0, 1.0, 7, Kind.GCS, 1, concluded=True, recovered_s=3.0)]
    assert violations([Kind.GCS], kills, []) == []
    assert violations([Kind.GCS, Kind.UP], kills, []) == ["up: never killed"]


def test_kill_without_recovery_and_processes_left_behind_fail_the_run():
    kills = [
        Kill(0, 1.0, 7, Kind.GCS, 1, concluded=True),
        Kill(1, 2.0, 7, Kind.UP, 2, concluded=True, recovered_s=3.0, left=("9 (haproxy)",)),
        Kill(2, 3.0, 7, Kind.UP, 3),  # the storm was killed meanwhile: nobody knows
    ]
    assert violations([Kind.GCS, Kind.UP], kills, []) == [
        "gcs: not recovered from kill 0",
        "up: kill 1 left 9 (haproxy) behind",
    ]


def test_unsound_session_fails_the_run():
    verdicts = judge(
        {"a": 100, "b": 5}, {"a": 100, "b": 5}, {"a": Stored(98, 97, 100), "b": Stored(5, 5, 5)}
    )
    (sentence,) = violations([], [], verdicts)
    assert sentence.startswith("session a: of 100 acknowledged frames 3 lost, 1 twice")


def test_table_has_a_row_per_kind():
    kills = [
        Kill(number, 1.0, 7, Kind.GCS, 1, concluded=True, recovered_s=seconds)
        for number, seconds in enumerate([2.0, 9.0, 4.0, None])
    ]
    table = kinds_table([Kind.GCS, Kind.UP], kills)
    assert [list(column.cells) for column in table.columns] == [
        ["gcs", "up"],
        ["4", "0"],
        ["3", "0"],
        ["4.0", "-"],
        ["9.0", "-"],
    ]
    verdicts = judge(
        {"a": 1_000}, {"a": 1_000}, {"a": Stored(1_000, 999, 1_000, laps_changed=(2,))}
    )
    assert (
        audit_line(verdicts, laps=5)
        == "1 sessions, 1,000 frames acknowledged: 1 lost, 1 twice, 0 out of order; 5 laps, 1"
        " differ from a recompute"
    )
