// Samples in columns. A Trace is one lap and grows; a Ring keeps the newest samples of a session and forgets the rest.
//
// Both hold the same columns, so whoever draws one can draw the other. `progress` is the position unwrapped within the lap:
// it passes 1 where the spline starts anew before the game counts the lap, and begins below 0 where the game counts early.

// The page and the lap engine need not agree to the millisecond when a lap began.
export const SAME_START_MS = 2000;

export const COLUMNS = [
  "progress", "clock", "speed", "throttle", "brake", "steering", "gear", "rpm", "delta", "x", "z",
];

function columns(capacity) {
  const made = { time: new Float64Array(capacity) };
  for (const name of COLUMNS) made[name] = new Float32Array(capacity);
  return made;
}

function write(into, index, sample) {
  into.time[index] = sample.time;
  for (const name of COLUMNS) into[name][index] = sample[name];
}

export class Trace {
  constructor(lapNumber, capacity = 4096) {
    this.lapNumber = lapNumber;
    this.length = 0;
    this.columns = columns(capacity);
    this.placedFrom = NaN; // the progress at which the game first reported a place
  }

  append(sample) {
    if (this.length === this.columns.time.length) this.#double();
    write(this.columns, this.length, sample);
    if (Number.isNaN(this.placedFrom) && (sample.x || sample.z)) this.placedFrom = sample.progress;
    this.length += 1;
  }

  get hasPlace() {
    return !Number.isNaN(this.placedFrom);
  }

  // When the lap began, in ms since 1970, wherever in it the first sample lies; NaN without one.
  get startedAt() {
    return this.length > 0 ? this.columns.time[0] - this.columns.clock[0] : NaN;
  }

  // The part of the lap whose places are known, 0..1; NaN where none is.
  get placedSpan() {
    return this.columns.progress[this.length - 1] - this.placedFrom;
  }

  // The part of the lap that was seen, 0..1.
  get span() {
    if (this.length === 0) return 0;
    const { progress } = this.columns;
    return progress[this.length - 1] - progress[0];
  }

  #double() {
    const larger = columns(this.length * 2);
    for (const [name, column] of Object.entries(this.columns)) larger[name].set(column);
    this.columns = larger;
  }
}

export class Ring {
  constructor(capacity = 8192) {
    this.capacity = capacity;
    this.columns = columns(capacity);
    this.written = 0;
  }

  append(sample) {
    write(this.columns, this.written % this.capacity, sample);
    this.written += 1;
  }

  get length() {
    return Math.min(this.written, this.capacity);
  }

  // Where the i-th newest sample is in the columns; 0 is the newest.
  slot(newest) {
    return (this.written - 1 - newest) % this.capacity;
  }

  // How many of the newest samples are at or after `time`.
  since(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.columns.time[this.slot(middle)] >= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
