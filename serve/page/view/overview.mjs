// The whole session by the second: averages in each strip, the highest speed over that, and the laps in a row above them.
//
// base   grid, laps and lines: drawn when a second or a lap has come
// over   the reader's cursor: drawn each time

import { CHANNELS } from "../model/channels.mjs";
import { elapsed } from "./format.mjs";
import { Paper } from "./canvas.mjs";
import { Scales } from "./scales.mjs";
import { thinned } from "../model/session_timeline.mjs";
import { Strips } from "./strip_layout.mjs";

const SHOWN = CHANNELS.filter(({ key }) => key !== "gear"); // an average gear is none
const STEPS_S = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 86400];
const EVERY = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const AXIS_REM = 6;
const LAP_REM = 2.2;
const LINE_PX = 5;

export class Overview {
  #drawn = "";
  #scaled = null;

  constructor(root) {
    this.root = root;
    this.base = new Paper(root.querySelector("#overview-base"));
    this.over = new Paper(root.querySelector("#overview-over"));
    this.strips = new Strips(root, SHOWN);
    this.cursor = null;
    this.laps = [];
  }

  // view: {seconds, board, reference, referenceIsBest, version}
  draw(view) {
    const resized = [this.base, this.over].map((paper) => paper.fit()).some(Boolean);
    if (resized) this.strips.measure(this.base.width);
    if (this.base.width < 50) return;
    this.seconds = view.seconds;
    const wanted = `${view.key} ${view.version} ${this.seconds?.version}`;
    if (resized || wanted !== this.#drawn) this.#drawBase(view);
    this.#drawn = wanted;
    this.#drawOver();
  }

  // The index of the second at the cursor, else of the last one; -1 where there is none.
  get here() {
    if (!this.seconds?.length) return -1;
    return this.cursor === null ? this.seconds.length - 1 : this.seconds.at(this.time);
  }

  // The time at the cursor.
  get time() {
    return this.seconds.start + this.cursor * (this.seconds.end - this.seconds.start);
  }

  // The lap at the cursor; null where there is none.
  get lap() {
    if (this.cursor === null || !this.seconds?.length) return null;
    return this.laps.find(({ from, to }) => from <= this.time && this.time < to) ?? null;
  }

  #drawBase(view) {
    const { context } = this.base;
    this.base.clear();
    if (!this.seconds?.length) {
      this.laps = [];
      return;
    }
    this.laps = view.board.intervals(this.seconds.start, this.seconds.end);
    this.perMs = this.strips.plotWidth / (this.seconds.end - this.seconds.start);
    const scales = this.#scales();
    this.#drawBands(view);
    this.strips.drawGrid(context, scales);
    this.#drawAxis();
    this.#drawLaps(view);
    for (const strip of this.strips.all) this.#drawStrip(strip, scales);
  }

  #scales() {
    const { columns, length } = this.seconds;
    if (this.#scaled?.seconds !== this.seconds) this.#scaled = { seconds: this.seconds, scales: new Scales(), length: 0 };
    const { scales } = this.#scaled;
    const from = Math.max(0, this.#scaled.length - 1);
    this.#scaled.length = length;
    for (const [key, column] of [["speed", columns.topSpeed], ["steering", columns.steering], ["rpm", columns.rpm]]) {
      for (let i = from; i < length; i += 1) scales.include(key, column[i]);
    }
    return scales;
  }

  #x(time) {
    return this.strips.left + (time - this.seconds.start) * this.perMs;
  }

  // The laps that stand out: the best, and the one that is compared with.
  #drawBands({ board, reference }) {
    const { colours } = this.strips.palette;
    const best = board.best?.lap_number;
    for (const lap of this.laps) {
      if (lap.number === best) this.#band(this.base.context, lap, colours.purpleGround);
      else if (lap.number === reference?.lapNumber) this.#band(this.base.context, lap, colours.raised);
    }
  }

  #band(context, lap, colour) {
    context.fillStyle = colour;
    context.fillRect(this.#x(lap.from), 0, Math.max(1, (lap.to - lap.from) * this.perMs), this.strips.bottom);
  }

  #drawLaps({ board }) {
    const { context } = this.base;
    const { colours, rem, family } = this.strips.palette;
    const width = this.strips.plotWidth / this.laps.length;
    const every = EVERY.find((count) => count * width >= LAP_REM * rem) ?? EVERY.at(-1);
    const best = board.best?.lap_number;
    context.font = `${0.76 * rem}px ${family}`;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.strokeStyle = colours.lap;
    let written = -Infinity;
    for (const lap of this.laps) {
      const x = Math.round(this.#x(lap.from)) + 0.5;
      const named = lap.number % every === 0 || lap.number === best;
      if (width >= LINE_PX || named) this.strips.upright(context, x);
      if (!named || x < written) continue;
      written = x + LAP_REM * rem * 0.8;
      context.fillStyle = lap.number === best ? colours.purple : colours.soft;
      context.fillText(String(lap.number), x + 0.3 * rem, this.strips.top / 2);
    }
  }

  #drawAxis() {
    const { rem } = this.strips.palette;
    const { start, end } = this.seconds;
    const stepMs = 1000 * (STEPS_S.find((step) => step * 1000 * this.perMs >= AXIS_REM * rem) ?? STEPS_S.at(-1));
    for (let at = 0; at <= end - start; at += stepMs) {
      this.strips.mark(this.base.context, Math.round(this.#x(start + at)) + 0.5, elapsed(at));
    }
  }

  // The mean of each pixel as a line, within all that there was where a pixel is many seconds.
  #drawStrip(strip, scales) {
    const { context } = this.base;
    const { colours, rem } = this.strips.palette;
    const { columns } = this.seconds;
    const y = this.strips.y(strip, scales);
    const thin = this.#thinned(columns[strip.channel.key]);
    context.lineJoin = "round";
    context.lineWidth = 1;
    if (strip.channel.key === "speed") {
      const top = this.#thinned(columns.topSpeed);
      context.strokeStyle = colours.otherLap;
      this.#line(top.x, top.high, y);
    }
    context.globalAlpha = 0.25;
    context.fillStyle = colours[strip.channel.key];
    for (let i = 0; i < thin.x.length; i += 1) {
      if (thin.high[i] > thin.low[i]) context.fillRect(this.strips.left + thin.x[i] - 0.5, y(thin.high[i]), 1, y(thin.low[i]) - y(thin.high[i]));
    }
    context.globalAlpha = 1;
    context.strokeStyle = colours[strip.channel.key];
    context.lineWidth = Math.max(1, 0.085 * rem);
    this.#line(thin.x, thin.mean, y);
  }

  #thinned(column) {
    const { start, length, columns } = this.seconds;
    return thinned(columns.time, column, length, { start, perMs: this.perMs });
  }

  #line(across, values, y) {
    const { context } = this.base;
    context.beginPath();
    for (let i = 0; i < across.length; i += 1) {
      if (i > 0 && !Number.isNaN(across[i - 1])) context.lineTo(this.strips.left + across[i], y(values[i]));
      else context.moveTo(this.strips.left + across[i], y(values[i]));
    }
    context.stroke();
  }

  #drawOver() {
    const { context } = this.over;
    this.over.clear();
    if (this.cursor === null || !this.seconds?.length) return;
    const { lap } = this;
    context.globalAlpha = 0.08;
    if (lap) this.#band(context, lap, this.strips.palette.colours.text);
    context.globalAlpha = 0.7;
    context.strokeStyle = this.strips.palette.colours.text;
    this.strips.upright(context, this.strips.left + this.cursor * this.strips.plotWidth);
    context.globalAlpha = 1;
  }
}
