import assert from "node:assert/strict";
import { test } from "node:test";

import { backoffMs } from "../../../../serve/page/net/backoff.mjs";
import { Choice } from "../../../../serve/page/model/session_picker.mjs";
import { closeWords, socketAddress } from "../../../../serve/page/net/socket.mjs";
import { LapBoard, sectorsOf } from "../../../../serve/page/model/laps.mjs";
import { RunningSectors } from "../../../../serve/page/model/running_sectors.mjs";
import { lightsLit, Scales } from "../../../../serve/page/view/scales.mjs";
import { Drive } from "../../../../serve/page/model/live_session.mjs";
import { Overview } from "../../../../serve/page/view/overview.mjs";
import { fitted } from "../../../../serve/page/view/track_map.mjs";
import { Viewing } from "../../../../serve/page/model/session_view.mjs";
import { frameFrom, messageFrom } from "../../../../serve/page/net/messages.mjs";

const lap = (number, ms, flags = []) => ({ lap_number: number, lap_time_ms: ms, official_lap_time_ms: null, flags });

test("only a flying lap is the best, and the others are told by how far they are", () => {
  const board = new LapBoard();
  for (const one of [lap(1, 80000, ["out"]), lap(2, 90000), lap(3, 89500), lap(4, 91000)]) board.put(one);
  assert.equal(board.best.lap_number, 3);
  assert.deepEqual(board.rows().map(({ lap: { lap_number }, diffMs }) => [lap_number, diffMs]), [[4, 1500], [3, null], [2, 500], [1, -9500]]);
});

test("the official time is the lap time where there is one", () => {
  const board = new LapBoard();
  board.put({ ...lap(1, 90000), official_lap_time_ms: 90003 });
  board.put(lap(2, 90001));
  assert.equal(board.best.lap_number, 2);
});

test("what the page timed itself never replaces what the lap engine says", () => {
  const board = new LapBoard();
  board.put(lap(1, 90000));
  board.put({ ...lap(1, 1), seen: true });
  assert.equal(board.last.lap_time_ms, 90000);
});

test("the colours that were told last stand, in whichever order they arrive", () => {
  const board = new LapBoard();
  const coloured = (colour, version) => ({ ...lap(1, 90000), sector_times_ms: [40000, 50000], colour, sector_colours: [colour, "yellow"], colour_version: version });
  for (const one of [coloured("purple", 1), coloured("green", 2), coloured("purple", 1), lap(1, 90000)]) board.put(one);
  assert.equal(board.last.colour, "green");
  assert.deepEqual(sectorsOf(board.last), [{ timeMs: 40000, colour: "green" }, { timeMs: 50000, colour: "yellow" }]);
});

test("a lap as the socket tells it has its colours", () => {
  const { lap: judged } = messageFrom('{"lap":{"lapNumber":3,"colour":"purple","sectorColours":["green"],"colourVersion":2}}');
  assert.deepEqual([judged.colour, judged.sector_colours, judged.colour_version], ["purple", ["green"], 2]);
});

test("sectors appear as they end, and the lap's own stay for some seconds after the line", () => {
  const running = new RunningSectors();
  const { lapInProgress } = messageFrom('{"sessionId":"a","lapInProgress":{"lapNumber":3,"sectorTimes":[30000],"sectorColours":["purple"]}}');
  running.update(lapInProgress);
  assert.deepEqual(running.at(80000), [{ timeMs: 30000, colour: "purple" }]);
  running.begin(90000);
  running.finish({ ...lap(2, 90000), sector_times_ms: [1, 2] });
  running.finish({ ...lap(3, 90000), sector_times_ms: [30000, 60000], sector_colours: ["green", "yellow"] });
  assert.deepEqual(running.at(8000), [{ timeMs: 30000, colour: "green" }, { timeMs: 60000, colour: "yellow" }]);
  assert.deepEqual(running.at(8001), []);
  running.update({ ...lapInProgress, lap_number: 4 });
  assert.equal(running.at(30500).length, 1);
});

