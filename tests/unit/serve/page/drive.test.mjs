import assert from "node:assert/strict";
import { test } from "node:test";

import { Drive } from "../../../../serve/page/model/live_session.mjs";
import { onAxis, Progress } from "../../../../serve/page/model/lap_position.mjs";
import { Reference, referenceFromColumns, referenceFromTrace } from "../../../../serve/page/model/reference_lap.mjs";
import { Ring, Trace } from "../../../../serve/page/model/sample_buffers.mjs";
import { frameFrom } from "../../../../serve/page/net/messages.mjs";

const LAP_MS = 10000;

// A car that goes round evenly: the frame of a session's `ms`, every lap `lapMs` long.
function frameAt(ms, { lapMs = LAP_MS, line = 0, ...more } = {}) {
  const lap = Math.floor(ms / lapMs);
  const clock = ms - lap * lapMs;
  return frameFrom({
    timestamp: String(1700000000000 + ms),
    lapTime: clock,
    lapNumber: lap + 1,
    normalizedPosition: (clock / lapMs + line) % 1,
    speed: 100 + clock / 100,
    ...more,
  });
}

function drivenFor(ms, options) {
  const drive = new Drive();
  const laps = [];
  for (let at = 0; at < ms; at += 20) {
    const { lap } = drive.push(frameAt(at, options));
    if (lap) laps.push(lap);
  }
  return { drive, laps };
}

test("a lap is timed from line to line, to the millisecond", () => {
  const { laps } = drivenFor(2.5 * 10013, { lapMs: 10013 });
  assert.deepEqual(laps.map((lap) => [lap.lap_number, lap.lap_time_ms, lap.flags]), [[1, 10013, []], [2, 10013, []]]);
});

test("an official time that comes late is not given to the next lap", () => {
  const drive = new Drive();
  const laps = [];
  const times = [10000, 12000, 12000, 1000];
  let start = 0;
  for (const [lap, ms] of times.entries()) {
    for (let clock = 0; clock < ms; clock += 20) {
      const lastLapTime = times[clock < 2000 ? lap - 2 : lap - 1] ?? 0;
      const sent = { timestamp: String(1700000000000 + start + clock), lapTime: clock, lapNumber: lap + 1, normalizedPosition: clock / ms, lastLapTime };
      const { lap: ended } = drive.push(frameFrom(sent));
      if (ended) laps.push(ended);
    }
    start += ms;
  }
  assert.deepEqual(laps.map((lap) => [lap.lap_time_ms, lap.official_lap_time_ms]), [[10000, null], [12000, null], [12000, 12000]]);
});

test("an invalid flag that outlives its lap is not the next lap's", () => {
  for (const lagMs of [20, 40, 1000, 4000]) {
    const drive = new Drive();
    const laps = [];
    for (let at = 0; at < 3.5 * LAP_MS; at += 20) {
      const invalid = at > 1.5 * LAP_MS && at < 2 * LAP_MS + lagMs;
      const { lap } = drive.push(frameAt(at, { validity: invalid ? "LAP_VALIDITY_INVALID" : "LAP_VALIDITY_VALID" }));
      if (lap) laps.push(lap.flags);
    }
    assert.deepEqual(laps, [[], ["invalid"], []]);
  }
});

test("a frame that was seen before is left out", () => {
  const { drive } = drivenFor(1000);
  assert.equal(drive.push(frameAt(500)), null);
  assert.equal(drive.frames, 50);
});

test("a lap that was joined late is partial", () => {
  const drive = new Drive();
  let finished = null;
  for (let at = 4000; at < 11000; at += 20) finished = drive.push(frameAt(at)).lap ?? finished;
  assert.deepEqual(finished.flags, ["partial"]);
});

test("a lap clock that restarts a frame after the counter loses no lap", () => {
  const drive = new Drive();
  for (let at = 0; at < 12000; at += 20) {
    const late = at === 10000 ? { lapTime: 10000 } : {};
    drive.push(frameAt(at, late));
  }
  assert.equal(drive.traces.get(1).length, 500);
});

test("where the game counts the lap before the position wraps, the lap begins below zero", () => {
  const { drive } = drivenFor(9999, { line: 0.98 });
  const { progress } = drive.current.columns;
  assert.ok(Math.abs(progress[0] + 0.02) < 1e-6);
  assert.ok(progress[drive.current.length - 1] < 1);
});

test("a position that sticks at 1.0 and 0.0 around the line goes on at 1", () => {
  const unwrapped = new Progress();
  const seen = [0.5, 0.999, 1, 1, 0, 0, 0.001].map((position) => unwrapped.advance(position, 60000));
  assert.deepEqual(seen, [0.5, 0.999, 1, 1, 1, 1, 1.001]);
  assert.deepEqual([-0.25, 0, 1, 1.25].map(onAxis), [0.75, 0, 1, 0.25]);
});

