"""Decides when to send the handshake again, from the time of the last datagram alone. Pure.

The protocol has no keep-alive. A game that is restarted, or loads another session, forgets its
listeners. So the handshake is repeated after a short silence, with backoff while there is no answer
or no data. Data that the game sends before the handshake is lost, so the pauses stay short.
"""

from ingest.backoff import Backoff

SILENCE_S = 1.0
LONGEST_PAUSE_S = 3.0
_BACKOFF = Backoff(SILENCE_S, LONGEST_PAUSE_S)


class HandshakeSchedule:
    """Handshake schedule of one socket."""

    def __init__(self) -> None:
        self.answered = False
        self._at_s = float("-inf")
        self._unanswered = 0
        # An earlier collector with our port may have left a subscription behind.
        self._since_data = 1

    def due(self, now_s: float) -> bool:
        """Return whether a handshake is due."""
        return now_s >= self._at_s

    def begin(self, now_s: float) -> bool:
        """Note a handshake at ``now_s``, and return whether to unsubscribe first.

        Unsubscribe when the handshake alone did not help. Do not unsubscribe at once.
        In a pause the game may still have the subscription, and would send again automatically.
        """
        unsubscribe, self._since_data = self._since_data > 0, self._since_data + 1
        self.answered = False
        self._unanswered += 1
        self._at_s = now_s + _BACKOFF.pause_s(self._unanswered)
        return unsubscribe

    def received(self, now_s: float) -> None:
        """Note that the subscribed data arrives."""
        self._unanswered = self._since_data = 0
        self._at_s = now_s + SILENCE_S

    def again(self) -> None:
        """Make the handshake due now."""
        self._at_s = float("-inf")
