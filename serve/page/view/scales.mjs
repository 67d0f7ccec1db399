// How high each strip is. A scale only grows, in round steps, so that the picture jumps seldom and never shrinks under the eye.

const LOWEST_LIMIT_RPM = 5000;
const DELTA_STEPS_MS = [250, 500, 1000, 2000, 5000, 10000, 25000, 50000];

const upTo = (value, step) => Math.ceil(value / step - 1e-9) * step;

// The ends of a strip from the largest size seen of its channel.
const DOMAINS = {
  speed: (largest) => [0, Math.max(100, upTo(largest * 1.04, 50))],
  throttle: () => [0, 1],
  brake: () => [0, 1],
  steering: (largest) => [-Math.min(1, Math.max(0.25, upTo(largest, 0.25))), Math.min(1, Math.max(0.25, upTo(largest, 0.25)))],
  gear: (largest) => [0, Math.max(4, largest)],
  rpm: (largest) => [0, Math.max(4000, upTo(largest * 1.02, 1000))],
  delta: (largest) => {
    const end = DELTA_STEPS_MS.find((step) => largest <= step) ?? DELTA_STEPS_MS.at(-1);
    return [-end, end];
  },
};

// Values at which a line is drawn across the strip.
const LINES = {
  speed: ([, top]) => steps(0, top, top > 200 ? 100 : 50),
  throttle: () => [0, 0.5, 1],
  brake: () => [0, 0.5, 1],
  steering: () => [0],
  gear: ([, top]) => steps(0, top, 2),
  rpm: ([, top]) => steps(0, top, top > 9000 ? 4000 : 2000),
  delta: ([bottom, top]) => [bottom * 0.8, 0, top * 0.8],
};

function steps(from, to, step) {
  const values = [];
  for (let value = from; value <= to; value += step) values.push(value);
  return values;
}

// A line for every second gear of 2147483647 hung the tab.
const FARTHEST = { speed: 700, gear: 20, rpm: 50000 };

export class Scales {
  #largest = {};
  #ends = {};

  constructor() {
    this.version = 0;
    for (const key of Object.keys(DOMAINS)) this.reset(key);
  }

  reset(key) {
    this.#largest[key] = 0;
    this.#ends[key] = DOMAINS[key](0);
    this.version += 1;
  }

  include(key, value) {
    const size = Math.abs(value);
    // The server blanks what no car can have sent; a scale that has no end would hang the page all the same.
    if (!(size > this.#largest[key]) || size > (FARTHEST[key] ?? Infinity)) return;
    this.#largest[key] = size;
    const [bottom, top] = DOMAINS[key](size);
    if (top === this.#ends[key][1]) return;
    this.#ends[key] = [bottom, top];
    this.version += 1;
  }

  largest(key) {
    return this.#largest[key];
  }

  ends(key) {
    return this.#ends[key];
  }

  lines(key) {
    return LINES[key](this.#ends[key]);
  }
}

// How many of `count` shift lights are lit: from 82 % of the highest revolutions seen, all of them at 98 %.
export function lightsLit(rpm, highest, count) {
  // An engine that has only idled so far has not shown how high it goes.
  const share = (rpm / Math.max(highest, LOWEST_LIMIT_RPM) - 0.82) / 0.16;
  return Math.max(0, Math.min(count, Math.ceil(share * count)));
}
