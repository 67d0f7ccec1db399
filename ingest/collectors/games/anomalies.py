"""What a game sent that could not be used: counted by kind, and said once per kind, not sixty times a second."""

import structlog

log = structlog.get_logger()


class AnomalyCounts:
    """Of one game. A kind is a few words; ``detail`` is what the first of that kind looked like."""

    def __init__(self, game: str) -> None:
        self._game = game
        self.counts: dict[str, int] = {}

    def add(self, kind: str, detail: str = "") -> None:
        """One more of that kind."""
        if kind not in self.counts:
            log.warning("game data not used", game=self._game, kind=kind, detail=detail)
        self.counts[kind] = self.counts.get(kind, 0) + 1
