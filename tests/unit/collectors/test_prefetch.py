"""Frames that are made ahead of their time: in order, all of them, and by another thread."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingest.collectors.prefetch import made_ahead
from tests.waiting import WITHIN_S


@pytest.fixture
def executor():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
def test_all_come_in_order(executor, count):
    assert list(made_ahead(iter(range(count)), executor, count=4)) == list(range(count))


def test_the_next_ones_are_made_while_the_first_are_used(executor):
    """The plan of a lap is waited for by nobody: it is made by the time that it is needed."""
    made = threading.Event()

    def items():
        yield from "abcd"
        made.set()
        yield from "efgh"

    ahead = made_ahead(items(), executor, count=4)

    assert next(ahead) == "a"
    assert made.wait(WITHIN_S)
    assert "".join(ahead) == "bcdefgh"


def test_what_goes_wrong_is_raised_in_its_place(executor):
    def items():
        yield from range(5)
        raise ValueError("no lap can be planned")

    used = []
    with pytest.raises(ValueError, match="no lap can be planned"):
        used.extend(made_ahead(items(), executor, count=4))
    assert used == [0, 1, 2, 3, 4]
