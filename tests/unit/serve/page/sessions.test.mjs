import assert from "node:assert/strict";
import { test } from "node:test";

import { Sessions } from "../../../../serve/page/model/sessions.mjs";

const PAGE = 100;

// A store of so many sessions, asked as REST is.
function storeOf(count) {
  const rows = Array.from({ length: count }, (_, i) => ({ id: i + 1, key: `s${i + 1}`, driver: i % 2 ? "Anna" : "Bo", live: i === count - 1 }));
  return {
    rows,
    async page({ before = Infinity, search = "" }) {
      const fit = rows.filter(({ id, driver }) => id < before && driver.toLowerCase().includes(search.toLowerCase())).reverse();
      return { sessions: fit.slice(0, PAGE).map((row) => ({ ...row })), older: fit.length > PAGE ? fit[PAGE - 1].id : null };
    },
    one: async (key) => rows.find((row) => row.key === key) ?? null,
  };
}

const sessionsOf = (store) => new Sessions((asked) => store.page(asked), (key) => store.one(key));
const ids = ({ list }) => list.map(({ id }) => id);

test("every session can be paged to, each once, though newer ones come meanwhile", async () => {
  const store = storeOf(250);
  const sessions = sessionsOf(store);
  await sessions.refresh();
  assert.deepEqual([sessions.list.length, sessions.hasOlder], [100, true]);
  await sessions.more();
  for (const id of [251, 252]) store.rows.push({ id, key: `s${id}`, driver: "Bo", live: false });
  await sessions.refresh();
  await sessions.more();
  await sessions.more();
  assert.deepEqual(ids(sessions), Array.from({ length: 252 }, (_, i) => 252 - i));
  assert.equal(sessions.hasOlder, false);
});

test("a session that was deleted or hidden leaves the list, and those that others pushed out stay", async () => {
  const store = storeOf(250);
  const sessions = sessionsOf(store);
  await sessions.refresh();
  store.rows.splice(199, 1);
  store.rows.push({ id: 251, key: "s251", driver: "Bo", live: false });
  await sessions.refresh();
  assert.deepEqual(ids(sessions), [251, 250, ...Array.from({ length: 99 }, (_, i) => 249 - i)].filter((id) => id !== 200));

  const few = storeOf(1);
  const last = sessionsOf(few);
  await last.refresh();
  few.rows.pop();
  await last.refresh();
  assert.deepEqual(ids(last), []);
});

test("a session that is opened by its link is known however old it is", async () => {
  const sessions = sessionsOf(storeOf(250));
  await sessions.refresh("s3");
  assert.equal(sessions.facts("s3").driver, "Bo");
  assert.equal(sessions.facts("s4"), null);
  assert.equal(sessions.list.length, 100);
});

test("a session that is not stored yet is asked for again", async () => {
  const store = storeOf(3);
  const sessions = sessionsOf(store);
  await sessions.refresh("s4");
  assert.equal(sessions.facts("s4"), null);
  store.rows.push({ id: 4, key: "s4", driver: "Cy", live: true });
  await sessions.refresh("s4");
  assert.equal(sessions.facts("s4").driver, "Cy");
});

test("a search lists what it finds, beyond the newest hundred too, and following goes on by the newest", async () => {
  const sessions = sessionsOf(storeOf(250));
  await sessions.refresh();
  await sessions.find(" anna ");
  assert.deepEqual([sessions.list.length, sessions.list[0].driver, sessions.hasOlder], [100, "Anna", true]);
  await sessions.more();
  assert.deepEqual([sessions.list.length, sessions.hasOlder], [125, false]);
  await sessions.refresh();
  assert.equal(sessions.newest[0].id, 250);
  assert.ok(sessions.list.every(({ driver }) => driver === "Anna"));
  await sessions.find("");
  assert.equal(sessions.list.length, 100);
});

test("an answer to words that are no longer wanted is dropped", async () => {
  const store = storeOf(10);
  const answers = [];
  const sessions = new Sessions((asked) => new Promise((done) => answers.push(() => store.page(asked).then(done))), store.one);
  const first = sessions.find("anna");
  const second = sessions.find("bo");
  await answers[1]();
  await second;
  await answers[0]();
  await first;
  assert.ok(sessions.list.every(({ driver }) => driver === "Bo"));
});

test("a session that is no longer among the newest is not called live for ever", async () => {
  const store = storeOf(100);
  const sessions = sessionsOf(store);
  await sessions.refresh();
  assert.equal(sessions.facts("s100").live, true);
  store.rows[99].live = false;
  for (let id = 101; id <= 201; id += 1) store.rows.push({ id, key: `s${id}`, driver: "Bo", live: false });
  await sessions.refresh();
  assert.equal(sessions.facts("s100").live, false);
});
