import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, gearName, lapTime, readable, runningClock, signedSeconds } from "../../../../serve/page/view/format.mjs";

test("a lap time has minutes, seconds and thousandths", () => {
  assert.equal(lapTime(83456), "1:23.456");
  assert.equal(lapTime(59999.6), "1:00.000");
  assert.equal(lapTime(null), "–");
  assert.equal(lapTime(0), "–");
});

test("a running clock shows whole tenths and never runs ahead", () => {
  assert.equal(runningClock(0), "0:00.0");
  assert.equal(runningClock(59999), "0:59.9");
  assert.equal(runningClock(754300), "12:34.3");
});

test("a difference always has its sign, and nothing is neither gained nor lost", () => {
  assert.equal(signedSeconds(123), "+0.123");
  assert.equal(signedSeconds(-1500, 2), "−1.50");
  assert.equal(signedSeconds(-0.2), "±0.000");
  assert.equal(signedSeconds(NaN), "–");
});

test("gears have names", () => {
  assert.deepEqual([-1, 0, 1, 6].map(gearName), ["R", "N", "1", "6"]);
});

test("an old session is told by its date", () => {
  const now = Date.parse("2026-01-02T03:04:05Z");
  assert.equal(ago(now - 90000, now), "1 min ago");
  assert.equal(ago(Date.parse("2023-04-02T10:00:00Z"), now), "2023-04-02");
  assert.equal(ago(NaN, now), "");
});

test("a track's name is made readable", () => {
  assert.equal(readable("okayama_full"), "Okayama full");
  assert.equal(readable(undefined), "");
});
