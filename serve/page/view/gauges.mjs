// The instruments over the traces. Bars follow every frame; numbers change some twenty times a second, so that they can be read.

import { gearName, lapTime, runningClock, sectorTime, signedSeconds, whole } from "./format.mjs";
import { lightsLit } from "./scales.mjs";

const LIGHTS = 14;
const SECTORS = 3;
const DELTA_BAR_MS = 2000;
const SMOOTH_MS = 120;

const sign = (ms) => (!Number.isFinite(ms) || Math.abs(ms) < 0.5 ? "even" : (ms < 0 ? "gain" : "loss"));
const percent = (value) => (Number.isFinite(value) ? `${Math.round(value * 100)} %` : "–");

export class Dash {
  #nodes = new Map();
  #texts = new Map();
  #lit = -1;
  #delta = NaN;
  #lap = null;

  constructor(root) {
    this.root = root;
    this.sectors = root.querySelector("#sectors");
    this.lights = Array.from({ length: LIGHTS }, () => root.querySelector("#lights").appendChild(document.createElement("i")));
  }

  clear() {
    for (const id of ["gear", "speed", "rpm", "throttle", "brake", "steering", "lap-number", "lap-clock", "delta", "predicted"]) this.#show(id, "–");
    for (const id of ["rpm-bar", "throttle-bar", "brake-bar", "steering-bar", "delta-bar"]) this.#stretch(id, 0);
    this.#light(0);
    this.#show("lap-note", "");
    this.#split([]);
    this.#delta = NaN;
  }

  // Once per animation frame. frame: the newest; sample: what the drive made of it; referenceMs: the reference's lap time.
  draw({ frame, sample, scales, sectors, lap, lapNumber, referenceMs }, { sinceMs, withNumbers }) {
    const highest = scales.largest("rpm");
    this.#stretch("rpm-bar", highest > 0 ? frame.rpm / scales.ends("rpm")[1] : 0);
    this.#stretch("throttle-bar", frame.throttle);
    this.#stretch("brake-bar", frame.brake);
    this.#stretch("steering-bar", frame.steering);
    this.#light(lightsLit(frame.rpm, highest, LIGHTS));
    this.#follow(sample.delta, lap, sinceMs);
    this.#stretch("delta-bar", Number.isFinite(this.#delta) ? this.#delta / DELTA_BAR_MS : 0);
    this.#show("gear", gearName(frame.gear));
    if (!withNumbers) return;
    this.#numbers(frame, lapNumber, referenceMs);
    this.#split(sectors.at(frame.lapTime));
  }

  summary({ last, best, reference }) {
    this.#show("last-lap", last);
    this.#show("best-lap", best);
    this.#show("reference-name", reference);
  }

  #numbers(frame, lapNumber, referenceMs) {
    this.#show("speed", whole(frame.speed));
    this.#show("rpm", frame.rpm > 0 ? whole(frame.rpm) : "–");
    this.#show("throttle", percent(frame.throttle));
    this.#show("brake", percent(frame.brake));
    this.#show("steering", percent(frame.steering).replace("-", "−"));
    this.#show("lap-number", String(lapNumber));
    this.#show("lap-clock", runningClock(frame.lapTime));
    this.#show("lap-note", frame.inPit ? "in the pits" : (frame.invalid ? "not valid" : ""));
    this.#show("delta", signedSeconds(this.#delta, 2));
    this.#show("predicted", lapTime(referenceMs + this.#delta));
    this.#mark("delta", sign(this.#delta));
    this.#mark("delta-bar", sign(this.#delta));
  }

  // Three places for sectors at least, so that they fill as the lap goes on.
  #split(sectors) {
    const places = Math.max(SECTORS, sectors.length);
    while (this.sectors.children.length > places) this.sectors.lastElementChild.remove();
    while (this.sectors.children.length < places) this.sectors.append(sectorPlace(this.sectors.children.length + 1));
    for (const [i, place] of [...this.sectors.children].entries()) {
      const { timeMs, colour } = sectors[i] ?? { timeMs: NaN, colour: "" };
      const text = sectorTime(timeMs);
      if (place.lastChild.textContent !== text) place.lastChild.textContent = text;
      if (place.dataset.colour !== colour) place.dataset.colour = colour;
      if (place.title !== colour) place.title = colour;
    }
  }

  // Smoothed for the eye only; the strip shows it as it is.
  #follow(delta, lap, sinceMs) {
    const jump = lap !== this.#lap || !Number.isFinite(this.#delta) || !Number.isFinite(delta);
    this.#delta = jump ? delta : this.#delta + (delta - this.#delta) * (1 - Math.exp(-sinceMs / SMOOTH_MS));
    this.#lap = lap;
  }

  #light(count) {
    if (count === this.#lit) return;
    this.lights.forEach((light, i) => light.classList.toggle("on", i < count));
    this.#lit = count;
  }

  #stretch(id, share) {
    const limited = Number.isFinite(share) ? Math.round(Math.max(-1, Math.min(1, share)) * 1000) / 1000 : 0;
    if (this.#texts.get(id) === limited) return;
    this.#texts.set(id, limited);
    this.#node(id).style.transform = `scaleX(${limited})`;
  }

  #show(id, text) {
    if (this.#texts.get(id) === text) return;
    this.#texts.set(id, text);
    this.#node(id).textContent = text;
  }

  #mark(id, value) {
    const node = this.#node(id);
    if (node.dataset.sign !== value) node.dataset.sign = value;
  }

  #node(id) {
    if (!this.#nodes.has(id)) this.#nodes.set(id, document.getElementById(id));
    return this.#nodes.get(id);
  }
}

function sectorPlace(number) {
  const place = document.createElement("li");
  for (const text of [`S${number}`, "–"]) place.appendChild(document.createElement("span")).textContent = text;
  return place;
}
