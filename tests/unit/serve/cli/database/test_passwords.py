"""Passwords from a file are taken as they stand, and never shown."""

import pytest

from ingest.errors import PurpleSectorError
from serve.cli.database.passwords import parse_passwords


def test_each_line_is_a_login_and_its_password() -> None:
    text = "purple_ingest=0123456789abcdef\n\nanna=p=q%/ 0123456789 \r\n"

    assert parse_passwords(text) == {
        "purple_ingest": "0123456789abcdef",
        "anna": "p=q%/ 0123456789 ",
    }


@pytest.mark.parametrize(
    "line", ["purple_ingest", "=0123456789abcdef", "anna=", "anna=secret", "anna=0123456789abcd\0"]
)
def test_a_wrong_line_is_named_by_its_number_alone(line: str) -> None:
    with pytest.raises(PurpleSectorError, match="line 2: want") as refused:
        parse_passwords(f"purple_bridge=0123456789abcdef\n{line}\n")

    assert "secret" not in str(refused.value)