test("a lap that is not judged has sectors without colours", () => {
  const running = new RunningSectors();
  assert.deepEqual(running.at(0), []);
  running.update(messageFrom('{"lapInProgress":{"lapNumber":1,"sectorTimes":[30000],"sectorColours":[]}}').lapInProgress);
  assert.deepEqual(running.at(40000), [{ timeMs: 30000, colour: "" }]);
});

test("the frame that begins a lap ends the sectors of the lap before", () => {
  const viewing = new Viewing("a");
  const drive = (timestamp, lapTime, lapNumber) => viewing.receive(messageFrom(JSON.stringify({ telemetry: { timestamp, lapTime, lapNumber } })));
  drive(1, 89980, 1);
  viewing.receive(messageFrom('{"lapInProgress":{"lapNumber":1,"sectorTimes":[30000,31000]}}'));
  assert.equal(viewing.sectors.at(89980).length, 2);
  drive(21, 0, 2);
  assert.equal(viewing.sectors.at(0).length, 2);
  assert.equal(viewing.sectors.at(20000).length, 0);
});

test("who joins in mid-lap sees the sectors that have ended, unless the lap was begun anew since", () => {
  for (const [startedAt, seen] of [[1700000000000, 1], [1700000060000, 0]]) {
    const viewing = new Viewing("a");
    viewing.receive(messageFrom('{"lapInProgress":{"lapNumber":7,"startedAt":"1700000000005","sectorTimes":[30000]}}'));
    viewing.receive({ frames: [frameFrom({ timestamp: startedAt + 40000, lapTime: 40000, lapNumber: 7 })] });
    assert.equal(viewing.sectors.at(40000).length, seen);
  }
});

test("whole numbers of 64 bits come as text or as numbers", () => {
  const message = messageFrom('{"sessionId":"a","telemetry":{"timestamp":"1700000000000","gear":-1,"pit":2,"validity":"LAP_VALIDITY_INVALID"}}');
  const [frame] = message.frames;
  assert.deepEqual([frame.timestamp, frame.gear, frame.throttle, frame.inPit, frame.invalid], [1700000000000, -1, 0, true, true]);
});

test("a batch of frames keeps its order, and the newest is last", () => {
  const { frames } = messageFrom('{"frames":[{"timestamp":1},{"timestamp":2}],"telemetry":{"timestamp":3}}');
  assert.deepEqual(frames.map(({ timestamp }) => timestamp), [1, 2, 3]);
});

test("what the server says of a bad request is an error in words", () => {
  assert.equal(messageFrom('{"type":"error","error":"no such thing"}').error, "no such thing");
  assert.equal(messageFrom('{"type":"pong"}').error, null);
});

test("attempts spread over a growing time and never come more often than asked", () => {
  assert.equal(backoffMs(0, 1), 500);
  assert.equal(backoffMs(3, 0), 400);
  assert.equal(backoffMs(50, 1), 15000);
});

test("a page on https asks for a secure socket beside it", () => {
  const address = socketAddress({ href: "https://host/view/#session=a", protocol: "https:" }, { session: "a b" });
  assert.equal(address, "wss://host/view/ws?session=a+b&format=json");
  assert.equal(closeWords(4008, "too slow"), "this page was too slow to keep up");
  assert.equal(closeWords(4999, "odd"), "odd");
});

test("a session that has just become live wins, else what is shown stays", () => {
  const choice = new Choice();
  const one = { key: "one", live: true };
  const replayed = { key: "old", live: true };
  assert.equal(choice.next([one], null), "one");
  assert.equal(choice.next([replayed, one], "one"), "old");
  assert.equal(choice.next([replayed, one], "old"), "old");
  assert.equal(choice.next([one, { ...replayed, live: false }], "old"), "one");
  assert.equal(choice.next([], "one"), "one");
});

test("a scale grows in round steps and says so once", () => {
  const scales = new Scales();
  const before = scales.version;
  scales.include("speed", 212);
  scales.include("speed", 214);
  assert.deepEqual(scales.ends("speed"), [0, 250]);
  assert.equal(scales.version, before + 1);
});

