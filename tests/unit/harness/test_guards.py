"""``make guards`` finds its guards: each text is in its file once, and each test exists."""

import pytest

from tests.guards import GUARDS, Guard
from tests.paths import ROOT


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.line)
def test_guard_is_where_the_table_has_it(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text(encoding="utf-8").count(guard.text) == 1
    file, _, name = guard.test.partition("::")
    assert f"def {name}" in (ROOT / file).read_text(encoding="utf-8")
