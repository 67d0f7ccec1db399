// The sectors of the lap being driven, as far as they have ended; and of the one before for some seconds after the line, where
// its last sector ends. Pure. The lap engine reports them: a lap in progress when a sector ends, the lap when it is over.

import { sectorsOf } from "./laps.mjs";
import { SAME_START_MS } from "./sample_buffers.mjs";

const STAYS_MS = 8000;

export class RunningSectors {
  #lap = null;
  #ended = false;

  // lap: one in progress, as the socket sends it.
  update(lap) {
    this.#lap = lap;
    this.#ended = false;
  }

  // A lap is over, or corrected: of the one that is shown it has all sectors, and the colours that stand.
  finish(lap) {
    if (lap.lap_number !== this.#lap?.lap_number) return;
    this.#lap = lap;
    this.#ended = true;
  }

  // A lap began, in ms since 1970. Who joins in mid-lap receives its sectors before the first frame: these go on.
  begin(startedAt) {
    this.#ended = !(Math.abs(Date.parse(this.#lap?.started_at) - startedAt) <= SAME_START_MS);
  }

  // [{timeMs, colour}] when the lap clock reads `clockMs`.
  at(clockMs) {
    return this.#lap === null || (this.#ended && clockMs > STAYS_MS) ? [] : sectorsOf(this.#lap);
  }
}
