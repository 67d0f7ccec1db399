"""When a frame can have been driven, in milliseconds since the Unix epoch.

Collectors with a broken clock, or with another unit, are common: one of them can make thousands of chunks in the
database. Pure numbers; the present is an argument.
"""

#: 2010-01-01: before it no sim sent telemetry.
EARLIEST_MS = 1_262_304_000_000
#: 2100-01-01: beyond it a number is no time, whatever the clocks say.
LATEST_MS = 4_102_444_800_000
#: How far a collector's clock may be ahead of ours.
AHEAD_MS = 5 * 60 * 1000
#: How much earlier than its session's start a frame may be: clocks are set while games run.
BEFORE_START_MS = 60 * 60 * 1000

_UNITS = (("seconds", 1000, 1), ("microseconds", 1, 1000), ("nanoseconds", 1, 1_000_000))


def time_fault(time_ms: int) -> str | None:
    """Why this can be no time of any session, or None if it can: ``time: ...``."""
    if EARLIEST_MS <= time_ms < LATEST_MS:
        return None
    if time_ms == 0:
        return "time: no timestamp"
    for unit, factor, divisor in _UNITS:
        if EARLIEST_MS <= time_ms * factor // divisor < LATEST_MS:
            return f"time: {time_ms} looks like {unit}, not milliseconds"
    return f"time: {time_ms} ms is {'before 2010' if time_ms < EARLIEST_MS else 'after 2100'}"


def ahead_fault(time_ms: int, now_ms: int) -> str:
    """Why a time beyond ``now_ms + AHEAD_MS`` is refused."""
    return f"time: {time_ms} is {(time_ms - now_ms) / 1000:.0f} s ahead of the clock here"


def before_start_fault(time_ms: int, started_at_ms: int) -> str:
    """Why a time before ``started_at_ms - BEFORE_START_MS`` is refused."""
    return f"time: {time_ms} is {(started_at_ms - time_ms) / 1000:.0f} s before its session's start"
