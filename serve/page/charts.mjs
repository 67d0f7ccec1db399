// The strip charts: three canvases on top of each other, so that a frame costs one short piece of line per strip.
//
// base   grid, scales and the reference lap: drawn when one of them changes
// live   the lap being driven: only what is new is added (the rolling window is drawn anew each time)
// over   where the car is, and the reader's cursor: drawn each time

import { STRIPS } from "./channels.mjs";
import { trace } from "./lines.mjs";
import { Paper, palette } from "./paper.mjs";
import { onAxis } from "./progress.mjs";

const WINDOW_MS = 20000;
const SCALE_REM = 3; // room for the scales' numbers, right of the plot
const itself = (i) => i;

export class Charts {
  constructor(root) {
    this.root = root;
    this.base = new Paper(root.querySelector("#canvas-base"));
    this.live = new Paper(root.querySelector("#canvas-live"));
    this.over = new Paper(root.querySelector("#canvas-over"));
    this.mode = "position";
    this.strips = STRIPS.map((channel) => ({ channel, label: this.#label(channel), top: 0, height: 0 }));
    this.cursor = null;
    this.#axis = root.appendChild(document.createElement("div"));
    this.palette = palette();
  }

  #axis;
  #drawnBase = "";
  #drawnTrace = null;
  #drawn = 0;

  // What hangs off a strip's label: its two readings.
  reading(key) {
    return this.strips.find(({ channel }) => channel.key === key).label;
  }

  invalidate() {
    this.#drawnBase = "";
  }

  // view: {drive, scales, reference, referenceIsBest, version}; endMs: the event time at the right edge of the window.
  draw(view, endMs) {
    const resized = [this.base, this.live, this.over].map((paper) => paper.fit()).some(Boolean);
    if (resized) this.#measure();
    if (this.base.width < 50) return;
    const wanted = `${this.mode} ${view.version} ${view.scales.version} ${view.drive.sectorStarts.size}`;
    if (resized || wanted !== this.#drawnBase) {
      this.#drawBase(view);
      this.#drawnBase = wanted;
      this.#drawnTrace = null;
    }
    if (this.mode === "position") this.#extendLap(view);
    else this.#drawWindow(view, endMs);
    this.#drawOver(view);
  }

  // The progress under a pixel of the page, null outside of the plot.
  progressAt(clientX) {
    const { left } = this.over.canvas.getBoundingClientRect();
    const share = (clientX - left - this.left) / this.plotWidth;
    return this.mode === "position" && share >= 0 && share <= 1 ? share : null;
  }

  #label(channel) {
    const label = document.createElement("div");
    label.className = "strip";
    label.dataset.channel = channel.key;
    const [name, unit, value, other] = ["span", "small", "span", "span"].map((tag) => document.createElement(tag));
    name.className = "name";
    name.textContent = channel.label;
    unit.textContent = channel.unit;
    name.append(unit);
    value.className = "value";
    other.className = "other";
    label.append(name, value, other);
    this.root.append(label);
    return { label, value, other };
  }

  #measure() {
    this.palette = palette();
    this.left = this.strips[0].label.label.offsetWidth;
    this.plotWidth = this.base.width - this.left - SCALE_REM * this.palette.rem;
    const pad = 0.35 * this.palette.rem;
    for (const strip of this.strips) {
      strip.top = strip.label.label.offsetTop + pad;
      strip.height = strip.label.label.offsetHeight - 2 * pad;
    }
    this.bottom = this.#axis.offsetTop;
  }

  #y(strip, scales) {
    const [bottom, top] = scales.ends(strip.channel.key);
    const perUnit = strip.height / (top - bottom);
    return (value) => strip.top + strip.height - (Math.min(Math.max(value, bottom), top) - bottom) * perUnit;
  }

