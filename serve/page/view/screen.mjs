// Everything that is drawn of a session, once per animation frame. It is shown a Viewing and asks for nothing.

import { CHANNELS, STRIPS } from "../model/channels.mjs";
import { Charts } from "./charts.mjs";
import { Dash } from "./gauges.mjs";
import { elapsed, lapTime, readable, runningClock, whole } from "./format.mjs";
import { LapList } from "./lists.mjs";
import { timeOf } from "../model/laps.mjs";
import { lastAtOrBefore } from "../model/lap_position.mjs";
import { Overview } from "./overview.mjs";
import { TrackMap } from "./track_map.mjs";

const KEY_STEP = 0.0025;
const LATEST_FRAME_LASTS_MS = 50;

const byId = (id) => document.getElementById(id);

export class Screen {
  #drawnAt = 0;
  #numbersAt = 0;
  #version = -1;
  #arrivedAt = 0;
  #frames = 0;

  // onLap(number): a lap was chosen; onMode(): something else runs along the axis now.
  constructor({ onLap, onMode }) {
    this.viewing = null;
    this.onLap = onLap;
    this.onMode = onMode;
    this.showsSession = false;
    this.mapZ = {};
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.charts = new Charts(byId("strips"));
    this.overview = new Overview(byId("overview"));
    this.dash = new Dash(document);
    this.laps = new LapList(document.querySelector("#laps tbody"), onLap);
    this.map = new TrackMap(byId("map"), byId("map-note"));
    this.#listen();
  }

  show(viewing) {
    this.viewing = viewing;
    this.#version = -1;
    this.#frames = 0;
    this.charts.cursor = null;
    this.overview.cursor = null;
    this.charts.invalidate();
    this.dash.clear();
  }

  draw(now) {
    const { viewing } = this;
    if (!viewing) return;
    this.#noteArrival(now);
    if (viewing.version !== this.#version) this.#summarise();
    const withNumbers = now - this.#numbersAt > (this.calm.matches ? 250 : 50);
    if (withNumbers) this.#numbersAt = now;
    const sinceMs = now - this.#drawnAt;
    this.#drawnAt = now;
    this.#drawTraces(now, withNumbers);
    const { drive, sample, scales, sectors, referenceMs } = viewing;
    if (sample) this.dash.draw({ frame: drive.frame, sample, scales, sectors, lap: drive.current, lapNumber: viewing.lapNumber, referenceMs }, { sinceMs, withNumbers });
  }

  #drawTraces(now, withNumbers) {
    const { viewing, charts } = this;
    const { drive, reference, version } = viewing;
    if (this.showsSession) this.overview.draw(viewing);
    // A calm screen's window moves four times a second.
    else if (!(this.calm.matches && charts.mode === "time" && !withNumbers)) charts.draw(viewing, this.#windowEnd(now));
    if (withNumbers && this.showsSession) this.#sessionReadings();
    else if (withNumbers) this.#readings();
    this.map.draw({ line: reference?.hasPlace ? reference : (drive.outline ?? reference), lap: drive.current, version, mapZ: this.mapZ[viewing.facts?.game] ?? 1 });
  }

  // Between two frames the window goes on moving, but never further than the next frame could be.
  #windowEnd(now) {
    const newest = this.viewing.drive.frame?.timestamp ?? 0;
    return newest + (this.calm.matches ? 0 : Math.min(now - this.#arrivedAt, LATEST_FRAME_LASTS_MS));
  }

  #noteArrival(now) {
    const { frames } = this.viewing.drive;
    if (frames !== this.#frames) this.#arrivedAt = now;
    this.#frames = frames;
  }

  #summarise() {
    const { viewing } = this;
    const { board, reference, referenceIsBest, referenceMs, followsBest } = viewing;
    this.#version = viewing.version;
    const name = reference ? `to lap ${reference.lapNumber}, ${lapTime(referenceMs)}` : "no reference lap";
    this.dash.summary({ last: lapTime(board.last && timeOf(board.last)), best: lapTime(board.best && timeOf(board.best)), reference: name });
    this.laps.draw(board.rows(), reference?.lapNumber ?? null);
    byId("laps-note").hidden = board.last !== null;
    byId("reference-best").setAttribute("aria-pressed", String(followsBest));
    const legend = byId("legend-reference");
    legend.hidden = !reference;
    legend.textContent = reference ? `lap ${reference.lapNumber}${referenceIsBest ? ", best" : ""}` : "";
    legend.classList.toggle("best", referenceIsBest);
    for (const { key } of CHANNELS) this.charts.reading(key).other.classList.toggle("best", referenceIsBest);
    byId("missed").hidden = viewing.missed === 0;
    byId("missed").textContent = `${viewing.missed} frames missed`;
    byId("session-title").replaceChildren(...title(viewing.facts));
  }

  // The values beside the strips: at the cursor if there is one, else where the car is.
  #readings() {
    const { drive, reference, sample } = this.viewing;
    const { cursor } = this.charts;
    const lap = drive.current;
    const at = cursor ?? sample?.progress ?? NaN;
    const here = cursor === null || !lap ? (lap?.length ?? 0) - 1 : reached(lap, cursor);
    for (const channel of STRIPS) {
      const { value, other } = this.charts.reading(channel.key);
      const mine = here >= 0 ? lap.columns[channel.key][here] : NaN;
      const theirs = channel.key === "delta" || !reference ? NaN : reference.valueAt(channel.key, at, channel);
      put(value, Number.isFinite(mine) ? channel.text(mine) : "–");
      put(other, Number.isFinite(theirs) ? channel.text(theirs) : "");
    }
    put(byId("cursor-note"), this.viewing.trouble || this.#cursorWords(lap, here));
  }

  #cursorWords(lap, here) {
    const { cursor } = this.charts;
    if (cursor === null) return "";
    const { facts, reference } = this.viewing;
    const words = [`at ${(cursor * 100).toFixed(1)} %`];
    if (facts?.track_length_m > 0) words.push(`${whole(cursor * facts.track_length_m)} m`);
    if (here >= 0) words.push(`this lap ${runningClock(lap.columns.clock[here])}`);
    if (reference) words.push(`lap ${reference.lapNumber} ${runningClock(reference.valueAt("clock", cursor))}`);
    return words.join(" · ");
  }

