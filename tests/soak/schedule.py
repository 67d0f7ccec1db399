"""Which kind is killed when: in rounds that hold each kind once, in an order that the seed
chooses.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.soak.kinds import Kind

_PAUSE_S = (1.0, 3.0)


@dataclass(frozen=True, slots=True)
class Firing:
    """The kill with this number, counted from 0. ``chance`` in [0, 1) chooses among several
    processes of the kind.
    """

    number: int
    kind: Kind
    pause_s: float
    chance: float


def firing(seed: int, kinds: Sequence[Kind], number: int) -> Firing:
    """Return a kill by its number alone, so that a storm that was broken off goes on as it would
    have.
    """
    turn, place = divmod(number, len(kinds))
    order = random.Random(f"{seed} round {turn}").sample(sorted(kinds), len(kinds))
    chances = random.Random(f"{seed} firing {number}")
    return Firing(number, order[place], chances.uniform(*_PAUSE_S), chances.random())
