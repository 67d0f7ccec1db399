"""Types of arguments that click has not."""

from math import isfinite
from typing import Any

import click


class Finite(click.FloatRange):
    """A number in a range. To click, nan lies in every range, for it is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; fails, as the range does, with a sentence."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is no number that can be counted to", param, ctx)
        return number
