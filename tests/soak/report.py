"""The storm in a table: per kind, how often it was killed and how long the system took to
recover.
"""

import statistics
from collections.abc import Iterable, Sequence

from rich.table import Table

from serve.cli.tables import table_of
from tests.soak.audit import Verdict
from tests.soak.kinds import Kind
from tests.soak.ledger import Kill

_NUMBERS = ("killed", "recovered", "p50 s", "max s")


def kinds_table(kinds: Sequence[Kind], kills: Iterable[Kill]) -> Table:
    """Return a row per kind; times are of the kills that the system recovered from."""
    kills = list(kills)
    table = table_of("kind", *_NUMBERS, right=_NUMBERS)
    for kind in kinds:
        of_kind = [kill for kill in kills if kill.kind == kind]
        times_s = [kill.recovered_s for kill in of_kind if kill.recovered_s is not None]
        p50, longest = (
            (f"{statistics.median(times_s):.1f}", f"{max(times_s):.1f}") if times_s else ("-", "-")
        )
        table.add_row(kind, str(len(of_kind)), str(len(times_s)), p50, longest)
    return table


def audit_line(verdicts: Sequence[Verdict], laps: int) -> str:
    """Return the audit's sums in one line."""
    lost, twice, disordered = (
        sum(getattr(v, name) for v in verdicts) for name in ("lost", "twice", "disordered")
    )
    changed = sum(len(v.laps_changed) for v in verdicts)
    acknowledged = sum(v.acknowledged for v in verdicts)
    return (
        f"{len(verdicts)} sessions, {acknowledged:,} frames acknowledged: {lost} lost, {twice}"
        f" twice, {disordered} out of order; {laps} laps, {changed} differ from a recompute"
    )
