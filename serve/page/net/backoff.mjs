// How long to wait before the next attempt: full jitter, so that a hundred pages do not come back in the same instant.

const FIRST_MS = 500;
const LONGEST_MS = 15000;

// attempt counts from 0; random is a number in [0, 1). Never less than a tenth of the ceiling: zero is a busy loop.
export function backoffMs(attempt, random) {
  const ceiling = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.1 + 0.9 * random));
}
