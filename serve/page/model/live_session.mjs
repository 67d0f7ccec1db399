// A session being driven: frames go in, the current lap, the last seconds and the finished laps come out.
//
// Pure: it knows no socket, no screen and no clock but the frames' own. A frame that is not newer than the last is a repeat
// (a join or a reconnection sends history again) and is left out.

import { Progress } from "./lap_position.mjs";
import { COLUMNS, Ring, Trace } from "./sample_buffers.mjs";

const KEPT_LAPS = 40;
const CLOCK_RESTARTS_MS = 1000;
const SETTLED_FRAMES = 5;
const SPARE_SAMPLES = 4096;
const WHOLE_LAP = 0.95;
const SAME_TIME_MS = 5;
const FITS_MS = 1000; // as for the lap engine: an official time further off is of another lap
const HELD = ["lapNumber", "lapTime", "normalizedPosition"];

export class Drive {
  #progress = null;
  #ended = null;

  constructor() {
    this.recent = new Ring();
    this.current = null;
    this.frame = null;
    this.frames = 0;
    this.traces = new Map();
    this.sectorStarts = new Map();
    this.reference = null;
  }

  // -> null for a repeat, else {sample, lap}: lap is the finished lap that this frame let us time, mostly null.
  push(frame) {
    if (this.frame && frame.timestamp <= this.frame.timestamp) return null;
    // Where a car is does not become 0 where a frame does not know it: a lap would end.
    for (const name of HELD) if (Number.isNaN(frame[name])) frame = { ...frame, [name]: this.frame?.[name] ?? 0 };
    if (this.#beginsLap(frame)) this.#beginLap(frame);
    const sample = this.#sample(frame);
    this.#learnSectors(frame, sample.progress);
    this.current.append(sample);
    this.recent.append(sample);
    this.frame = frame;
    this.frames += 1;
    return { sample, lap: this.#timeEndedLap(frame) };
  }

  // The newest whole lap whose places are known, null if there is none.
  get outline() {
    return [...this.traces.values()].findLast((trace) => trace.placedSpan > WHOLE_LAP) ?? null;
  }

  // The lap as it was before the page looked: stored samples older than the first one seen are put before it.
  // `of` is the lap that they are of: another one may have begun meanwhile.
  recall(of, earlier) {
    const seen = this.current;
    if (!seen || seen !== of) return;
    const lap = new Trace(seen.lapNumber, earlier.length + seen.length + SPARE_SAMPLES);
    for (let i = 0; i < earlier.length && earlier.columns.clock[i] < seen.columns.clock[0]; i += 1) {
      lap.append({ ...row(earlier, i), time: seen.columns.time[0] - (seen.columns.clock[0] - earlier.columns.clock[i]), delta: NaN });
    }
    for (let i = 0; i < seen.length; i += 1) lap.append({ ...row(seen, i), time: seen.columns.time[i] });
    this.current = lap;
    this.compareWith(this.reference);
  }

  // Compare with another lap from now on, and the lap so far as well.
  compareWith(reference) {
    this.reference = reference;
    if (!this.current) return;
    const { progress, clock, delta } = this.current.columns;
    for (let i = 0; i < this.current.length; i += 1) delta[i] = reference ? reference.deltaMs(progress[i], clock[i]) : NaN;
  }

  #beginsLap(frame) {
    if (!this.frame) return true;
    return frame.lapNumber !== this.frame.lapNumber || frame.lapTime < this.frame.lapTime - CLOCK_RESTARTS_MS;
  }

  #beginLap(frame) {
    if (this.current) this.#endLap();
    this.current = new Trace(frame.lapNumber);
    this.#progress = new Progress();
  }

  // The lap clock may restart a frame before or after the counter: a stub of some frames never replaces a lap.
  #endLap() {
    const ended = this.current;
    const known = this.traces.get(ended.lapNumber);
    if (ended.length <= SETTLED_FRAMES || (known && known.length > ended.length)) return;
    this.traces.set(ended.lapNumber, ended);
    if (this.traces.size > KEPT_LAPS) this.traces.delete(this.traces.keys().next().value);
    const { timestamp, lapTime, invalid, lastLapTime } = this.frame;
    this.#ended = { trace: ended, lineTime: timestamp - lapTime, invalid, reportedBefore: lastLapTime };
  }

  // The start of a lap is its time less its clock: the difference of two starts is the lap time, with no geometry in it.
  #timeEndedLap(frame) {
    if (!this.#ended || this.current.length < SETTLED_FRAMES) return null;
    const { trace, lineTime, invalid, reportedBefore } = this.#ended;
    this.#ended = null;
    const flags = [];
    if (trace.columns.progress[0] > 0.05) flags.push("partial");
    if (invalid) flags.push("invalid");
    const lapTimeMs = frame.timestamp - frame.lapTime - lineTime;
    // Some games report it seconds after the line: until then it is that of the lap before, unless two laps are equal.
    const off = Math.abs(frame.lastLapTime - lapTimeMs);
    const isOfThisLap = off <= SAME_TIME_MS || (off <= FITS_MS && frame.lastLapTime !== reportedBefore);
    const official = isOfThisLap ? frame.lastLapTime || null : null;
    return {
      lap_number: trace.lapNumber,
      lap_time_ms: lapTimeMs,
      official_lap_time_ms: flags.length === 0 ? official : null,
      flags,
      seen: true,
    };
  }

  #sample(frame) {
    const progress = this.#progress.advance(frame.normalizedPosition, frame.lapTime);
    return {
      time: frame.timestamp,
      progress,
      clock: frame.lapTime,
      speed: frame.speed,
      throttle: frame.throttle,
      brake: frame.brake,
      steering: frame.steering,
      gear: frame.gear,
      rpm: frame.rpm,
      delta: this.reference ? this.reference.deltaMs(progress, frame.lapTime) : NaN,
      x: frame.x,
      z: frame.z,
    };
  }

  #learnSectors(frame, progress) {
    if (frame.sector < 2 || !this.frame || this.frame.sector !== frame.sector - 1) return;
    if (!this.sectorStarts.has(frame.sector)) this.sectorStarts.set(frame.sector, progress);
  }
}

const row = ({ columns }, i) => Object.fromEntries(COLUMNS.map((name) => [name, columns[name]?.[i] ?? NaN]));
