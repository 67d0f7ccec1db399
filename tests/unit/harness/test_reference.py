"""The committed reference and .env.example equal what the code gives."""

import re

from tests.paths import ROOT
from tests.reference import settings, tables, websocket
from tests.reference.markdown import names, replaced
from tests.reference.pages import PARTS, generated, pages


def test_reference_is_generated_from_the_code() -> None:
    """Where this fails, run ``make reference`` and commit what it writes."""
    stale = [path.name for path, text in generated() if path.read_text(encoding="utf-8") != text]
    assert stale == []


def test_every_generated_part_is_on_one_page() -> None:
    found = [name for page in pages() for name in names(page.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(PARTS)


def test_every_setting_has_a_meaning() -> None:
    fields = [pair for group in settings.groups() for pair in settings.variables(group)]
    assert [name for name, field in fields if not field.description] == []


def test_every_table_has_a_meaning_and_columns() -> None:
    found = tables.store_tables()
    assert len(found) > 10
    assert [one.name for one in found if not one.about or len(one.columns) < 3] == []


def test_every_close_code_has_a_meaning() -> None:
    closes = websocket.closes()
    assert [close.code for close in closes if not close.when] == []
    assert len({close.code for close in closes}) == len(closes)


def test_the_page_knows_every_close_code() -> None:
    """The page shows a sentence for each code, and does not come back after a final one."""
    script = (ROOT / "serve" / "page" / "net" / "socket.mjs").read_text(encoding="utf-8")
    words = {int(code) for code in re.findall(r"^  (\d{4}):", script, re.MULTILINE)}
    finals = re.search(r"FINAL = new Set\(\[(.*)\]\)", script)
    assert finals is not None
    final = {int(code) for code in finals[1].split(", ")}
    codes = {close.code for close in websocket.closes()}
    assert codes - words - {4400} == set(), "4400 has its own sentence"
    assert {code for code in codes if code >= 4400} <= final


def test_only_marked_parts_are_replaced() -> None:
    one, other = (
        f"<!-- generated: {name} -->\n{body}\n<!-- /generated -->\n"
        for name, body in (("a", "old"), ("b", "kept"))
    )
    new = replaced(f"before\n{one}between\n{other}", {"a": lambda: "new"})
    assert "\nnew\n" in new
    assert "old" not in new
    assert new.startswith("before\n")
    assert "between\n<!-- generated: b -->\nkept\n" in new
