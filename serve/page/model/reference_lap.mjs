// A lap to compare with: its samples by progress, strictly increasing, so that a place has one time and one value.

import { CHANNELS } from "./channels.mjs";
import { JUST_BEGUN_MS, lastAtOrBefore, unwrapLap } from "./lap_position.mjs";

const EDGE = 0.01;

export class Reference {
  // `at(i)` gives {progress, clock, x, z, and every channel} of the i-th of `count` samples.
  constructor(lapNumber, count, at) {
    this.lapNumber = lapNumber;
    this.columns = { progress: new Float32Array(count), clock: new Float32Array(count), x: new Float32Array(count), z: new Float32Array(count) };
    for (const { key } of CHANNELS) this.columns[key] = new Float32Array(count);
    this.length = 0;
    this.hasPlace = false;
    for (let i = 0; i < count; i += 1) this.#keep(at(i));
  }

  // Standing still and rolling backwards change nothing: a place counts at the first time the car was there.
  #keep(sample) {
    const { progress } = this.columns;
    if (this.length > 0 && !(sample.progress > progress[this.length - 1])) return;
    for (const [name, column] of Object.entries(this.columns)) column[this.length] = sample[name] ?? 0;
    this.hasPlace ||= Boolean(sample.x || sample.z);
    this.length += 1;
  }

  // A column's value at a place, linear between samples; NaN where the lap has not been.
  valueAt(name, at, { stepped = false } = {}) {
    const { progress } = this.columns;
    // Written so that a place which is not known, NaN, has no value.
    if (this.length < 2 || !(at >= progress[0] - EDGE && at <= progress[this.length - 1] + EDGE)) return NaN;
    const left = Math.min(Math.max(lastAtOrBefore(progress, this.length, at), 0), this.length - 2);
    const column = this.columns[name];
    if (stepped) return column[left];
    const share = (at - progress[left]) / (progress[left + 1] - progress[left]);
    return column[left] + share * (column[left + 1] - column[left]);
  }

  // Milliseconds lost (+) or gained (−) by a car that is there at that time of its lap; NaN where it is unknown.
  deltaMs(at, clockMs) {
    return clockMs - this.valueAt("clock", at);
  }
}

export function referenceFromTrace(trace) {
  const { columns } = trace;
  return new Reference(trace.lapNumber, trace.length, (i) => {
    const sample = {};
    for (const name of Object.keys(columns)) sample[name] = columns[name][i];
    return sample;
  });
}

// From the REST answer's columns; a channel that is absent there is zero. A sample whose place or clock is null was not known
// to ingest, and is left out. `ended`: not of the lap in progress, which was seen from mid-lap where its clock had run for long.
export function referenceFromColumns(lapNumber, stored, { ended = true, line = 0 } = {}) {
  const { lap_clock_ms: clocks, normalized_position: positions } = stored;
  const known = [...positions.keys()].filter((i) => Number.isFinite(positions[i]) && Number.isFinite(clocks[i]));
  const begun = ended || clocks[known[0]] < JUST_BEGUN_MS;
  const progress = unwrapLap(known.map((i) => positions[i]), { ended, line, begun });
  return new Reference(lapNumber, known.length, (n) => {
    const i = known[n];
    const sample = { progress: progress[n], clock: clocks[i] };
    for (const { key, stored: name } of CHANNELS) sample[key] = stored[name] ? (stored[name][i] ?? NaN) : 0;
    sample.x = stored.x_m?.[i] ?? 0;
    sample.z = stored.z_m?.[i] ?? 0;
    return sample;
  });
}
