"""The address that a login gets is the owner's, without what is the owner's."""

import pytest
from click.testing import CliRunner

from serve.cli.database.commands import address_of
from serve.cli.main import command

OWNER = "postgresql://me:hidden@a:5432,b/laps?sslmode=verify-full&password=hidden&user=me"


def test_an_address_has_the_new_user_and_password_only() -> None:
    assert address_of(OWNER, "anna", "p/q@r") == (
        "postgresql://anna:p%2Fq%40r@a:5432,b/laps?sslmode=verify-full"
    )


def test_a_password_that_came_from_a_file_is_not_printed() -> None:
    assert address_of("postgresql://h/laps", "anna", None) == "postgresql://anna:...@h/laps"


@pytest.mark.parametrize("user", ["", "a b", "x" * 64, "a;b", "ä", "pg_me", "public"])
def test_a_user_that_is_no_login_is_refused_before_anything_is_asked(user: str) -> None:
    refused = CliRunner().invoke(command, ["database", "roles", "--analyst", user])

    assert (refused.exit_code, "want 1 to 63 letters" in refused.output) == (2, True)
