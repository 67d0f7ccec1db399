"""Defines types of arguments that click lacks."""

from math import isfinite
from typing import Any

import click


class Finite(click.FloatRange):
    """A finite number in a range. click accepts nan in every range, since nan is neither below nor
    above it.
    """

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. Fails, as the range does, with an error text for people."""
        number = float(super().convert(value, param, ctx))
        if not isfinite(number):
            self.fail(f"{value} is no number that can be counted to", param, ctx)
        return number
