// The viewer page: chooses a session, keeps its line open and lets the screen draw it. The only module with state of its own.

import { Animation } from "./view/animation.mjs";
import {
  changeSession, deleteSession, fetchLapColumns, fetchLaps, fetchLapSummaries, fetchLoginOffer, fetchMapZ, fetchSeconds,
  fetchSession, fetchSessions,
} from "./net/api.mjs";
import { beginLogin, finishLogin } from "./net/oidc.mjs";
import { credential, forgetCredential, keepCredential, linkToken, LoginNeeded } from "./net/login.mjs";
import { Choice } from "./model/session_picker.mjs";
import { Feed, socketAddress } from "./net/socket.mjs";
import { SessionList } from "./view/lists.mjs";
import { LoginBox } from "./view/login_box.mjs";
import { ShareBox } from "./view/share_box.mjs";
import { Screen } from "./view/screen.mjs";
import { Sessions } from "./model/sessions.mjs";
import { Viewing } from "./model/session_view.mjs";

const SESSIONS_EVERY_MS = 3000;
const LAPS_EVERY_MS = 10000;
const SECONDS_EVERY_MS = 2000;
const LAPS_AFTER_LAP_MS = 700;
const SEARCH_AFTER_MS = 250;
const QUIET_AFTER_MS = 2000;

const byId = (id) => document.getElementById(id);

const page = {
  sessions: new Sessions(fetchSessions, fetchSession),
  trouble: "",
  viewing: null,
  feed: null,
  demo: false,
  line: "none",
  words: "",
  undrawn: "",
  linkEnded: "",
  receivedAt: -Infinity,
  framesBefore: 0,
  countedAt: 0,
};
const choice = new Choice();
const screen = new Screen({ onLap: (number) => page.viewing?.compareWith(number), onMode: refreshSeconds });
const list = new SessionList(byId("sessions"), choose, act);

const loginBox = new LoginBox({ onKey: logIn, onIssuer: goToIssuer });
const shareBox = new ShareBox();
let loginOffer = { mode: "none", client_id: "" };
const openedLink = linkToken();
const isGuest = openedLink !== null;

const pinned = () => new URLSearchParams(location.hash.slice(1)).get("session");
const facts = (key) => page.sessions.facts(key);
const isLive = () => performance.now() - page.receivedAt < QUIET_AFTER_MS;

// Logging in

// Without the server's answer the page goes on, and shows what is wrong as it does later.
async function begin() {
  document.body.classList.toggle("guest", isGuest);
  if (isGuest) {
    refreshSessions();
    return;
  }
  try {
    loginOffer = await fetchLoginOffer();
    const done = loginOffer.client_id ? await finishLogin(loginOffer, location, sessionStorage) : null;
    if (done) {
      history.replaceState(null, "", location.pathname + done.hash);
      keepCredential(done.token);
    }
    if (loginOffer.mode !== "none" && !credential()) demandLogin("");
  } catch (error) {
    if (new URLSearchParams(location.search).has("state")) history.replaceState(null, "", location.pathname);
    if (loginOffer.mode !== "none") demandLogin(`${error.message}.`);
  }
  follow();
  refreshSessions();
}

function demandLogin(words) {
  forgetCredential();
  leave();
  page.trouble = "";
  screen.show(new Viewing(""));
  loginBox.show(loginOffer, words);
}

// The link was refused, or ended while it was looked at. Nothing that it showed stays.
function endLink(error) {
  leave();
  page.sessions = new Sessions(fetchSessions, fetchSession);
  if (error.reason === "links_unavailable") page.trouble = error.message;
  else page.linkEnded = error.message;
  screen.show(new Viewing(""));
  drawSessions();
  drawStates();
}

function logIn(key) {
  keepCredential(key);
  loginBox.close();
  refreshSessions();
}

async function goToIssuer() {
  try {
    location.assign(await beginLogin(loginOffer, location, sessionStorage));
  } catch (error) {
    loginBox.show(loginOffer, `${error.message}.`);
  }
}

// Opening and closing

