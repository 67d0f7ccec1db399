"""Checks which times a clock can show, and which times a frame can have, in ms since the Unix
epoch.

Collectors with a wrong clock, or with another unit, are common. One of them can make thousands of
chunks in the database. A wrong clock costs no frame: `ingest.batching.clock_corrections` replaces
its times. A time that no clock shows makes a dead letter for a person to look at. Pure numbers; the
present is an argument.
"""

#: 2010-01-01: before it no sim sent telemetry.
EARLIEST_MS = 1_262_304_000_000
#: 2100-01-01: beyond it no session is driven.
LATEST_MS = 4_102_444_800_000
#: How far a collector's clock may be ahead of the broker's.
AHEAD_MS = 5 * 60 * 1000
#: A clock that is further behind the broker's than this is wrong. A smaller lag may be a record
#: that waited for a broker.
BEHIND_MS = 24 * 60 * 60 * 1000
#: How far a session without a jump may get ahead. It is sent faster than it was driven, or its
#: clock is fast.
DRIFTED_AHEAD_MS = 24 * 60 * 60 * 1000
#: How much earlier than its session's start a frame may be: clocks are set while games run.
BEFORE_START_MS = 60 * 60 * 1000
#: How far a clock may step back while the sequences go on, before that is corrected. Network time
#: steps by less.
BACK_MS = 1000

_UNITS = (("seconds", 1000, 1), ("microseconds", 1, 1000), ("nanoseconds", 1, 1_000_000))
#: Microseconds beyond this do not fit into 64 bits.
_CLOCK_END_MS = 8_640_000_000_000_000


def time_fault(time_ms: int) -> str | None:
    """Return why no clock, right or wrong, shows this time: ``time: ...``; None if one can."""
    if EARLIEST_MS <= time_ms < LATEST_MS:
        return None
    if time_ms == 0:
        return "time: no timestamp"
    for unit, factor, divisor in _UNITS:
        if EARLIEST_MS <= time_ms * factor // divisor < LATEST_MS:
            return f"time: {time_ms} looks like {unit}, not milliseconds"
    return None if abs(time_ms) < _CLOCK_END_MS else f"time: {time_ms} ms is no date"


def date_fault(time_ms: int) -> str | None:
    """Return why a clock that shows this time is wrong at any present time; None if it may be
    right.
    """
    if EARLIEST_MS <= time_ms < LATEST_MS:
        return None
    return f"{time_ms} ms is {'before 2010' if time_ms < EARLIEST_MS else 'after 2100'}"


def ahead_fault(time_ms: int, now_ms: int) -> str:
    """Return why a time beyond ``now_ms + AHEAD_MS`` is refused."""
    return f"{(time_ms - now_ms) / 1000:.0f} s ahead of the broker's clock"


def behind_fault(behind_ms: int) -> str:
    """Return why the times of a clock that is more than ``BEHIND_MS`` behind are moved."""
    return f"{behind_ms / 1000:.0f} s behind the broker's clock"


def before_start_fault(time_ms: int, started_at_ms: int) -> str:
    """Return why a time before ``started_at_ms - BEFORE_START_MS`` is refused."""
    return f"{(started_at_ms - time_ms) / 1000:.0f} s before its session's start"


def back_fault(time_ms: int, latest_ms: int) -> str:
    """Return why a time more than ``BACK_MS`` before ``latest_ms`` is refused, where the sequences
    go on.
    """
    return f"went back {(latest_ms - time_ms) / 1000:.0f} s while the sequences went on"
