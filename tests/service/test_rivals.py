"""The harness that the store's claim of exactly once rests on (tests/contract/test_exactly_once.py) finds what breaks it."""

from importlib.resources import files

import psycopg
import pytest

from tests.service.rivals import NoGrip, PositionFirst, RowsFirst, fight

SECONDS_TO_BE_FOUND_IN = 3.0
SEED = 7

NO_FENCE = (" AND fence = in_fence AND next_offset = in_start", "")
REFUSAL_IGNORED = ("IF NOT FOUND THEN", "IF false THEN")


@pytest.mark.parametrize("mistake", [NO_FENCE, REFUSAL_IGNORED], ids=["no fence", "refusal ignored"])
def test_harness_finds_a_mistake_in_the_fence(database, mistake):
    break_advance(database.url, *mistake)

    verdict = fight(database.url, [NoGrip, NoGrip], duration_s=SECONDS_TO_BE_FOUND_IN, seed=SEED)

    assert verdict.twice + verdict.lost + verdict.invented > 0, verdict


def test_harness_finds_rows_that_are_committed_before_the_position(database):
    verdict = fight(database.url, [RowsFirst, RowsFirst], duration_s=SECONDS_TO_BE_FOUND_IN, seed=SEED)

    assert verdict.twice > 0, verdict


def test_harness_finds_a_position_that_is_committed_before_the_rows(database):
    verdict = fight(database.url, [PositionFirst, PositionFirst], duration_s=SECONDS_TO_BE_FOUND_IN, seed=SEED)

    assert verdict.lost > 0, verdict


def break_advance(url: str, right: str, wrong: str) -> None:
    """Replace the function in this database by one that has a mistake."""
    function = files("ingest").joinpath("advance.sql").read_text()
    assert right in function
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(function.replace(right, wrong).encode())
