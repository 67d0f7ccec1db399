// A session by the second, as the store sums it up: a day of it is 86,400 rows. Pure: whoever makes it says how to ask.
//
// It grows from where it has come to. The last second is asked for again each time: it was not over.

const COLUMNS = {
  speed: "avg_speed_kmh",
  topSpeed: "max_speed_kmh",
  throttle: "avg_throttle",
  brake: "avg_brake",
  steering: "avg_steering",
  rpm: "avg_rpm",
};
const PAUSE_MS = 5000;

export class Seconds {
  #since = null;
  #reading = false;

  // fetchPiece(since) -> {columns, next}: the seconds from `since` on, or from the first; next is null in the last piece.
  constructor(fetchPiece) {
    this.fetchPiece = fetchPiece;
    this.length = 0;
    this.columns = columns(4096);
    this.version = 0;
    this.whole = false;
    this.trouble = "";
    this.left = false;
  }

  // Ask for what is new. What has come stays if the next piece does not.
  async read() {
    if (this.#reading) return;
    this.#reading = true;
    try {
      for (let more = true; more && !this.left;) {
        const { columns: piece, next } = await this.fetchPiece(this.#since);
        this.#put(piece);
        this.#since = next ?? piece.second.at(-1) ?? this.#since;
        more = next !== null;
      }
      this.whole = !this.left;
      this.trouble = "";
    } catch (error) {
      this.trouble = `The session's seconds can't be read: ${error.message}`;
    } finally {
      this.#reading = false;
    }
  }

  get start() {
    return this.length > 0 ? this.columns.time[0] : NaN;
  }

  // A second lasts: the session ends with the end of the last one.
  get end() {
    return this.length > 0 ? this.columns.time[this.length - 1] + 1000 : NaN;
  }

  // The index of the second that is nearest to a time; -1 where there is none, or the car was not there.
  at(time) {
    const { time: times } = this.columns;
    const after = firstAtOrAfter(times, this.length, time);
    const nearest = after > 0 && (after === this.length || time - times[after - 1] <= times[after] - time) ? after - 1 : after;
    return nearest < this.length && Math.abs(times[nearest] - time) <= PAUSE_MS ? nearest : -1;
  }

  #put(piece) {
    const { second } = piece;
    if (second.length === 0) return;
    const times = second.map((text) => Date.parse(text));
    const from = firstAtOrAfter(this.columns.time, this.length, times[0]);
    if (from + times.length > this.columns.time.length) this.#grow(2 * (from + times.length));
    this.columns.time.set(times, from);
    for (const [name, stored] of Object.entries(COLUMNS)) {
      this.columns[name].set(piece[stored].map((value) => value ?? NaN), from);
    }
    this.length = from + times.length;
    this.version += 1;
  }

  #grow(capacity) {
    const larger = columns(capacity);
    for (const [name, column] of Object.entries(this.columns)) larger[name].set(column.subarray(0, this.length));
    this.columns = larger;
  }
}

// What pixels can show of a column: of each pixel its lowest, highest and mean value, x in pixels from `start`. A pause
// that is wider than a pixel is a NaN.
export function thinned(times, column, length, { start, perMs }) {
  const thin = { x: [], low: [], high: [], mean: [] };
  let pixel = NaN;
  let low = NaN;
  let high = NaN;
  let sum = 0;
  let count = 0;
  const put = () => {
    if (count === 0) return;
    thin.x.push(pixel);
    thin.low.push(low);
    thin.high.push(high);
    thin.mean.push(sum / count);
  };
  for (let i = 0; i < length; i += 1) {
    const value = column[i];
    if (Number.isNaN(value)) continue; // of that second no frame knows it
    const across = Math.round((times[i] - start) * perMs);
    if (across === pixel) {
      if (value < low) low = value;
      if (value > high) high = value;
      sum += value;
      count += 1;
      continue;
    }
    put();
    if (across - pixel > 1 && times[i] - times[i - 1] > PAUSE_MS) for (const part of Object.values(thin)) part.push(NaN);
    pixel = across;
    low = value;
    high = value;
    sum = value;
    count = 1;
  }
  put();
  return thin;
}

function columns(capacity) {
  const made = { time: new Float64Array(capacity) };
  for (const name of Object.keys(COLUMNS)) made[name] = new Float32Array(capacity);
  return made;
}

function firstAtOrAfter(times, length, time) {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