function open(key) {
  leave();
  page.viewing = new Viewing(key, {
    facts: facts(key),
    fetchColumns: (number) => fetchLapColumns(key, number),
    fetchPiece: (since) => fetchSeconds(key, since),
    fetchSums: (first, last) => fetchLapSummaries(key, first, last),
  });
  connect({ session: key }, []);
  refreshLaps();
  refreshSeconds();
}

function openDemo() {
  leave();
  page.demo = true;
  page.viewing = new Viewing("");
  connect({}, [{ type: "start_demo" }]);
}

function leave() {
  page.feed?.close();
  page.viewing?.leave();
  Object.assign(page, { feed: null, demo: false, viewing: null, line: "none", words: "", receivedAt: -Infinity });
}

function connect(query, greeting) {
  screen.show(page.viewing);
  page.feed = new Feed(socketAddress(location, query), { onMessage: receive, onState: noteLine, greeting });
  drawStates();
}

function noteLine(line, words, code) {
  if (code === 4401) {
    if (isGuest) refreshSessions();
    else demandLogin("The login has ended.");
    return;
  }
  Object.assign(page, { line, words });
  if (page.demo && line === "open" && !words) beginDemo("");
  drawStates();
}

function receive(message) {
  if (message.error) noteLine(page.line, message.error);
  if (page.demo && message.sessionId && message.sessionId !== page.viewing.key) beginDemo(message.sessionId);
  if (message.sessionId && message.sessionId !== page.viewing.key) return;
  const isFirst = page.viewing.drive.frames === 0 && message.frames.length > 0;
  page.viewing.receive(message);
  if (message.frames.length > 0) page.receivedAt = performance.now();
  // The lap's beginning can be asked for once the car is seen, and what was driven until then is stored by that time.
  if (message.lap || isFirst) setTimeout(refreshLaps, LAPS_AFTER_LAP_MS);
}

// Each demo is a session of its own.
function beginDemo(key) {
  page.viewing = new Viewing(key);
  screen.show(page.viewing);
}

// Choosing

function choose(key) {
  if (isGuest) return; // the address holds the link
  byId("follow").checked = false;
  if (pinned() === key) follow();
  else location.hash = new URLSearchParams({ session: key });
}

function follow() {
  if (loginBox.isOpen) return; // a socket without a login would be closed, and end the one that is typed meanwhile
  const wanted = isGuest ? page.sessions.newest?.[0]?.key : pinned();
  byId("follow").checked = !wanted;
  const key = wanted ?? choice.next(page.sessions.newest ?? [], page.demo ? null : (page.viewing?.key ?? null));
  if (page.demo && !wanted) return;
  if (key && key !== page.viewing?.key) open(key);
}

function followAgain() {
  if (!byId("follow").checked) {
    if (page.viewing && !page.demo) choose(page.viewing.key);
    return;
  }
  history.replaceState(null, "", location.pathname + location.search);
  follow();
}

function toggleDemo() {
  if (!page.demo) {
    history.replaceState(null, "", location.pathname + location.search);
    openDemo();
    return;
  }
  page.feed.send({ type: "stop_demo" });
  leave();
  screen.show(new Viewing(""));
  follow();
  drawStates();
}

// Asking the server

async function refreshSessions() {
  if (document.hidden || loginBox.isOpen || page.linkEnded) return;
  try {
    await page.sessions.refresh(page.demo ? null : (pinned() ?? page.viewing?.key));
    page.trouble = "";
  } catch (error) {
    page.trouble = error.message;
    if (error instanceof LoginNeeded && isGuest) {
      endLink(error);
      return;
    }
    if (error instanceof LoginNeeded) {
      demandLogin(error.reason === "missing" ? "" : error.message);
      return;
    }
  }
  if (page.viewing && !page.demo) adoptFacts();
  follow();
  if (page.viewing && !page.viewing.lapsRead) refreshLaps();
  drawSessions();
  drawStates();
}

function drawSessions() {
  list.draw(page.sessions.list, page.demo ? null : page.viewing?.key, Date.now());
  byId("older").hidden = !page.sessions.hasOlder;
}

// Rename, hide, show or delete the session that is shown.
async function act(action, session) {
  const changed = changeTo(action, session);
  if (!changed) return;
  const shown = action === "delete" ? null : session.key;
  await listWith(changed().then(() => page.sessions.refresh(shown)));
  if (page.viewing?.key !== session.key) return;
  page.viewing.facts = null;
  if (action === "delete" && !page.trouble) {
    history.replaceState(null, "", location.pathname + location.search);
    leave();
    screen.show(new Viewing(""));
  }
  refreshSessions();
}

