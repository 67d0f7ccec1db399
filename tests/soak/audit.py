"""What the store must have after the storm, by session and sequence. Pure: `store` reads what is
judged here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.soak.kinds import Kind
from tests.soak.ledger import Kill


@dataclass(frozen=True, slots=True)
class Stored:
    """A session as the store has it: its rows, the steps between sequences in the order of time,
    and its laps.
    """

    rows: int = 0
    distinct: int = 0
    highest: int = 0
    disordered: int = 0  # frames that do not follow the one before them in time
    laps: int = 0
    laps_changed: tuple[int, ...] = ()  # lap numbers that a recompute would change


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a session, in frames; all are 0 for one that is right."""

    session: str
    acknowledged: int
    lost: int
    twice: int
    disordered: int
    invented: int
    laps_changed: tuple[int, ...]

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not (
            self.lost or self.twice or self.disordered or self.invented or self.laps_changed
        )


def judge(
    taken: Mapping[str, int], given: Mapping[str, int], stored: Mapping[str, Stored]
) -> list[Verdict]:
    """Judge each session that was driven.

    ``taken`` is how many frames the collector acknowledged to the game, ``given`` how many the game
    gave. A killed collector leaves one frame between the two, which may be stored or not.
    """
    return [
        _judge(key, taken.get(key, 0), count, stored.get(key, Stored()))
        for key, count in sorted(given.items())
    ]


def _judge(key: str, taken: int, given: int, has: Stored) -> Verdict:
    return Verdict(
        session=key,
        acknowledged=taken,
        lost=max(taken, has.highest) - has.distinct,
        twice=has.rows - has.distinct,
        disordered=has.disordered,
        invented=max(0, has.highest - given),
        laps_changed=has.laps_changed,
    )


def violations(
    kinds: Sequence[Kind], kills: Iterable[Kill], verdicts: Iterable[Verdict]
) -> list[str]:
    """Return a sentence for everything that fails the run."""
    kills = list(kills)
    fired = {kill.kind for kill in kills}
    return [
        *(f"{kind}: never killed" for kind in kinds if kind not in fired),
        *(
            f"{kill.kind}: not recovered from kill {kill.number}"
            for kill in kills
            if kill.concluded and kill.recovered_s is None
        ),
        *(
            f"{kill.kind}: kill {kill.number} left {', '.join(kill.left)} behind"
            for kill in kills
            if kill.left
        ),
        *(_sentence(verdict) for verdict in verdicts if not verdict.sound),
    ]


def _sentence(verdict: Verdict) -> str:
    laps = (
        f", laps {', '.join(map(str, verdict.laps_changed))} differ from a recompute"
        if verdict.laps_changed
        else ""
    )
    return (
        f"session {verdict.session}: of {verdict.acknowledged} acknowledged frames {verdict.lost}"
        f" lost, {verdict.twice} twice, {verdict.disordered} out of order, {verdict.invented} never"
        f" given{laps}"
    )
