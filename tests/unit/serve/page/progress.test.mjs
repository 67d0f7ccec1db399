import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Progress, unwrapLap } from "../../../../serve/page/model/lap_position.mjs";

const cases = JSON.parse(readFileSync(new URL("../../analytics/laps/unwrapping.json", import.meta.url), "utf8"));
const near = (found, wanted) => found.length === wanted.length && found.every((one, i) => Math.abs(one - wanted[i]) < 1e-6);

for (const { name, position, share, line = 0, ...where } of cases) {
  const wanted = share.map((one) => one + line - Math.round(line));

  test(`a stored lap is unwrapped as by analytics/laps/unwrapping.py: ${name}`, () => {
    const found = unwrapLap(position, { line, ...where });
    assert.ok(near(found, wanted), `${found} is not ${wanted}`);
  });

  test(`a lap being driven, sample by sample: ${name}`, () => {
    // Who comes in mid-lap sees a clock that has run for long.
    const clock = where.begun === false || name.startsWith("seen") ? 60000 : 0;
    const progress = new Progress();
    const found = position.map((one, i) => progress.advance(one, clock + 1000 * i));
    assert.ok(near(found, wanted), `${found} is not ${wanted}`);
  });
}