// -> what asks the server; null where the user changes their mind.
function changeTo(action, session) {
  const { key } = session;
  if (action === "delete") {
    const name = session.title || key;
    return confirm(`Delete ${name} for good, with its laps and best times?`) ? () => deleteSession(key) : null;
  }
  if (action !== "rename") return () => changeSession(key, { hidden: action === "hide" });
  const title = prompt("Title of the session, in place of its key:", session.title);
  return title === null ? null : () => changeSession(key, { title });
}

// Find or page, and show what came of it.
async function listWith(reading) {
  try {
    await reading;
    page.trouble = "";
  } catch (error) {
    page.trouble = error.message;
  }
  drawSessions();
  drawStates();
}

let searchSoon = 0;

function searchSessions() {
  clearTimeout(searchSoon);
  searchSoon = setTimeout(() => listWith(page.sessions.find(byId("search").value)), SEARCH_AFTER_MS);
}

function adoptFacts() {
  const known = facts(page.viewing.key);
  if (!known || page.viewing.facts) return;
  page.viewing.facts = known;
  page.viewing.version += 1;
}

// Only of a session that the server lists: a session that has just begun may not be stored yet.
async function refreshLaps() {
  const { viewing } = page;
  if (!viewing || page.demo || document.hidden || !facts(viewing.key)) return;
  try {
    const { laps, open_lap: openLap, open_lap_started_at: startedAt } = await fetchLaps(viewing.key);
    viewing.trouble = "";
    viewing.putLaps(laps);
    viewing.recall(openLap, startedAt);
    // Where only a lap is shared there is none in progress: it is what to look at, though it may be no flying one.
    if (laps.length > 0 && openLap === null && viewing.followsBest && !viewing.board.best) viewing.compareWith(laps[0].lap_number);
    viewing.lapsRead = true;
    await viewing.readSums();
  } catch (error) {
    viewing.trouble = `The stored laps can't be read: ${error.message}`;
  }
}

// While they are looked at: of a live session what is new, of one that has ended all of it once.
function refreshSeconds() {
  const seconds = page.viewing?.seconds;
  if (!seconds || !screen.showsSession || document.hidden || !facts(page.viewing.key)) return;
  if (isLive() || !seconds.whole) seconds.read();
}

// Saying how things are

function lineState() {
  if (page.line === "reconnecting" || page.line === "closed" || page.line === "connecting") return page.line;
  if (page.line === "none") return "idle";
  if (!isLive()) return !page.demo && facts(page.viewing.key)?.live === false ? "ended" : "waiting";
  return page.demo ? "demo" : "live";
}

const STATE_WORDS = {
  idle: "No session",
  connecting: "Connecting",
  live: "Live",
  demo: "Demo",
  waiting: "Waiting for data",
  ended: "Not live",
  reconnecting: "Reconnecting",
  closed: "Closed",
};

function drawStates() {
  const node = byId("connection");
  const state = lineState();
  const word = STATE_WORDS[state];
  const trouble = page.undrawn || page.words;
  const words = trouble ? `${word}: ${trouble}` : word;
  if (node.dataset.state !== state) node.dataset.state = state;
  if (node.lastChild.textContent !== words) node.lastChild.textContent = words;
  node.dataset.frames = String(page.viewing?.drive.frames ?? 0);
  // A speed that is no longer true must not look like one that is; nor a list.
  document.body.classList.toggle("unlisted", page.trouble !== "");
  document.body.classList.toggle("stale", !isLive() && page.viewing?.sample != null);
  drawNote();
  drawDemo();
  drawShare();
  drawEmpty(state);
}

function drawNote() {
  const note = byId("sessions-note");
  const words = page.trouble ? `The sessions can't be listed: ${page.trouble}.` : noSessions();
  note.hidden = !words;
  if (note.textContent !== words) note.textContent = words;
}

function noSessions() {
  if (!page.sessions.newest || page.sessions.list.length > 0) return "";
  const { search } = page.sessions;
  return search ? `No session has “${search}” in its driver, track, car or name.` : "Sessions appear here as soon as a collector sends one.";
}