test("the shift lights fill towards the highest revolutions", () => {
  assert.equal(lightsLit(1700, 1700, 14), 0);
  assert.equal(lightsLit(6000, 8000, 14), 0);
  assert.equal(lightsLit(7900, 8000, 14), 14);
});

test("the best lap is the reference until another one is chosen, and again after", async () => {
  const columns = { normalized_position: [0, 0.5, 1], lap_clock_ms: [0, 45000, 90000], speed_kmh: [100, 200, 100] };
  const viewing = new Viewing("a", { fetchColumns: async () => columns });
  const settled = () => new Promise((done) => setTimeout(done));
  viewing.putLaps([lap(1, 91000), lap(2, 90000)]);
  await settled();
  assert.deepEqual([viewing.reference.lapNumber, viewing.referenceIsBest, viewing.referenceMs], [2, true, 90000]);
  viewing.compareWith(1);
  await settled();
  assert.deepEqual([viewing.reference.lapNumber, viewing.referenceIsBest, viewing.followsBest], [1, false, false]);
  viewing.putLaps([lap(3, 80000)]);
  viewing.compareWith(1);
  await settled();
  assert.equal(viewing.reference.lapNumber, 3);
});

// Frames of laps that go round evenly, one after the other: [the game's lap number, ms].
function* drivenLaps(laps, { every = 20 } = {}) {
  let start = 1700000000000;
  for (const [lapNumber, ms] of laps) {
    for (let lapTime = 0; lapTime < ms; lapTime += every) yield { timestamp: start + lapTime, lapTime, lapNumber, normalizedPosition: lapTime / ms, speed: 100 };
    start += ms;
  }
}

test("a lap of a game that was restarted is not taken for the one that had its number before", async () => {
  const asked = [];
  const fetchColumns = async (number) => {
    asked.push(number);
    return { normalized_position: [0, 0.5, 1], lap_clock_ms: [0, 10000, 20000] };
  };
  const viewing = new Viewing("a", { fetchColumns });
  const settled = () => new Promise((done) => setTimeout(done));
  const before = (number, ms) => ({ ...lap(number, ms), started_at: "2023-11-14T21:00:00Z" });
  viewing.putLaps([before(1, 21000), before(2, 20000)]);
  await settled();
  for (const frame of drivenLaps([[1, 30000], [2, 1000]])) viewing.receive({ frames: [frameFrom(frame)] });
  viewing.compareWith(1);
  await settled();
  assert.deepEqual([viewing.reference.lapNumber, viewing.reference.columns.clock.at(-1), asked], [1, 20000, [2, 1]]);
});

test("a lap that was seen from line to line is not asked for", async () => {
  const viewing = new Viewing("a", { fetchColumns: () => assert.fail("it was seen") });
  for (const frame of drivenLaps([[1, 20000], [2, 1000]])) viewing.receive({ frames: [frameFrom(frame)] });
  viewing.receive(messageFrom('{"lap": {"lapNumber": 1, "startedAt": "1700000000000", "lapTime": 20000}}'));
  await new Promise((done) => setTimeout(done));
  assert.equal(viewing.reference.length, 1000);
});

test("a lap that can't be fetched is told in words and asked for again", async () => {
  let answers = false;
  const fetchColumns = async () => {
    if (!answers) throw new Error("the server does not answer");
    return { normalized_position: [0, 0.4, 0.8], lap_clock_ms: [0, 36000, 72000] };
  };
  const viewing = new Viewing("a", { fetchColumns });
  const settled = () => new Promise((done) => setTimeout(done));
  viewing.putLaps([lap(1, 90000)]);
  await settled();
  assert.equal(viewing.trouble, "Lap 1 can't be drawn: the server does not answer");
  answers = true;
  viewing.putLaps([]);
  await settled();
  assert.equal(viewing.reference.lapNumber, 1);
  assert.equal(viewing.trouble, "");
});