test("a stored lap that began on a grid before the line has every place once", () => {
  const places = [0.97, 0.97, 0.99, 0.25, 0.5, 0.75, 0.99];
  const stored = { normalized_position: places, lap_clock_ms: places.map((_, i) => 12000 * (i + 1)) };
  const reference = referenceFromColumns(1, stored);
  assert.equal(reference.length, 6);
  assert.ok(Math.abs(reference.valueAt("clock", 0.25) - 48000) < 1);
});

test("the delta is the time lost to the reference at the same place", () => {
  const slow = referenceFromTrace(drivenFor(11000, { lapMs: 11000 }).drive.current);
  const { drive } = drivenFor(5000);
  drive.compareWith(slow);
  const { delta } = drive.current.columns;
  assert.ok(Math.abs(delta[drive.current.length - 1] + 498) < 1);
});

test("a place has one time, even if the car stood still or rolled back", () => {
  const places = [0.1, 0.2, 0.2, 0.15, 0.3];
  const reference = new Reference(1, places.length, (i) => ({ progress: places[i], clock: i * 1000 }));
  assert.equal(reference.length, 3);
  assert.ok(Math.abs(reference.valueAt("clock", 0.15) - 500) < 1e-3);
  assert.ok(Number.isNaN(reference.valueAt("clock", 0.5)));
});

test("a gear is never between two gears", () => {
  const reference = new Reference(1, 2, (i) => ({ progress: i, clock: i, gear: i + 2 }));
  assert.equal(reference.valueAt("gear", 0.9, { stepped: true }), 2);
});

test("the beginning of a lap that was stored before the page looked is put before it", () => {
  const drive = new Drive();
  for (let at = 4000; at < 5000; at += 20) drive.push(frameAt(at));
  const clocks = Array.from({ length: 250 }, (_, i) => i * 20);
  const stored = { lap_clock_ms: clocks, normalized_position: clocks.map((clock) => clock / LAP_MS) };
  drive.recall(drive.current, referenceFromColumns(1, stored));
  assert.equal(drive.current.length, 250);
  assert.deepEqual([...drive.current.columns.clock.slice(0, 250)], clocks);
});

test("a trace grows without losing samples", () => {
  const trace = new Trace(1, 2);
  for (let i = 0; i < 5; i += 1) trace.append({ time: i, speed: i });
  assert.deepEqual([...trace.columns.speed.slice(0, 5)], [0, 1, 2, 3, 4]);
});

test("a ring keeps the newest samples and finds those since a moment", () => {
  const ring = new Ring(4);
  for (let i = 0; i < 10; i += 1) ring.append({ time: i * 10 });
  assert.equal(ring.length, 4);
  assert.equal(ring.columns.time[ring.slot(0)], 90);
  assert.equal(ring.since(75), 2);
  assert.equal(ring.since(0), 4);
});

test("where the car is not, a lap has no value of any channel", () => {
  const reference = referenceFromColumns(1, { lap_clock_ms: [0, 5000, 9900], normalized_position: [0, 0.5, 0.99], gear: [2, 3, 4], speed_kmh: [100, 110, 120] });
  assert.equal(reference.valueAt("gear", 0.6, { stepped: true }), 3);
  for (const at of [NaN, 1.5, -0.5]) {
    assert.ok(Number.isNaN(reference.valueAt("gear", at, { stepped: true })), `gear at ${at}`);
    assert.ok(Number.isNaN(reference.valueAt("speed", at)), `speed at ${at}`);
  }
});

test("a stored sample whose place or clock is not known moves none of the others", () => {
  const whole = { lap_clock_ms: [0, 3000, 6000, 8000, 9900], normalized_position: [0, 0.3, 0.6, 0.8, 0.99], speed_kmh: [1, 2, 3, 4, 5] };
  const holed = { ...whole, lap_clock_ms: [0, 3000, 6000, null, 9900], normalized_position: [0, 0.3, null, 0.8, 0.99] };
  const reference = referenceFromColumns(1, holed);
  assert.equal(reference.length, 3);
  for (const at of [0.1, 0.3, 0.99]) {
    assert.ok(Math.abs(reference.valueAt("clock", at) - referenceFromColumns(1, whole).valueAt("clock", at)) < 40, `clock at ${at}`);
  }
  assert.equal(referenceFromColumns(1, { lap_clock_ms: [null, 10], normalized_position: [0.1, null] }).length, 0);
});

test("a lap does not get the official time of another one", () => {
  const drive = new Drive();
  const laps = [];
  // The game gives the time of the first lap two seconds into the third, after a tow ended the second.
  for (const [lap, ms] of [10000, 1500, 6000].entries()) {
    const start = [0, 10000, 11500][lap];
    for (let clock = 0; clock < ms; clock += 20) {
      const lastLapTime = start + clock < 11540 ? 0 : 10000;
      const sent = { timestamp: String(1700000000000 + start + clock), lapTime: clock, lapNumber: lap + 1, normalizedPosition: clock / 10000, lastLapTime };
      const { lap: ended } = drive.push(frameFrom(sent));
      if (ended) laps.push(ended);
    }
  }
  assert.deepEqual(laps.map((lap) => lap.official_lap_time_ms), [null, null]);
});