function drawShare() {
  const { viewing } = page;
  const possible = !isGuest && loginOffer.mode !== "none" && viewing && !page.demo && Boolean(facts(viewing.key));
  byId("share-session").hidden = !possible;
  byId("share-lap").hidden = !(possible && viewing.reference);
}

function shareWhat(lapNumber) {
  const { viewing } = page;
  if (viewing) shareBox.show(viewing.key, viewing.board.laps.filter((lap) => !lap.seen), lapNumber);
}

function drawDemo() {
  const button = byId("demo");
  button.hidden = !page.demo && (page.sessions.newest ?? []).some((one) => one.live);
  button.textContent = page.demo ? "Stop the demo" : "Play the demo";
}

// What to say instead of empty strips; null where there is something to see.
function emptiness(state) {
  const { viewing } = page;
  if (page.linkEnded) return { title: "This link shows nothing any more", text: page.linkEnded, offer: false };
  if (viewing && (viewing.drive.frames > 0 || viewing.reference || screen.showsSession)) return null;
  if (state === "reconnecting" || (!viewing && page.trouble)) {
    return { title: "The server does not answer", text: "The page keeps trying. Is purple-sector up still running?", offer: false };
  }
  if (!viewing && !page.sessions.newest) return { title: "Looking for sessions", text: "", offer: false };
  if (viewing && (page.demo || facts(viewing.key)?.live)) {
    return { title: "Waiting for the first frame", text: "The session is there; its car appears with the next frame.", offer: false };
  }
  if (viewing?.board.last) return { title: "This session is not live", text: "Choose a lap to see its traces.", offer: false };
  const ended = page.sessions.newest?.length > 0 && !viewing ? "Open one that has ended from the list, or start" : "Start";
  return {
    title: viewing ? "This session is not live" : "No session is live",
    text: `${ended} one, and it appears here by itself:`,
    offer: true,
  };
}

function drawEmpty(state) {
  const empty = emptiness(state);
  byId("empty").hidden = !empty;
  if (!empty) return;
  byId("empty-title").textContent = empty.title;
  byId("empty-text").textContent = empty.text;
  byId("empty-command").hidden = !empty.offer;
  byId("empty-demo").hidden = !empty.offer;
}

function drawRate() {
  const frames = page.viewing?.drive.frames ?? 0;
  const now = performance.now();
  const perSecond = Math.max(0, (frames - page.framesBefore) / (now - page.countedAt)) * 1000;
  Object.assign(page, { framesBefore: frames, countedAt: now });
  byId("rate").textContent = isLive() ? `${Math.round(perSecond)} Hz` : "";
}

// What can't be drawn is said in the head; the next frame may be of another session, or have a value less.
function noteDrawing(trouble) {
  page.undrawn = trouble && `can't be drawn: ${trouble}`;
  drawStates();
}

async function readMapZ() {
  try {
    screen.mapZ = await fetchMapZ();
  } catch {
    setTimeout(readMapZ, SESSIONS_EVERY_MS);
  }
}

byId("demo").addEventListener("click", toggleDemo);
byId("empty-demo").addEventListener("click", toggleDemo);
byId("follow").addEventListener("change", followAgain);
byId("search").addEventListener("input", searchSessions);
byId("older").addEventListener("click", () => listWith(page.sessions.more()));
byId("reference-best").addEventListener("click", () => page.viewing?.compareWith(null));
byId("share-session").addEventListener("click", () => shareWhat(null));
byId("share-lap").addEventListener("click", () => shareWhat(page.viewing?.reference?.lapNumber ?? null));
window.addEventListener("hashchange", () => (linkToken() === openedLink ? follow() : location.reload()));
document.addEventListener("visibilitychange", refreshSessions);

screen.show(new Viewing(""));
begin();
readMapZ();
setInterval(refreshSessions, SESSIONS_EVERY_MS);
setInterval(refreshLaps, LAPS_EVERY_MS);
setInterval(refreshSeconds, SECONDS_EVERY_MS);
setInterval(drawStates, 250);
setInterval(drawRate, 2000);
new Animation((now) => screen.draw(now), noteDrawing).start();
