// Drawing columns as lines. It knows contexts and numbers; the strips and the map decide what is drawn where.

import { onAxis } from "../model/lap_position.mjs";

const JUMP = 0.02;
const PAUSE_MS = 500;

// The path of samples [from, to) of `columns`; `slot` maps i to an index, `x` and `y` an index to a pixel.
// The line is broken where the car was not seen, and where a lap goes round the end of the axis.
export function trace(context, { columns, column, from, to, slot, x, y, stepped }) {
  context.beginPath();
  let before = -1;
  let level = NaN;
  for (let i = from; i < to; i += 1) {
    const at = slot(i);
    const value = column[at];
    if (Number.isNaN(value)) {
      before = -1;
      continue;
    }
    const across = x(at);
    const height = y(value);
    if (before < 0 || broken(columns, before, at)) context.moveTo(across, height);
    else {
      if (stepped && height !== level) context.lineTo(across, level);
      context.lineTo(across, height);
    }
    before = at;
    level = height;
  }
  context.stroke();
}

function broken(columns, before, at) {
  const { progress, time } = columns;
  if (Math.abs(onAxis(progress[at]) - onAxis(progress[before])) > 0.5) return true;
  const far = Math.abs(progress[at] - progress[before]) > JUMP;
  return time ? time[at] - time[before] > PAUSE_MS : far;
}
