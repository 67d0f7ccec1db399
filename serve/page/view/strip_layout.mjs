// What strip charts have in common: labels in the gutter, where each strip is, its grid and scale. What runs along the axis, and
// what is drawn, is their owner's affair.

import { palette } from "./canvas.mjs";

const SCALE_REM = 3; // room for the scales' numbers, right of the plot
const PAD_REM = 0.35;

export class Strips {
  #axis;

  constructor(root, channels) {
    this.root = root;
    this.all = channels.map((channel) => ({ channel, label: this.#label(channel), top: 0, height: 0 }));
    this.#axis = root.appendChild(document.createElement("div"));
    this.palette = palette();
  }

  // What hangs off a strip's label: its two readings.
  reading(key) {
    return this.all.find(({ channel }) => channel.key === key).label;
  }

  // Where everything is on papers of this width.
  measure(width) {
    this.palette = palette();
    const { rem } = this.palette;
    this.width = width;
    this.left = this.all[0].label.label.offsetWidth;
    this.plotWidth = width - this.left - SCALE_REM * rem;
    for (const strip of this.all) {
      strip.top = strip.label.label.offsetTop + PAD_REM * rem;
      strip.height = strip.label.label.offsetHeight - 2 * PAD_REM * rem;
    }
    this.top = this.all[0].label.label.offsetTop;
    this.bottom = this.#axis.offsetTop;
  }

  // Where on the axis a pixel of the page is, 0..1; null outside of the plot.
  shareAt(clientX) {
    const share = (clientX - this.root.getBoundingClientRect().left - this.left) / this.plotWidth;
    return share >= 0 && share <= 1 ? share : null;
  }

  y(strip, scales) {
    const [bottom, top] = scales.ends(strip.channel.key);
    const perUnit = strip.height / (top - bottom);
    return (value) => strip.top + strip.height - (Math.min(Math.max(value, bottom), top) - bottom) * perUnit;
  }

  drawGrid(context, scales) {
    for (const strip of this.all) this.#drawStrip(context, strip, scales);
    this.across(context, this.bottom, 0, this.width);
  }

  across(context, y, from, to) {
    const crisp = Math.round(y) + 0.5;
    context.beginPath();
    context.moveTo(from, crisp);
    context.lineTo(to, crisp);
    context.stroke();
  }

  upright(context, x) {
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, this.bottom);
    context.stroke();
  }

  // A line through all strips and its name below them.
  mark(context, x, text) {
    const { colours, rem, family } = this.palette;
    context.strokeStyle = colours.grid;
    this.upright(context, x);
    context.font = `${0.76 * rem}px ${family}`;
    context.fillStyle = colours.faint;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x, this.bottom + 0.8 * rem);
  }

  #drawStrip(context, strip, scales) {
    const { colours, rem, family } = this.palette;
    const y = this.y(strip, scales);
    const right = this.left + this.plotWidth;
    context.lineWidth = 1;
    context.strokeStyle = colours.line;
    this.across(context, strip.top - PAD_REM * rem, 0, this.width);
    context.strokeStyle = colours.grid;
    context.fillStyle = colours.faint;
    context.font = `${0.7 * rem}px ${family}`;
    context.textBaseline = "middle";
    context.textAlign = "left";
    let written = Infinity;
    for (const value of scales.lines(strip.channel.key)) {
      this.across(context, y(value), this.left, right);
      const height = Math.min(Math.max(y(value), strip.top + 0.35 * rem), strip.top + strip.height - 0.35 * rem);
      if (written - height < 0.9 * rem) continue;
      context.fillText(strip.channel.text(value), right + 0.45 * rem, height);
      written = height;
    }
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
}
