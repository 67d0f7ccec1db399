"""Converts the angle of a steering wheel to -1..1 of the car's lock. Pure.

AC does not report a car's lock. No table exists of its thousands of cars, most of them made by
players. So the code assumes a lock that most cars stay within, and it grows where a car goes
beyond. It never shrinks: that would draw the same angle twice as large after a few corners. A user
who knows the lock of the car can set it.
"""

#: Two and a half turns from lock to lock, as in road cars. Racing cars have less, and draw smaller
#: curves.
USUAL_LOCK_DEG = 450.0
#: AC's shared memory has -1..1 already. No document states it; recordings made from it show it.
SHARE_LOCK = 1.0
#: No wheel turns three times to one side.
_FARTHEST = 1080.0


class Steering:
    """Steering of one car.

    ``lock`` is in the unit of the angles: degrees, or shares of the lock.
    """

    def __init__(self, lock: float) -> None:
        self._lock = lock

    def share(self, angle: float) -> float:
        """Return the angle as -1..1 of the lock, positive to the right as the angle is.

        An invalid angle is returned unchanged, for others to refuse.
        """
        if not abs(angle) <= _FARTHEST:
            return angle
        self._lock = max(self._lock, abs(angle))
        return angle / self._lock
