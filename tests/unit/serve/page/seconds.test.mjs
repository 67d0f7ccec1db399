import assert from "node:assert/strict";
import { test } from "node:test";

import { elapsed } from "../../../../serve/page/view/format.mjs";
import { Seconds, thinned } from "../../../../serve/page/model/session_timeline.mjs";
import { Viewing } from "../../../../serve/page/model/session_view.mjs";

const START = Date.parse("2024-05-04T10:00:00Z");
const instant = (i) => new Date(START + i * 1000).toISOString();

// The columns of seconds [from, to) as the server gives them; value(i) is the speed of one.
function piece(from, to, { value = (i) => i, lap = () => 1 } = {}) {
  const numbers = Array.from({ length: to - from }, (_, i) => from + i);
  const flat = numbers.map(() => 0);
  return {
    second: numbers.map(instant),
    lap_number: numbers.map(lap),
    avg_speed_kmh: numbers.map(value),
    max_speed_kmh: numbers.map((i) => value(i) + 1),
    avg_throttle: flat, avg_brake: flat, avg_steering: flat, avg_rpm: flat,
  };
}

const speeds = (seconds) => [...seconds.columns.speed.subarray(0, seconds.length)];

test("a session comes piece by piece, and then only what is new", async () => {
  const asked = [];
  const answers = [
    { columns: piece(0, 2), next: instant(2) },
    { columns: piece(2, 4), next: null },
    { columns: piece(3, 6, { value: (i) => i * 10 }), next: null },
  ];
  const seconds = new Seconds(async (since) => { asked.push(since); return answers.shift(); });
  await seconds.read();
  assert.deepEqual(speeds(seconds), [0, 1, 2, 3]);
  assert.equal(seconds.whole, true);
  await seconds.read();
  assert.deepEqual(speeds(seconds), [0, 1, 2, 30, 40, 50]); // the last second was not over
  assert.deepEqual(asked, [null, instant(2), instant(3)]);
});

test("an empty piece in a pause is passed over", async () => {
  const answers = [
    { columns: piece(0, 1), next: instant(3600) },
    { columns: piece(0, 0), next: instant(7200) },
    { columns: piece(7200, 7201), next: null },
  ];
  const seconds = new Seconds(async () => answers.shift());
  await seconds.read();
  assert.deepEqual([speeds(seconds), seconds.end - seconds.start], [[0, 7200], 7201000]);
});

test("what has come stays when the next piece does not, and is told in words", async () => {
  const answers = [{ columns: piece(0, 2), next: instant(2) }];
  const seconds = new Seconds(async () => {
    if (answers.length === 0) throw new Error("the server does not answer");
    return answers.shift();
  });
  await seconds.read();
  assert.deepEqual([speeds(seconds), seconds.whole], [[0, 1], false]);
  assert.equal(seconds.trouble, "The session's seconds can't be read: the server does not answer");
  answers.push({ columns: piece(2, 3), next: null });
  await seconds.read();
  assert.deepEqual([speeds(seconds), seconds.whole, seconds.trouble], [[0, 1, 2], true, ""]);
});

test("nobody who has left asks on, and two readers are one", async () => {
  let asked = 0;
  const seconds = new Seconds(async () => {
    asked += 1;
    if (asked === 2) seconds.left = true;
    return { columns: piece(asked, asked + 1), next: instant(asked + 1) };
  });
  await Promise.all([seconds.read(), seconds.read()]);
  assert.deepEqual([asked, seconds.whole], [2, false]);
});

test("a session knows the second that is nearest", async () => {
  const seconds = new Seconds(async () => ({ columns: piece(0, 9), next: null }));
  await seconds.read();
  assert.deepEqual([seconds.at(START + 2600), seconds.at(START - 1), seconds.at(START + 60000)], [3, 0, -1]);
});

test("a day is thinned to what pixels can show, with each extreme in it", () => {
  const times = Float64Array.from({ length: 86400 }, (_, i) => START + i * 1000);
  const column = Float32Array.from(times, (_, i) => (i === 50000 ? 400 : (i === 70000 ? -3 : 100 + (i % 90))));
  const { x, low, high, mean } = thinned(times, column, times.length, { start: START, perMs: 1000 / 86.4e6 });
  assert.equal(x.length, 1001);
  assert.deepEqual([Math.min(...low), Math.max(...high)], [-3, 400]);
  assert.ok(mean.every((value, i) => value >= low[i] && value <= high[i]));
});

test("a few seconds are a line through each of them, which a pause breaks", () => {
  const times = [0, 1000, 60000, 61000];
  const { x, low, high, mean } = thinned(times, [1, 2, 3, 4], 4, { start: 0, perMs: 0.01 });
  assert.deepEqual([x, mean], [[0, 10, NaN, 600, 610], [1, 2, NaN, 3, 4]]);
  assert.deepEqual([low, high], [mean, mean]);
  assert.deepEqual(thinned(times, [1, 2, 3, 5], 4, { start: 0, perMs: 1e-6 }).mean, [2.75]); // narrower than a pixel
  assert.deepEqual(thinned([], [], 0, { start: NaN, perMs: NaN }).x, []);
});

test("laps that have ended are summed up once, the newest first and some at a time", async () => {
  const asked = [];
  const fetchSums = async (first, last) => {
    asked.push([first, last]);
    return [{ lap_number: last, max_speed_kmh: 280 }, { lap_number: last + 1, max_speed_kmh: 20 }];
  };
  const viewing = new Viewing("a", { fetchColumns: async () => ({ normalized_position: [], lap_clock_ms: [] }), fetchSums });
  viewing.putLaps(Array.from({ length: 45 }, (_, i) => ({ lap_number: i + 1, lap_time_ms: 90000, flags: [] })));
  await Promise.all([viewing.readSums(), viewing.readSums()]);
  viewing.putLaps([{ lap_number: 45, lap_time_ms: 90000, flags: [] }]);
  viewing.putLaps([{ lap_number: 46, lap_time_ms: 90000, flags: [], seen: true }]);
  await viewing.readSums();
  assert.deepEqual(asked, [[26, 45], [6, 25], [1, 5]]);
  assert.deepEqual([45, 44, 46].map((number) => viewing.board.get(number).summary), [{ lap_number: 45, max_speed_kmh: 280 }, {}, undefined]);
  viewing.putLaps([{ lap_number: 46, lap_time_ms: 90000, flags: [] }]);
  await viewing.readSums();
  assert.deepEqual(asked.at(-1), [46, 46]);
});

test("what has passed of a session is told as a clock would", () => {
  assert.deepEqual([0, 754999, 3754000, NaN].map(elapsed), ["0:00", "12:34", "1:02:34", "–"]);
});