// Laps as the lap engine tells them, one after the other from START on: [number, how long the lap lasted, its time] in ms.
const START = 1700000000000;
const instantOf = (ms) => new Date(START + ms).toISOString();
function reportedLaps(laps) {
  let at = 0;
  return laps.map(([number, lasted, ms]) => {
    const from = at;
    at += lasted;
    return { ...lap(number, ms ?? lasted), started_at: instantOf(from), ended_at: instantOf(at) };
  });
}

test("a session's laps lie where the lap engine says, pauses and all, with the one in progress behind them", () => {
  const board = new LapBoard();
  for (const one of reportedLaps([[1, 120000], [2, 155000, 95000]])) board.put(one);
  board.put({ ...lap(3, 94000), seen: true });
  const ends = (start, end) => board.intervals(START + start, START + end).map(({ number, from, to }) => [number, from - START, to - START]);
  assert.deepEqual(ends(0, 300000), [[1, 0, 120000], [2, 120000, 275000], [3, 275000, 300000]]);
  assert.deepEqual(ends(60000, 200000), [[1, 60000, 120000], [2, 120000, 200000]]);
});

test("a lap that is corrected to other frames is summed up and drawn anew", async () => {
  let asked = 0;
  const fetchColumns = async () => { asked += 1; return { normalized_position: [0, 0.5, 1], lap_clock_ms: [0, 45000, 90000] }; };
  const viewing = new Viewing("a", { fetchColumns, fetchSums: async (first) => [{ lap_number: first, max_speed_kmh: 200 + asked }] });
  const settled = () => new Promise((done) => setTimeout(done));
  const [reported] = reportedLaps([[1, 90000]]);
  viewing.putLaps([reported]);
  await settled();
  await viewing.readSums();
  viewing.putLaps([{ ...reported, official_lap_time_ms: 90001 }]);
  await settled();
  assert.deepEqual([asked, viewing.board.last.summary.max_speed_kmh], [1, 201]);
  viewing.putLaps([{ ...reported, ended_at: instantOf(91000) }]);
  await settled();
  await viewing.readSums();
  assert.deepEqual([asked, viewing.board.last.summary.max_speed_kmh], [2, 202]);
});

test("the lap being driven has the lap engine's number, where the game does not count the lap out of the pits", async () => {
  const viewing = new Viewing("a", { fetchColumns: async () => ({ normalized_position: [0, 0.5, 1], lap_clock_ms: [0, 60000, 120000] }) });
  const frames = [...drivenLaps([[1, 120000], [1, 95000], [2, 20000]], { every: 1000 })];
  const drive = (from, to) => viewing.receive({ frames: frames.slice(from, to).map(frameFrom) });
  drive(0, 121);
  assert.equal(viewing.lapNumber, 1);
  viewing.putLaps(reportedLaps([[1, 120000]]));
  assert.equal(viewing.lapNumber, 2);
  drive(121, 216);
  assert.equal(viewing.lapNumber, 3);
  viewing.putLaps(reportedLaps([[1, 120000], [2, 95000]]));
  assert.equal(viewing.lapNumber, 3);
});

