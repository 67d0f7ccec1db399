"""Which sessions have sent no frame for a while: the lap that ends with its recording is theirs.

Pure: time is an argument. After the flag many a log stops at the line, and no frame comes that would show that the lap ended.
"""

#: So long without a frame, and what the last frames reached is what there is. A pause at the line is put right when it goes on.
SILENT_S = 5.0


class SilentSessions:
    """The sessions of one partition, by when their last frames came."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}  # in the order of time

    def note(self, key: str, *, now: float) -> None:
        """Frames of this session came, or its laps were timed again."""
        self._since.pop(key, None)
        self._since[key] = now

    def next_silent(self, *, now: float) -> str | None:
        """Return a session that has been silent for long enough, once; None where there is none."""
        key = next(iter(self._since), None)
        if key is None or now < self._since[key] + SILENT_S:
            return None
        del self._since[key]
        return key