  // The same of the session: of the second at the cursor, else of the last one.
  #sessionReadings() {
    const { overview, viewing } = this;
    const { seconds } = viewing;
    const { here } = overview;
    for (const { channel, label } of overview.strips.all) {
      const value = here < 0 ? NaN : seconds.columns[channel.key][here];
      put(label.value, Number.isFinite(value) ? channel.text(value) : "–");
      if (channel.key === "speed") put(label.other, here < 0 ? "" : channel.text(seconds.columns.topSpeed[here]));
    }
    const { lap } = overview;
    byId("overview").classList.toggle("choosable", lap !== null && viewing.board.get(lap.number) !== null);
    const note = byId("overview-note");
    note.hidden = Boolean(seconds?.length);
    if (!note.hidden) put(note, emptyOverview(seconds));
    put(byId("cursor-note"), seconds?.trouble || this.#lapWords(lap));
  }

  #lapWords(lap) {
    const { overview, viewing } = this;
    if (overview.cursor === null || !viewing.seconds?.length) return "";
    const words = [`at ${elapsed(overview.time - viewing.seconds.start)}`];
    const known = lap && viewing.board.get(lap.number);
    if (lap) words.push(known ? `lap ${lap.number}, ${lapTime(timeOf(known))}` : `lap ${lap.number}`);
    return words.join(" · ");
  }

  #listen() {
    const area = byId("charts");
    const strips = byId("strips");
    const overview = byId("overview");
    overview.addEventListener("pointermove", (event) => { this.overview.cursor = this.overview.strips.shareAt(event.clientX); });
    overview.addEventListener("pointerleave", () => { this.overview.cursor = null; });
    overview.addEventListener("click", () => this.#chooseLap());
    strips.addEventListener("pointermove", (event) => { this.charts.cursor = this.charts.progressAt(event.clientX); });
    strips.addEventListener("pointerleave", () => { this.charts.cursor = null; });
    area.addEventListener("keydown", (event) => { if (event.target === area) this.#key(event); });
    for (const input of document.querySelectorAll("input[name=axis]")) {
      input.addEventListener("change", () => this.#turnTo(input.value));
    }
  }

  #turnTo(mode) {
    this.showsSession = mode === "session";
    byId("strips").hidden = this.showsSession;
    byId("overview").hidden = !this.showsSession;
    byId("charts").dataset.axis = mode;
    if (!this.showsSession) this.charts.mode = mode;
    this.charts.cursor = null;
    this.overview.cursor = null;
    this.charts.invalidate();
    this.onMode();
  }

  // The lap at the cursor, corner by corner.
  #chooseLap() {
    const { lap } = this.overview;
    if (!lap || !this.viewing.board.get(lap.number)) return;
    if (this.viewing.reference?.lapNumber !== lap.number) this.onLap(lap.number);
    document.querySelector("input[name=axis][value=position]").click();
  }

  #key(event) {
    const shown = this.showsSession ? this.overview : this.charts;
    const step = { ArrowLeft: -KEY_STEP, ArrowRight: KEY_STEP }[event.key];
    if (event.key === "Escape") shown.cursor = null;
    if (event.key === "Enter" && this.showsSession) this.#chooseLap();
    if (!step || shown.mode === "time") return;
    const from = shown.cursor ?? (this.showsSession ? 1 : (this.viewing?.sample?.progress ?? 0));
    shown.cursor = Math.max(0, Math.min(1, from + step * (event.shiftKey ? 10 : 1)));
    event.preventDefault();
  }
}

// The index of the sample at a place, -1 where the lap has not been yet.
function reached({ columns: { progress }, length }, at) {
  if (length === 0 || at > progress[length - 1] || at < progress[0]) return -1;
  return lastAtOrBefore(progress, length, at);
}

// What to say instead of a session's lines.
function emptyOverview(seconds) {
  if (!seconds) return "The demo is not stored, and only what is stored is summed up by the second.";
  return seconds.whole ? "Nothing of this session is summed up yet." : "Reading the session.";
}

function title(facts) {
  if (!facts) return [];
  const driver = document.createElement("b");
  driver.textContent = facts.driver || facts.user_id || facts.key || "";
  const others = [facts.title, readable(facts.car), readable(facts.track)].filter(Boolean).map((name) => {
    const part = document.createElement("span");
    part.textContent = name;
    return part;
  });
  return [driver, ...others];
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