test("a click into the session's overview compares with the lap that was driven then, where the game does not count the lap out of the pits", async () => {
  const asked = [];
  const fetchColumns = async (number) => {
    asked.push(number);
    return { normalized_position: [0, 0.5, 1], lap_clock_ms: [0, 47500, 95000], speed_kmh: [120, 210, 120] };
  };
  const viewing = new Viewing("a", { fetchColumns });
  // The game's numbers are 1, 1, 2 and 3; the lap engine's are 1, 2, 3 and 4.
  const driven = [...drivenLaps([[1, 120000], [1, 95000], [2, 94000], [3, 20000]], { every: 500 })];
  viewing.receive({ frames: driven.map(frameFrom) });
  const [out, ...flying] = reportedLaps([[1, 120000], [2, 95000], [3, 94000]]);
  viewing.putLaps([{ ...out, flags: ["out"] }, ...flying]);
  const [start, end] = [driven[0].timestamp, driven.at(-1).timestamp];
  const overview = Object.assign(Object.create(Overview.prototype), { seconds: { start, end, length: 329 }, laps: viewing.board.intervals(start, end) });
  const lapAt = (seconds) => {
    overview.cursor = (1000 * seconds) / (end - start);
    return overview.lap.number;
  };
  assert.deepEqual([60, 119, 121, 214, 216, 308, 310].map(lapAt), [1, 1, 2, 2, 3, 3, 4]);
  const settled = () => new Promise((done) => setTimeout(done));
  const spanOf = async (number) => {
    viewing.compareWith(number);
    await settled();
    return [viewing.reference.lapNumber, Math.round(viewing.reference.columns.clock.at(viewing.reference.length - 1) / 1000)];
  };
  assert.deepEqual(await spanOf(lapAt(150)), [2, 95]);
  assert.deepEqual(await spanOf(lapAt(60)), [1, 120]);
  assert.ok(asked.includes(2));
  viewing.board.summarise([1, 3], [[1, 150], [2, 210], [3, 220]].map(([lap_number, max_speed_kmh]) => ({ lap_number, max_speed_kmh })));
  assert.equal(viewing.board.get(lapAt(150)).summary.max_speed_kmh, 210);
});

test("the beginning of the lap in progress is recalled by when it began, whatever the game calls it", async () => {
  const asked = [];
  const fetchColumns = async (number) => {
    asked.push(number);
    return { normalized_position: [0, 0.1, 0.2], lap_clock_ms: [0, 9500, 19000] };
  };
  const viewing = new Viewing("a", { fetchColumns });
  for (const frame of [...drivenLaps([[1, 120000], [1, 95000]], { every: 1000 })].slice(150, 160)) viewing.receive({ frames: [frameFrom(frame)] });
  await viewing.recall(2, instantOf(120000));
  assert.deepEqual([asked, viewing.drive.current.length], [[2], 13]);
  await viewing.recall(2, instantOf(120000));
  assert.deepEqual(asked, [2]);
});

test("a value that is marked as unknown is no zero, and the lap goes on", () => {
  const drive = new Drive();
  drive.push(frameFrom({ timestamp: 1000, lapNumber: 3, lapTime: 500, normalizedPosition: 0.2, speed: 100, gear: 3 }));
  const lap = drive.current;
  const unknown = (1 << 10) | (1 << 9) | (1 << 2) | (1 << 6);
  const { sample } = drive.push(frameFrom({ timestamp: 1016, gear: 3, blanked: unknown }));
  assert.equal(drive.current, lap);
  assert.deepEqual([sample.speed, sample.gear, sample.clock, drive.frame.lapNumber], [NaN, 3, 500, 3]);
});

test("a gear that no gearbox has makes no scale of a thousand million lines", () => {
  const scales = new Scales();
  for (const [key, value] of [["gear", 2147483647], ["speed", 3.4e38], ["rpm", Infinity], ["gear", NaN], ["gear", 6]]) scales.include(key, value);
  assert.deepEqual(scales.ends("gear"), [0, 6]);
  assert.equal(scales.lines("gear").length, 4);
  assert.deepEqual(scales.ends("speed"), [0, 100]);
});

test("a map is turned, never mirrored, whichever way the game's z points", () => {
  // A right-hander by the car: forward, then to its right.
  for (const [mapZ, z] of [[1, [0, 100, 100]], [-1, [0, -100, -100]]]) {
    for (const [width, height] of [[300, 200], [200, 300], [200, 900]]) {
      const fit = fitted({ columns: { x: [1, 1, 51], z }, length: 3 }, { width, height, mapZ });
      const [a, b, c] = [0, 1, 2].map((i) => fit([1, 1, 51][i], z[i]));
      // Pixels run down: a right turn has a positive cross product.
      assert.ok((b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0]) > 0, `${mapZ} ${width}x${height}`);
    }
  }
});
