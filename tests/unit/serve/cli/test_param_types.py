"""Arguments that are no numbers to count to are refused where they are given, as every wrong one
is.
"""

import pytest
from click.testing import CliRunner

from serve.cli.main import command


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "question",
    [
        ["collect", "simulate", "--laps", "1", "--speed"],
        ["collect", "simulate", "--laps", "1", "--rate"],
        ["collect", "replay", __file__, "--speed"],
    ],
)
def test_no_number_is_a_wrong_argument(question: list[str], number: str) -> None:
    outcome = CliRunner().invoke(command, [*question, number])

    assert outcome.exit_code == 2
    assert f"Invalid value for '{question[-1]}'" in outcome.output
