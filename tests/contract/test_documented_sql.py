"""The SQL of the documentation, on every edition of the store."""

import psycopg
import pytest

from tests.conftest import Database
from tests.documented import Snippet, blocks_in


@pytest.mark.parametrize("block", blocks_in("sql"), ids=lambda block: block.place)
def test_documented_sql_runs(database: Database, block: Snippet) -> None:
    with psycopg.connect(database.url) as conn:
        conn.execute(block.text.encode())
