// One session on screen: its drive, its laps and the lap it is compared with. No document here, and no socket: messages and
// answers come in, `version` goes up whenever something other than the newest frame has changed.

import { Drive } from "./live_session.mjs";
import { endOf, LapBoard, timeOf } from "./laps.mjs";
import { referenceFromColumns, referenceFromTrace } from "./reference_lap.mjs";
import { Scales } from "../view/scales.mjs";
import { Seconds } from "./session_timeline.mjs";
import { RunningSectors } from "./running_sectors.mjs";
import { SAME_START_MS } from "./sample_buffers.mjs";

const WHOLE_LAP = 0.95;
const JOINED_LATE = 0.005;
const LAPS_AT_ONCE = 20;

export class Viewing {
  #pinned = null;
  #requested = null;
  #recalled = null;
  #traces = new Map();
  #summing = false;
  #ahead = 0;

  // fetchColumns(lapNumber) -> the columns of a stored lap, fetchPiece(since) -> a piece of the session's seconds,
  // fetchSums(first, last) -> what those laps came to; null where nothing is stored, as in the demo.
  constructor(key, { facts = null, fetchColumns = null, fetchPiece = null, fetchSums = null } = {}) {
    this.key = key;
    this.facts = facts;
    this.fetchColumns = fetchColumns;
    this.fetchSums = fetchSums;
    this.left = false;
    this.seconds = fetchPiece && new Seconds(fetchPiece);
    this.drive = new Drive();
    this.scales = new Scales();
    this.board = new LapBoard();
    this.sectors = new RunningSectors();
    this.reference = null;
    this.sample = null;
    this.missed = 0;
    this.version = 0;
    this.trouble = "";
    this.lapsRead = false;
  }

  get followsBest() {
    return this.#pinned === null;
  }

  get referenceIsBest() {
    return this.reference !== null && this.reference.lapNumber === this.board.best?.lap_number;
  }

  get referenceMs() {
    const lap = this.reference && this.board.get(this.reference.lapNumber);
    return lap ? timeOf(lap) : NaN;
  }

  receive({ frames, session, lap, lapInProgress, status }) {
    for (const frame of frames) this.#push(frame);
    if (session) this.facts = { ...this.facts, ...session };
    if (lapInProgress) this.sectors.update(lapInProgress);
    if (lap) this.#finish(lap);
    if (status) this.missed += status.missed;
    if (session || status) this.version += 1;
  }

