"""Counts unusable game data by kind, and logs each kind once instead of sixty times a second."""

import structlog

log = structlog.get_logger()


class AnomalyCounts:
    """Counts of one game's anomalies. A kind is a few words; ``detail`` describes the first of that
    kind.
    """

    def __init__(self, game: str) -> None:
        self._game = game
        self.counts: dict[str, int] = {}

    def add(self, kind: str, detail: str = "") -> None:
        """Count one anomaly of ``kind``, and log the first of that kind."""
        if kind not in self.counts:
            log.warning("game data not used", game=self._game, kind=kind, detail=detail)
        self.counts[kind] = self.counts.get(kind, 0) + 1
