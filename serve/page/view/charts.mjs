// The strip charts: three canvases on top of each other, so that a frame costs one short piece of line per strip.
//
// base   grid, scales and the reference lap: drawn when one of them changes
// live   the lap being driven: only what is new is added (the rolling window is drawn anew each time)
// over   where the car is, and the reader's cursor: drawn each time

import { STRIPS } from "../model/channels.mjs";
import { trace } from "./draw_line.mjs";
import { Paper } from "./canvas.mjs";
import { onAxis } from "../model/lap_position.mjs";
import { Strips } from "./strip_layout.mjs";

const WINDOW_MS = 20000;
const itself = (i) => i;

export class Charts {
  constructor(root) {
    this.base = new Paper(root.querySelector("#canvas-base"));
    this.live = new Paper(root.querySelector("#canvas-live"));
    this.over = new Paper(root.querySelector("#canvas-over"));
    this.mode = "position";
    this.strips = new Strips(root, STRIPS);
    this.cursor = null;
  }

  #drawnBase = "";
  #drawnTrace = null;
  #drawn = 0;

  reading(key) {
    return this.strips.reading(key);
  }

  invalidate() {
    this.#drawnBase = "";
  }

  // view: {drive, scales, reference, referenceIsBest, version}; endMs: the event time at the right edge of the window.
  draw(view, endMs) {
    const resized = [this.base, this.live, this.over].map((paper) => paper.fit()).some(Boolean);
    if (resized) this.strips.measure(this.base.width);
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
    return this.mode === "position" ? this.strips.shareAt(clientX) : null;
  }

  #acrossLap({ progress }) {
    return (i) => this.strips.left + onAxis(progress[i]) * this.strips.plotWidth;
  }

  #drawBase(view) {
    this.base.clear();
    this.strips.drawGrid(this.base.context, view.scales);
    this.#drawAxis();
    if (this.mode !== "position") return;
    this.#drawSectors(view.drive.sectorStarts);
    if (view.reference) this.#drawReference(view);
  }

  #drawAxis() {
    const { left, plotWidth, palette: { rem } } = this.strips;
    const inTime = this.mode === "time";
    const count = inTime ? 4 : (plotWidth > 36 * rem ? 10 : 5);
    for (let i = 0; i <= count; i += 1) {
      const text = inTime ? (i === count ? "now" : `−${20 - 5 * i} s`) : `${(i * 100) / count} %`;
      this.strips.mark(this.base.context, Math.round(left + (i / count) * plotWidth) + 0.5, text);
    }
  }

  #drawSectors(starts) {
    const { context } = this.base;
    const { colours, rem } = this.strips.palette;
    for (const [sector, progress] of starts) {
      const x = Math.round(this.strips.left + onAxis(progress) * this.strips.plotWidth) + 0.5;
      context.strokeStyle = colours.faint;
      context.setLineDash([2, 4]);
      this.strips.upright(context, x);
      context.setLineDash([]);
      context.fillStyle = colours.soft;
      context.textAlign = "left";
      context.fillText(`S${sector}`, x + 0.3 * rem, 0.75 * rem);
    }
  }

  #drawReference({ reference, referenceIsBest, scales }) {
    const { context } = this.base;
    const { colours } = this.strips.palette;
    const { columns } = reference;
    context.strokeStyle = referenceIsBest ? colours.purple : colours.otherLap;
    context.globalAlpha = 0.75;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    for (const strip of this.strips.all) {
      const column = columns[strip.channel.key];
      if (!column) continue;
      this.#trace(context, strip, { columns, column, from: 0, to: reference.length, slot: itself, x: this.#acrossLap(columns), scales });
    }
    context.globalAlpha = 1;
  }

  #trace(context, strip, { scales, ...what }) {
    trace(context, { ...what, y: this.strips.y(strip, scales), stepped: strip.channel.stepped });
  }

  #pen() {
    const { context } = this.live;
    context.lineWidth = Math.max(1.5, 0.11 * this.strips.palette.rem);
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
    for (const strip of this.strips.all) {
      context.strokeStyle = this.strips.palette.colours[strip.channel.key];
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
    const perMs = this.strips.plotWidth / WINDOW_MS;
    const x = (i) => this.strips.left + this.strips.plotWidth - (endMs - columns.time[i]) * perMs;
    const slot = (i) => recent.slot(seen - 1 - i);
    context.save();
    context.beginPath();
    context.rect(this.strips.left, 0, this.strips.plotWidth + 2, this.live.height);
    context.clip();
    // In time nothing goes round the end of the axis: only a pause breaks the line.
    const flat = { progress: ZEROES, time: columns.time };
    for (const strip of this.strips.all) {
      context.strokeStyle = this.strips.palette.colours[strip.channel.key];
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
    context.strokeStyle = this.strips.palette.colours.text;
    context.globalAlpha = 0.7;
    this.strips.upright(context, this.strips.left + this.cursor * this.strips.plotWidth);
    context.globalAlpha = 1;
  }

  #drawCar(context, { columns, length }, scales) {
    const x = this.#acrossLap(columns)(length - 1);
    context.strokeStyle = this.strips.palette.colours.faint;
    context.lineWidth = 1;
    this.strips.upright(context, x);
    for (const strip of this.strips.all) {
      const value = columns[strip.channel.key][length - 1];
      if (Number.isNaN(value)) continue;
      context.fillStyle = this.strips.palette.colours[strip.channel.key];
      context.beginPath();
      context.arc(x, this.strips.y(strip, scales)(value), 0.2 * this.strips.palette.rem, 0, 2 * Math.PI);
      context.fill();
    }
  }
}

const ZEROES = new Float32Array(8192);