  #finish(lap) {
    this.sectors.finish(lap);
    this.putLaps([lap]);
  }

  putLaps(laps) {
    for (const lap of laps) this.#putLap(lap);
    this.#count();
    this.version += 1;
    this.#chooseReference();
  }

  // A lap that was corrected to other frames is drawn anew.
  #putLap(lap) {
    const before = this.board.get(lap.lap_number);
    this.board.put(lap);
    if (!before || endOf(before) === endOf(this.board.get(lap.lap_number))) return;
    this.#traces.delete(lap.lap_number);
    if (this.#requested === lap.lap_number) this.#requested = null;
  }

  // The lap engine's number of the lap being driven: the game may not count the lap out of the pits, or count from 1 again.
  get lapNumber() {
    return this.drive.current ? this.drive.current.lapNumber + this.#ahead : NaN;
  }

  #count() {
    const { current } = this.drive;
    const { lastReported } = this.board;
    if (!current || !lastReported || !this.#follows(current, endOf(lastReported))) return;
    this.#ahead = lastReported.lap_number + 1 - current.lapNumber;
  }

  // Whether a lap as it was seen is the one that began then: it was seen from there on, or the page came in the middle.
  #follows(trace, beganAt) {
    if (!(trace.columns.time[0] >= beganAt - SAME_START_MS)) return false; // nor when nobody said when
    return Math.abs(trace.startedAt - beganAt) <= SAME_START_MS || trace.columns.progress[0] >= JOINED_LATE;
  }

  // Ask what laps came to, the newest first and some at a time: the store may have to read each of their frames.
  async readSums() {
    if (this.#summing || !this.fetchSums) return;
    this.#summing = true;
    try {
      for (let wanted; !this.left && (wanted = this.board.lackingSums(LAPS_AT_ONCE));) {
        this.board.summarise(wanted, await this.fetchSums(...wanted));
        this.version += 1;
      }
    } finally {
      this.#summing = false;
    }
  }

  leave() {
    this.left = true;
    if (this.seconds) this.seconds.left = true;
  }

  // Compare with this lap; null, or the same lap again, goes back to the best.
  compareWith(lapNumber) {
    this.#pinned = lapNumber === this.#pinned ? null : lapNumber;
    this.version += 1;
    this.#chooseReference();
  }

  #push(frame) {
    const { current } = this.drive;
    const pushed = this.drive.push(frame);
    if (!pushed) return;
    const before = this.sample;
    this.sample = pushed.sample;
    if (this.drive.current !== current) this.#beginLap(before?.delta ?? NaN);
    this.#scale(pushed.sample);
    if (pushed.lap) this.putLaps([pushed.lap]);
  }

  #beginLap(deltaBefore) {
    this.sectors.begin(this.drive.current.startedAt);
    this.scales.reset("delta");
    this.scales.include("delta", deltaBefore); // still in sight in the rolling window
  }

  // Whoever looks in the middle of a lap sees its beginning, too, if the server gives the lap in progress. By when it began: the
  // game's number of it may be another one.
  async recall(lapNumber, startedAt) {
    const lap = this.drive.current;
    if (!lap || lapNumber === null || lapNumber === this.#recalled) return;
    if (lap.columns.progress[0] < JOINED_LATE || !this.#follows(lap, Date.parse(startedAt ?? ""))) return;
    this.#recalled = lapNumber;
    try {
      this.drive.recall(lap, referenceFromColumns(lapNumber, await this.fetchColumns(lapNumber), { ended: false }));
      this.#scaleLap();
    } catch (error) {
      this.trouble = `The lap's beginning can't be drawn: ${error.message}`;
    }
  }

  #scale(sample) {
    for (const key of ["speed", "steering", "gear", "rpm", "delta"]) this.scales.include(key, sample[key]);
  }

  async #chooseReference() {
    const wanted = this.#pinned ?? this.board.best?.lap_number ?? null;
    if (wanted === this.#requested) return;
    this.#requested = wanted;
    try {
      const reference = wanted === null ? null : await this.#lap(wanted);
      if (wanted === this.#requested) this.#compare(reference);
    } catch (error) {
      if (wanted !== this.#requested) return;
      // The lap may be on its way to the store: the next look at the laps asks again.
      this.#requested = null;
      this.trouble = `Lap ${wanted} can't be drawn: ${error.message}`;
      this.version += 1;
    }
  }

  async #lap(number) {
    if (this.#traces.has(number)) return this.#traces.get(number);
    const seen = this.drive.traces.get(number);
    const whole = seen && seen.span >= WHOLE_LAP && this.#isLap(seen, number);
    if (!whole && !this.fetchColumns) throw new Error("it was not seen from line to line");
    const line = this.board.get(number)?.line_position ?? 0;
    const reference = whole ? referenceFromTrace(seen) : referenceFromColumns(number, await this.fetchColumns(number), { line });
    if (reference.length < 2) throw new Error("it has no samples");
    this.#traces.set(number, reference);
    return reference;
  }

  // A game that was restarted counts its laps from 1 again, and the lap engine goes on: a number alone is not yet the lap.
  #isLap(trace, number) {
    const startedAt = Date.parse(this.board.get(number)?.started_at ?? "");
    return Number.isNaN(startedAt) || Math.abs(trace.startedAt - startedAt) <= SAME_START_MS;
  }

  #compare(reference) {
    this.reference = reference;
    this.trouble = "";
    this.drive.compareWith(reference);
    this.scales.reset("delta");
    if (reference) this.#scaleTo(reference.columns, reference.length, ["speed", "steering", "gear", "rpm"]);
    this.#scaleLap();
    this.version += 1;
  }

  #scaleLap() {
    const { current } = this.drive;
    if (current) this.#scaleTo(current.columns, current.length, ["speed", "steering", "gear", "rpm", "delta"]);
  }

  #scaleTo(columns, length, keys) {
    for (const key of keys) for (let i = 0; i < length; i += 1) this.scales.include(key, columns[key][i]);
  }
}
