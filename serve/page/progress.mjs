// Where a car is within its lap, made continuous.
//
// The lap line is where the game's counter says, not where the position wraps: at some tracks the lap begins at 0.98, and
// everywhere the position may stick at 1.0 and 0.0 for some frames around the line. So the position is unwrapped from the
// lap's first sample on, and a lap that has just begun at 0.98 is at -0.02.

const HALF = 0.5;
const JUST_BEGUN_MS = 10000;

export class Progress {
  #turns = null;
  #position = 0;

  // The position within the lap, from one sample to the next of the same lap.
  advance(position, clockMs) {
    if (this.#turns === null) this.#turns = position > 0.9 && clockMs < JUST_BEGUN_MS ? -1 : 0;
    else if (position < this.#position - HALF) this.#turns += 1;
    else if (position > this.#position + HALF) this.#turns -= 1;
    this.#position = position;
    return position + this.#turns;
  }
}

// Where on the axis 0..1 a progress is drawn.
export function onAxis(progress) {
  if (progress >= 0 && progress <= 1) return progress;
  return progress - Math.floor(progress);
}

// The last of the first `length` samples that is at or before `at`; -1 where there is none.
export function lastAtOrBefore(progress, length, at) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (progress[middle] <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
