"""Computes laps from frames, with the same result live or all at once: the lap engine.

`advance` takes a session's next frames and the state of the frames before. `resume` makes that
state again from stored frames. Neither uses a clock, a database or a broker. Rules:

* A lap ends where the game's lap counter rises. Where the counter stands still, it ends where the
  lap clock restarts at the line.
* However a session is cut into batches, the last emission of each lap is the same.
* A lap that was not driven round in order, from mark to mark, is partial. It sets no best, even if
  the game counts it.
* A frame that is not later than every frame before it is ignored. The store keeps such a late
  resend.
* A restart of the game is a counter that goes back, or a clock that restarts away from the line.
  The attempt in progress is dropped and the next one gets its number. Numbers are therefore unique,
  and no finished lap is overwritten. After a restart, they differ from the game's counter. The
  frames of a lap are those from its start to before its end.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from analytics.laps.crossing import LOOKBACK_US, line_at_end_us
from analytics.laps.frame_arrays import FrameArrays
from analytics.laps.frame_events import LEAST_RECENT, LOUD, FrameEvents, Tally, tallies
from analytics.laps.lap_result import SHORTEST_LAP_MS, finished, in_progress
from analytics.laps.session_timer import SessionTimer, attempt
from analytics.laps.state import EngineState, OpenLap
from analytics.model.arrays import Reals
from analytics.model.lap import Lap, LapInProgress
from analytics.model.track_layout import UNKNOWN, TrackLayout

#: How much of the time before a lap `resume` needs.
RESUME_MARGIN_US = 2 * LOOKBACK_US


def advance(
    frames: pa.Table, state: EngineState | None, layout: TrackLayout = UNKNOWN
) -> tuple[list[Lap], EngineState | None]:
    """Return the laps that these frames end or correct, and the state for the next frames.

    ``frames`` has the columns of `analytics.model.channels.FRAMES` and holds one session in driven
    order. A lap may appear again, in this result or a later one: the last emission counts. The
    carry is None only before the first frame.
    """
    return advance_each(frames, [frames.num_rows], [state], [layout])[0]


def advance_each(
    frames: pa.Table,
    ends: Sequence[int],
    states: Sequence[EngineState | None],
    layouts: Sequence[TrackLayout] | None = None,
) -> list[tuple[list[Lap], EngineState | None]]:
    """Run `advance` for several sessions at once.

    The cost is hardly higher than for one session with as many frames. The frames of session i are
    those from ``ends[i - 1]`` (0 for the first) to before ``ends[i]``. ``carries[i]`` is its
    state. ``layouts[i]`` is the track layout that it is timed on from its first frame on.
    """
    layouts = layouts or [UNKNOWN] * len(ends)
    answers: list[tuple[list[Lap], EngineState | None]] = [([], state) for state in states]
    moving = _moving(frames, ends, states, layouts)
    if not moving:
        return answers
    arrays = FrameArrays.joined([each for _, state, new in moving for each in (state.recent, new)])
    lengths = np.array([len(state.recent) + len(new) for _, state, new in moving])
    edges = np.append(0, np.cumsum(lengths))
    events = FrameEvents.of(arrays, edges[:-1], lengths, [layouts[i] for i, _, _ in moving])
    firsts = edges[:-1] + [len(state.recent) for _, state, _ in moving]
    counts = tallies(arrays, events, firsts, edges[1:])
    for (i, state, _), start, end, tally in zip(moving, edges, edges[1:], counts, strict=False):
        rows = slice(int(start), int(end))
        mine = arrays.take(rows)
        if not tally.bits & LOUD and not state.ended:
            # This is nearly always so, and then no frame needs to be examined singly.
            answers[i] = [], _driven_on(mine, state, tally)
        else:
            timer = SessionTimer(mine, events.take(rows), state, layouts[i])
            answers[i] = timer.run(len(state.recent), tally)
    return answers


def _moving(
    frames: pa.Table,
    ends: Sequence[int],
    states: Sequence[EngineState | None],
    layouts: Sequence[TrackLayout],
) -> list[tuple[int, EngineState, FrameArrays]]:
    """Return the place, the state and the new frames of each session with a later frame."""
    starts = [0, *ends]
    recent = [state.recent if state else None for state in states]
    before = list(zip(starts, recent, strict=False))
    everything = FrameArrays.of(frames, _lines(ends, layouts), before)
    moving: list[tuple[int, EngineState, FrameArrays]] = []
    for i, (start, end, state) in enumerate(zip(starts, ends, states, strict=False)):
        known_to_us = int(state.recent.time[-1]) if state else None
        new = everything.take(slice(start, end)).after(known_to_us)
        if len(new):
            moving.append((i, state or _first_state(new), new))
    return moving


def _first_state(new: FrameArrays) -> EngineState:
    return EngineState(new.take(slice(0)), attempt(new, 0, int(new.lap_number[0])))


def _driven_on(arrays: FrameArrays, state: EngineState, tally: Tally) -> EngineState:
    """Return the state after frames without an event; in ``arrays`` they follow the recent ones."""
    before, new = state.open, slice(len(state.recent), len(arrays))
    lap = before.driven(arrays, new, tally, splits=before.splits, marks=before.marks)
    recent = arrays.recent(LOOKBACK_US, least=LEAST_RECENT)
    return EngineState(recent, lap, None, state.ahead)


def resume(
    frames: pa.Table, *, lap_number: int, started_at_us: int, layout: TrackLayout = UNKNOWN
) -> tuple[list[Lap], EngineState | None]:
    """Return the state from stored frames, and their laps from ``lap_number`` on.

    The result is as if `advance` had never stopped. ``lap_number`` and ``started_at_us`` are those
    of the last finished lap in the store. ``frames`` are all stored frames of the session in order
    of time. They begin with the last one before ``started_at_us - RESUME_MARGIN_US``, or with the
    first one if none is so old. `analytics.store.queries.frames_to_resume` reads them. Where no lap
    is stored, pass all frames to `advance` instead. The frames before the lap show how the car
    entered it. The lap that they make is discarded. The result is exact if laps are longer than ten
    seconds and no resend filled a hole meanwhile.
    """
    laps, state = advance(frames, None, layout)
    if state is None:
        return [], None
    starts: Sequence[Lap | OpenLap] = [*laps, state.open]
    same = min(starts, key=lambda lap: abs(lap.started_at_us - started_at_us))
    shift = lap_number - same.lap_number
    laps = [replace(lap, lap_number=lap.lap_number + shift) for lap in laps]
    return [lap for lap in laps if lap.lap_number >= lap_number], state.renumbered(shift)


def timed(frames: pa.Table, layout: TrackLayout = UNKNOWN) -> list[Lap]:
    """Return the laps of a whole session, each once, in order; ``frames`` as for `advance`.

    The lap that ends with the recording is included if the car reached the line in it.
    """
    laps, state = advance(frames, None, layout)
    found = {lap.lap_number: lap for lap in laps}
    if state and (last := last_lap(state, layout)):
        found[last.lap_number] = last
    return list(found.values())


def last_lap(state: EngineState, layout: TrackLayout = UNKNOWN) -> Lap | None:
    """Return the lap in progress as an ended one, if the recording's last frames reach the line;
    else None.

    Call it only where no more frames follow.
    """
    line_us = line_at_end_us(state.recent)
    if line_us is None or line_us <= state.open.started_at_us:
        return None
    lap = finished(state.open, layout, state.recent, len(state.recent), 0, line_us)
    return lap if lap.lap_time_ms is not None and lap.lap_time_ms >= SHORTEST_LAP_MS else None


def sector_ended(
    before: EngineState | None, now: EngineState | None, layout: TrackLayout = UNKNOWN
) -> LapInProgress | None:
    """Return the lap in progress if one of its sectors ended between two states; else None.

    Both states are of the same session.
    """
    if now is None or (
        before and before.open.splits is now.open.splits and before.open.marks is now.open.marks
    ):
        # This is nearly always so: `advance` makes new ones only where the car passed a mark or a
        # sector's end.
        return None
    lap = in_progress(now.open, layout)
    begun = before.open if before and before.open.started_at_us == lap.started_at_us else None
    known = in_progress(begun, layout).sector_times_ms if begun else ()
    return lap if len(lap.sector_times_ms) > len(known) else None


def _lines(ends: Sequence[int], layouts: Sequence[TrackLayout]) -> Reals | float:
    """Return the line of each frame, or one for all."""
    if not any(layout.line for layout in layouts):
        return 0.0
    return np.repeat([layout.line for layout in layouts], np.diff(ends, prepend=0))
