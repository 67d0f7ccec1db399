"""What an audit makes of a report of pip-audit, and what may be ignored until when."""

from datetime import date

import pytest

from tests.supply import audit
from tests.supply.audit import IGNORED, Verdict, judged, lines, read_ignored

DAY = date(2026, 12, 1)
REPORT = {
    "dependencies": [
        {"name": "click", "version": "8.5.1", "vulns": []},
        {
            "name": "numpy",
            "version": "2.4.6",
            "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.4.7"], "aliases": ["CVE-1"]}],
        },
        {"name": "ours", "version": "1", "skip_reason": "not found"},
    ]
}
NONE_KNOWN = {"dependencies": [{"name": "click", "skip_reason": "not found"}]}


def test_known_vulnerability_is_found() -> None:
    verdict = judged(REPORT, {}, DAY)
    assert verdict == Verdict(2, ("ours",), ("numpy 2.4.6: PYSEC-1, fixed in 2.4.7",))
    assert list(lines(verdict)) == [
        *verdict.found,
        "not known there: ours",
        "2 packages audited, 1 vulnerabilities",
    ]


@pytest.mark.parametrize("name", ["PYSEC-1", "CVE-1"])
def test_ignored_one_passes_until_its_day(name: str) -> None:
    assert judged(REPORT, {name: date(2026, 12, 2)}, DAY).found == ()
    assert judged(REPORT, {name: DAY}, DAY).found != ()


def test_ignored_one_needs_a_reason() -> None:
    entry = '[[ignored]]\nid = "CVE-1"\nuntil = 2027-01-31\n'
    with pytest.raises(ValueError, match="CVE-1"):
        read_ignored(entry)
    assert read_ignored(f'{entry}reason = "no part does"') == {"CVE-1": date(2027, 1, 31)}


def test_list_of_ignored_ones_can_be_read() -> None:
    assert all(isinstance(day, date) for day in read_ignored(IGNORED.read_text()).values())


@pytest.mark.parametrize(
    ("reports", "status", "said"),
    [
        ({}, 0, "NOT AUDITED"),
        ({"pypi": NONE_KNOWN}, 0, "NOT AUDITED"),
        ({"pypi": NONE_KNOWN, "osv": REPORT}, 1, "PYSEC-1"),
        ({"pypi": REPORT}, 1, "PYSEC-1"),
    ],
)
def test_a_vulnerability_fails_and_silence_is_stated(
    reports: dict[str, dict[str, object]],
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(audit, "_report", lambda service, files: reports.get(service))
    assert audit.main() == status
    assert said in capsys.readouterr().out
