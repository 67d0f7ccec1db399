// One WebSocket that comes back by itself. It knows addresses and close codes, and nothing of laps or screens.

import { backoffMs } from "./backoff.mjs";
import { firstMessages } from "./login.mjs";
import { messageFrom } from "./messages.mjs";

const PING_EVERY_MS = 15000;

// Close codes in words; those in FINAL would fail the same way again, so nobody knocks twice.
const WORDS = {
  1001: "the server is restarting",
  1006: "the connection was lost",
  1011: "the server met an error",
  1012: "the server is restarting",
  1013: "the server is busy",
  4008: "this page was too slow to keep up",
  4029: "this page sent too many requests",
  4030: "too many pages are open from this network",
  4031: "the server has all the viewers that it can hold",
  4032: "too many pages are open with this login",
  4401: "the server requires a login",
  4410: "the session was deleted",
  4403: "the server does not serve this page's address",
};
const FINAL = new Set([4400, 4401, 4403, 4410]);

export function closeWords(code, reason) {
  return WORDS[code] ?? (reason || `the connection was closed (${code})`);
}

export function socketAddress(location, query) {
  const address = new URL("ws", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.hash = "";
  address.search = new URLSearchParams({ ...query, format: "json" }).toString();
  return address.href;
}

export class Feed {
  #socket = null;
  #timer = null;
  #ping = null;
  #attempt = 0;

  // onState(state, words, code): connecting, open, reconnecting, closed. `greeting` is what to say when the line is open.
  constructor(address, { onMessage, onState, greeting = [] }) {
    this.address = address;
    this.onMessage = onMessage;
    this.onState = onState;
    this.greeting = greeting;
    this.#open("connecting");
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  close() {
    clearTimeout(this.#timer);
    clearInterval(this.#ping);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
  }

  #open(state) {
    this.onState(state, "");
    const socket = new WebSocket(this.address);
    this.#socket = socket;
    // An event of a socket that was replaced is no news.
    const current = (act) => (event) => this.#socket === socket && act(event);
    socket.onopen = current(() => this.#opened());
    socket.onmessage = current((event) => this.#receive(event.data));
    socket.onclose = current((event) => this.#closed(event));
  }

  #opened() {
    this.onState("open", "");
    for (const message of [...firstMessages(), ...this.greeting]) this.send(message);
    this.#ping = setInterval(() => this.send({ type: "ping" }), PING_EVERY_MS);
  }

  // A message that can't be read costs that message and is shown; the next ones may be fine.
  #receive(data) {
    let message;
    try {
      message = messageFrom(data);
    } catch (error) {
      this.onState("open", `a message could not be read: ${error.message}`);
      return;
    }
    this.#attempt = 0;
    this.onMessage(message);
  }

  #closed({ code, reason }) {
    clearInterval(this.#ping);
    const words = closeWords(code, reason);
    if (FINAL.has(code)) {
      this.onState("closed", words, code);
      return;
    }
    const wait = backoffMs(this.#attempt, Math.random());
    this.#attempt += 1;
    this.onState("reconnecting", words);
    this.#timer = setTimeout(() => this.#open("reconnecting"), wait);
  }
}
