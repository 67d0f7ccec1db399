// The track from above, drawn from where cars have been; a ring where the game reports no places.

import { Paper, palette } from "./canvas.mjs";

const MARGIN = 14;

export class TrackMap {
  #paper;
  #drawn = "";
  #outline = null;
  #fit = null;

  constructor(canvas, note) {
    this.#paper = new Paper(canvas);
    this.note = note;
  }

  // line: {columns, length, hasPlace} of a whole lap or null; lap: the one being driven or null; version changes with the line; mapZ is 1 where the
  // game's z points up on a map with x to the right, -1 where it points down (the server's table).
  draw({ line, lap, version, mapZ = 1 }) {
    const resized = this.#paper.fit();
    const { width, height } = this.#paper;
    if (width < 20 || height < 20) return;
    const shape = line?.hasPlace ? line : (lap?.hasPlace ? lap : null);
    // A lap that is still being driven grows: its line is drawn anew now and then.
    const grown = shape === null ? `ring ${Boolean(lap)}` : (shape === lap ? lap.length >> 4 : "whole");
    const wanted = `${version} ${grown} ${mapZ}`;
    if (resized || wanted !== this.#drawn) {
      this.#trace(shape, { width, height, mapZ }, Boolean(lap));
      this.colours = palette().colours;
      this.#drawn = wanted;
    }
    this.#noteLack(shape === null, { line, lap });
    this.#paint(lap, shape !== null && lap?.hasPlace);
  }

  // Why there is no map: the game gives no places, of the lap that is driven or of the one that is looked at.
  #noteLack(lacks, { line, lap }) {
    const words = lap ? "the game gives no places: shown as a ring" : "the game gives no places";
    this.note.hidden = !lacks || !(lap || line);
    if (this.note.textContent !== words) this.note.textContent = words;
  }

  #trace(shape, { width, height, mapZ }, ring) {
    this.#fit = shape ? fitted(shape, { width, height, mapZ }) : null;
    this.#outline = new Path2D();
    if (!shape && ring) {
      this.#outline.arc(width / 2, height / 2, Math.min(width, height) / 2 - MARGIN, 0, 2 * Math.PI);
    }
    if (!shape) return;
    const { x, z } = shape.columns;
    for (let i = 0; i < shape.length; i += 1) if (placed(x[i], z[i])) this.#outline.lineTo(...this.#fit(x[i], z[i]));
  }

  #paint(lap, hasPlace) {
    const { context } = this.#paper;
    this.#paper.clear();
    context.lineJoin = "round";
    context.lineCap = "round";
    context.strokeStyle = this.colours.line;
    context.lineWidth = 7;
    context.stroke(this.#outline);
    context.strokeStyle = this.colours.faint;
    context.lineWidth = 1.5;
    context.stroke(this.#outline);
    if (!lap?.length) return;
    const [x, y] = hasPlace ? this.#fit(lap.columns.x[lap.length - 1], lap.columns.z[lap.length - 1]) : this.#onRing(lap);
    context.beginPath();
    context.arc(x, y, 6, 0, 2 * Math.PI);
    context.fillStyle = this.colours.text;
    context.fill();
    context.strokeStyle = this.colours.panel;
    context.lineWidth = 2;
    context.stroke();
  }

  #onRing({ columns, length }) {
    const { width, height } = this.#paper;
    const angle = columns.progress[length - 1] * 2 * Math.PI - Math.PI / 2;
    const radius = Math.min(width, height) / 2 - MARGIN;
    return [width / 2 + radius * Math.cos(angle), height / 2 + radius * Math.sin(angle)];
  }
}

// What the store or the game did not report is zero, and no place.
const placed = (x, z) => Number.isFinite(x) && Number.isFinite(z) && (x !== 0 || z !== 0);

// A function from metres to pixels that keeps proportions and fills the canvas, turned a quarter where that makes it larger.
// Seen from above, x to the right and z as the game has it: a turned map is rotated, never mirrored.
export function fitted({ columns, length }, { width, height, mapZ = 1 }) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < length; i += 1) {
    if (!placed(columns.x[i], columns.z[i])) continue;
    left = Math.min(left, columns.x[i]);
    right = Math.max(right, columns.x[i]);
    low = Math.min(low, columns.z[i]);
    high = Math.max(high, columns.z[i]);
  }
  const [wide, tall] = [Math.max(right - left, 1), Math.max(high - low, 1)];
  const turned = tall > wide !== height > width;
  const room = [width - 2 * MARGIN, height - 2 * MARGIN];
  const scale = Math.min(room[0] / (turned ? tall : wide), room[1] / (turned ? wide : tall));
  const [midX, midZ] = [(left + right) / 2, (low + high) / 2];
  return (x, z) => {
    const [east, north] = [x - midX, mapZ * (z - midZ)];
    const [across, down] = turned ? [north, east] : [east, -north];
    return [width / 2 + across * scale, height / 2 + down * scale];
  };
}
