"""From the angle of a steering wheel to -1..1 of the car's lock. Pure.

AC does not say what a car's lock is, and a table of its thousands of cars, most of them made by players, nobody has. So a
lock is assumed that most cars stay within, and it grows where a car goes beyond. It never shrinks: that would draw the same
angle twice as large after a few corners. Who knows the lock of his car can set it.
"""

#: Two and a half turns from lock to lock, which is what road cars have; racing cars have less, and draw smaller curves.
USUAL_LOCK_DEG = 450.0
#: AC's shared memory gives -1..1 itself. No document of it says so; recordings made from it do.
SHARE_LOCK = 1.0
#: No wheel turns three times to one side.
_FARTHEST = 1080.0


class Steering:
    """Of one car. ``lock`` is in the unit of the angles: degrees, or shares of the lock."""

    def __init__(self, lock: float) -> None:
        self._lock = lock

    def share(self, angle: float) -> float:
        """-1..1, positive to the right as the angle is; what is no angle comes back as it is, for others to refuse."""
        if not abs(angle) <= _FARTHEST:
            return angle
        self._lock = max(self._lock, abs(angle))
        return angle / self._lock
