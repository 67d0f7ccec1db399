"""When to ask the game again, of which nothing is known but when it was last heard. Pure.

The protocol has no sign of life. A game that is restarted, or loads another session, forgets who listened; so after a short
silence it is asked again, and more seldom while there is no answer or nothing to tell. What it tells before it is asked is lost:
the pauses stay short.
"""

SILENCE_S = 1.0
LONGEST_PAUSE_S = 3.0


class HandshakeSchedule:
    """Of one socket."""

    def __init__(self) -> None:
        self.answered = False
        self._at_s = float("-inf")
        self._pause_s = SILENCE_S
        self._in_vain = 1  # nobody knows what an earlier collector with our port has left behind

    def due(self, now_s: float) -> bool:
        return now_s >= self._at_s

    def ask(self, now_s: float) -> bool:
        """Note that it is asked now. Whether it should be told to forget us before.

        It should when asking alone did not help. Not at once: in a pause it may still know us, and would begin again by itself.
        """
        anew, self._in_vain = self._in_vain > 0, self._in_vain + 1
        self.answered = False
        self._at_s = now_s + self._pause_s
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return anew

    def heard(self, now_s: float) -> None:
        """What was subscribed to is coming."""
        self._pause_s, self._in_vain = SILENCE_S, 0
        self._at_s = now_s + SILENCE_S

    def again(self) -> None:
        """Ask now."""
        self._at_s = float("-inf")
