import assert from "node:assert/strict";
import { test } from "node:test";

import { Animation } from "../../../../serve/page/view/animation.mjs";

// A browser's requestAnimationFrame, one frame at a time.
function browser() {
  const asked = [];
  return { request: (callback) => asked.push(callback), paint: (now) => asked.splice(0).forEach((callback) => callback(now)) };
}

function animated(draw) {
  const { request, paint } = browser();
  const troubles = [];
  new Animation(draw, (words) => troubles.push(words), request).start();
  return { paint, troubles };
}

const silently = (act) => {
  const { error } = console;
  console.error = () => {};
  try {
    act();
  } finally {
    console.error = error;
  }
};

test("an exception in drawing is reported once, ends nothing, and is taken back when drawing works again", () => {
  const drawn = [];
  let broken = false;
  const { paint, troubles } = animated((now) => {
    if (broken) throw new RangeError("Invalid array length");
    drawn.push(now);
  });
  paint(1);
  broken = true;
  silently(() => [2, 3, 4].forEach(paint));
  broken = false;
  [5, 6].forEach(paint);
  assert.deepEqual(drawn, [1, 5, 6]);
  assert.deepEqual(troubles, ["Invalid array length", ""]);
});

test("another exception is reported too, whatever was thrown", () => {
  const thrown = [new TypeError("no context"), "words alone", new Error("")];
  const { paint, troubles } = animated((now) => {
    throw thrown[now];
  });
  silently(() => [0, 1, 2].forEach(paint));
  assert.deepEqual(troubles, ["no context", "words alone", "an exception without words"]);
});
