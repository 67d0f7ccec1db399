"""The harness that the store's claim of exactly once rests on (tests/contract/test_exactly_once.py)
finds what breaks it.
"""

from collections.abc import Callable
from importlib.resources import files
from itertools import count

import psycopg
import pytest

from ingest.store.partition_writer import PartitionWriter
from tests.conftest import Database
from tests.service.rivals import NoGrip, PositionFirst, RowsFirst, Verdict, fight
from tests.waiting import wait_until

SECONDS_TO_BE_FOUND_IN = 3.0  # of a machine that has time; the fight goes on where it has none
SEEDS = count(7)

NO_FENCE = (" AND fence = in_fence AND next_offset = in_start", "")
REFUSAL_IGNORED = ("IF NOT FOUND THEN", "IF false THEN")


@pytest.mark.parametrize(
    "mistake", [NO_FENCE, REFUSAL_IGNORED], ids=["no fence", "refusal ignored"]
)
def test_harness_finds_a_mistake_in_the_fence(database, mistake):
    break_advance(database.url, *mistake)

    found(database, NoGrip, lambda verdict: verdict.twice + verdict.lost + verdict.invented)


def test_harness_finds_rows_that_are_committed_before_the_position(database):
    found(database, RowsFirst, lambda verdict: verdict.twice)


def test_harness_finds_a_position_that_is_committed_before_the_rows(database):
    found(database, PositionFirst, lambda verdict: verdict.lost)


def found(
    database: Database, store: type[PartitionWriter], mistakes: Callable[[Verdict], int]
) -> None:
    """Let them fight until the books show the mistake."""
    wait_until(
        lambda: mistakes(
            fight(database.url, [store, store], duration_s=SECONDS_TO_BE_FOUND_IN, seed=next(SEEDS))
        )
    )


def break_advance(url: str, right: str, wrong: str) -> None:
    """Replace the function in this database by one that has a mistake."""
    function = files("ingest.store.schema").joinpath("advance.sql").read_text()
    assert right in function
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(function.replace(right, wrong).encode())
