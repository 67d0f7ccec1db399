// Where a car is within its lap, made continuous: the page's side of analytics/laps/unwrapping.py, by the same table of cases.
//
// The lap line is where the game's counter says, not where the position wraps: at some tracks the lap begins at 0.98, and
// everywhere the position may stick at 1.0 and 0.0 for some frames around the line. So the position is unwrapped from sample to
// sample, and a lap that has just begun at 0.98 is at -0.02.

const HALF = 0.5;
const MOST_BACK = 0.25; // of a lap: a step further back between two samples is a step forward over the origin
export const JUST_BEGUN_MS = 10000;

// How many turns to add to a position after the one before it.
const turnsOver = (step) => -Math.floor(step + MOST_BACK);

export class Progress {
  #turns = null;
  #position = 0;

  // The position within the lap, from one sample to the next of the same lap.
  advance(position, clockMs) {
    if (this.#turns === null) this.#turns = position > HALF && clockMs < JUST_BEGUN_MS ? -1 : 0;
    else this.#turns += turnsOver(position - this.#position);
    this.#position = position;
    return position + this.#turns;
  }
}

// The positions of a lap that is known from its first sample to its last, unwrapped. `begun` and `ended` say whether the samples
// reach from the one line and to the other: the end that is nearer to a line decides. `line` is the line's position.
export function unwrapLap(positions, { line = 0, begun = true, ended = true } = {}) {
  if (positions.length === 0) return [];
  const offset = line - Math.round(line);
  const share = (position) => position - line - Math.floor(position - line);
  const unwrapped = [share(positions[0])];
  let turns = 0;
  for (let i = 1; i < positions.length; i += 1) {
    turns += turnsOver(share(positions[i]) - share(positions[i - 1]));
    unwrapped.push(share(positions[i]) + turns);
  }
  const ends = [...(ended ? [[unwrapped.at(-1), 1]] : []), ...(begun ? [[unwrapped[0], 0]] : [])];
  const off = ends.map(([end, at]) => ({ from: Math.abs(end - Math.round(end)), turns: Math.round(end) - at }));
  const nearest = off.reduce((best, one) => (one.from < best.from ? one : best), off[0] ?? { from: 0, turns: 0 });
  return unwrapped.map((progress) => progress - nearest.turns + offset);
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