  #acrossLap({ progress }) {
    return (i) => this.left + onAxis(progress[i]) * this.plotWidth;
  }

  #drawBase(view) {
    this.base.clear();
    for (const strip of this.strips) this.#drawGrid(strip, view.scales);
    this.#drawAxis();
    if (this.mode !== "position") return;
    this.#drawSectors(view.drive.sectorStarts);
    if (view.reference) this.#drawReference(view);
  }

  #drawGrid(strip, scales) {
    const { context } = this.base;
    const { colours, rem, family } = this.palette;
    const y = this.#y(strip, scales);
    const right = this.left + this.plotWidth;
    context.lineWidth = 1;
    context.strokeStyle = colours.line;
    this.#across(strip.top - 0.35 * rem, 0, this.base.width);
    context.strokeStyle = colours.grid;
    context.fillStyle = colours.faint;
    context.font = `${0.7 * rem}px ${family}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    let written = Infinity;
    for (const value of scales.lines(strip.channel.key)) {
      this.#across(y(value), this.left, right);
      const height = Math.min(Math.max(y(value), strip.top + 0.35 * rem), strip.top + strip.height - 0.35 * rem);
      if (written - height < 0.9 * rem) continue;
      context.fillText(strip.channel.text(value), right + 0.45 * rem, height);
      written = height;
    }
  }

  #across(y, from, to) {
    const { context } = this.base;
    const crisp = Math.round(y) + 0.5;
    context.beginPath();
    context.moveTo(from, crisp);
    context.lineTo(to, crisp);
    context.stroke();
  }

  #drawAxis() {
    const { context } = this.base;
    const { colours, rem, family } = this.palette;
    const inTime = this.mode === "time";
    const count = inTime ? 4 : (this.plotWidth > 36 * rem ? 10 : 5);
    context.font = `${0.76 * rem}px ${family}`;
    context.textBaseline = "middle";
    this.#across(this.bottom, 0, this.base.width);
    for (let i = 0; i <= count; i += 1) {
      const x = Math.round(this.left + (i / count) * this.plotWidth) + 0.5;
      context.strokeStyle = colours.grid;
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, this.bottom);
      context.stroke();
      context.fillStyle = colours.faint;
      context.textAlign = "center";
      const text = inTime ? (i === count ? "now" : `−${20 - 5 * i} s`) : `${(i * 100) / count} %`;
      context.fillText(text, x, this.bottom + 0.8 * rem);
    }
  }

  #drawSectors(starts) {
    const { context } = this.base;
    const { colours, rem } = this.palette;
    for (const [sector, progress] of starts) {
      const x = Math.round(this.left + onAxis(progress) * this.plotWidth) + 0.5;
      context.strokeStyle = colours.faint;
      context.setLineDash([2, 4]);
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, this.bottom);
      context.stroke();
      context.setLineDash([]);
      context.fillStyle = colours.soft;
      context.textAlign = "left";
      context.fillText(`S${sector}`, x + 0.3 * rem, 0.75 * rem);
    }
  }

  #drawReference({ reference, referenceIsBest, scales }) {
    const { context } = this.base;
    const { colours } = this.palette;
    const { columns } = reference;
    context.strokeStyle = referenceIsBest ? colours.purple : colours.otherLap;
    context.globalAlpha = 0.75;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    for (const strip of this.strips) {
      const column = columns[strip.channel.key];
      if (!column) continue;
      this.#trace(context, strip, { columns, column, from: 0, to: reference.length, slot: itself, x: this.#acrossLap(columns), scales });
    }
    context.globalAlpha = 1;
  }

  #trace(context, strip, { scales, ...what }) {
    trace(context, { ...what, y: this.#y(strip, scales), stepped: strip.channel.stepped });
  }

  #pen() {
    const { context } = this.live;
    context.lineWidth = Math.max(1.5, 0.11 * this.palette.rem);
    context.lineJoin = "round";
    context.lineCap = "round";
    return context;
  }

  #extendLap({ drive, scales }) {
    const lap = drive.current;
    if (lap !== this.#drawnTrace) {
      this.live.clear();
      this.#drawn = 0;
      this.#drawnTrace = lap;
    }
    if (!lap || lap.length === this.#drawn) return;
    const context = this.#pen();
    const { columns } = lap;
    for (const strip of this.strips) {
      context.strokeStyle = this.palette.colours[strip.channel.key];
      const from = Math.max(0, this.#drawn - 1);
      this.#trace(context, strip, { columns, column: columns[strip.channel.key], from, to: lap.length, slot: itself, x: this.#acrossLap(columns), scales });
    }
    this.#drawn = lap.length;
  }

  #drawWindow({ drive, scales }, endMs) {
    this.live.clear();
    const context = this.#pen();
    const { recent } = drive;
    const { columns } = recent;
    const seen = Math.min(recent.since(endMs - WINDOW_MS) + 1, recent.length);
    const perMs = this.plotWidth / WINDOW_MS;
    const x = (i) => this.left + this.plotWidth - (endMs - columns.time[i]) * perMs;
    const slot = (i) => recent.slot(seen - 1 - i);
    context.save();
    context.beginPath();
    context.rect(this.left, 0, this.plotWidth + 2, this.live.height);
    context.clip();
    // In time nothing goes round the end of the axis: only a pause breaks the line.
    const flat = { progress: ZEROES, time: columns.time };
    for (const strip of this.strips) {
      context.strokeStyle = this.palette.colours[strip.channel.key];
      this.#trace(context, strip, { columns: flat, column: columns[strip.channel.key], from: 0, to: seen, slot, x, scales });
    }
    context.restore();
  }

  #drawOver(view) {
    const { context } = this.over;
    this.over.clear();
    if (this.mode !== "position") return;
    const lap = view.drive.current;
    if (lap?.length) this.#drawCar(context, lap, view.scales);
    if (this.cursor === null) return;
    context.strokeStyle = this.palette.colours.text;
    context.globalAlpha = 0.7;
    this.#upright(context, this.left + this.cursor * this.plotWidth);
    context.globalAlpha = 1;
  }

  #drawCar(context, { columns, length }, scales) {
    const x = this.#acrossLap(columns)(length - 1);
    context.strokeStyle = this.palette.colours.faint;
    context.lineWidth = 1;
    this.#upright(context, x);
    for (const strip of this.strips) {
      const value = columns[strip.channel.key][length - 1];
      if (Number.isNaN(value)) continue;
      context.fillStyle = this.palette.colours[strip.channel.key];
      context.beginPath();
      context.arc(x, this.#y(strip, scales)(value), 0.2 * this.palette.rem, 0, 2 * Math.PI);
      context.fill();
    }
  }

  #upright(context, x) {
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, this.bottom);
    context.stroke();
  }
}

const ZEROES = new Float32Array(8192);
