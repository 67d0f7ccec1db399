"""Finds sessions that have sent no frame for a while, because a session's last lap ends with its
recording.

Pure: time is an argument. Many recordings stop at the line after the flag. Then no frame comes that
would show that the lap ended.
"""

#: After this long without a frame, the lap ends at the last frames. A pause at the line is
#: corrected when the session goes on.
SILENT_S = 5.0


class SilentSessions:
    """The sessions of one partition, by the time of their last frames."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}  # in order of time

    def __len__(self) -> int:
        return len(self._since)

    def note(self, key: str, *, now: float) -> None:
        """Note that frames of this session came, or that its laps were timed again."""
        self._since.pop(key, None)
        self._since[key] = now

    def next_silent(self, *, now: float) -> str | None:
        """Return a session that has been silent for long enough, once; None where there is none."""
        key = next(iter(self._since), None)
        if key is None or now < self._since[key] + SILENT_S:
            return None
        del self._since[key]
        return key
