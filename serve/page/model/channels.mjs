// The channels the page draws, in the order of the strips: the one list of them.
//
// `key` is the column's name in traces and scales, `frame` the JSON name on the wire and `stored` the column's name in the
// REST answer. A `stepped` channel holds its value until the next sample, and is never interpolated.

import { gearName, signedSeconds } from "../view/format.mjs";

const whole = (value) => String(Math.round(value));
const percent = (value) => String(Math.round(value * 100));
const signedPercent = (value) => (Math.round(value * 100) > 0 ? "+" : "") + percent(value).replace("-", "−");

export const CHANNELS = [
  { key: "speed", frame: "speed", stored: "speed_kmh", label: "Speed", unit: "km/h", text: whole },
  { key: "throttle", frame: "throttle", stored: "throttle", label: "Throttle", unit: "%", text: percent },
  { key: "brake", frame: "brake", stored: "brake", label: "Brake", unit: "%", text: percent },
  { key: "steering", frame: "steering", stored: "steering", label: "Steering", unit: "%", text: signedPercent },
  { key: "gear", frame: "gear", stored: "gear", label: "Gear", unit: "", text: gearName, stepped: true },
  { key: "rpm", frame: "rpm", stored: "rpm", label: "Engine", unit: "rpm", text: whole },
];

// Not on the wire: the page works it out against the reference lap.
export const DELTA = { key: "delta", label: "Delta", unit: "s", text: (ms) => signedSeconds(ms, Math.abs(ms) < 10000 ? 2 : 1) };

export const STRIPS = [DELTA, ...CHANNELS];
