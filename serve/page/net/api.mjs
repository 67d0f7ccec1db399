// What the server's REST side knows. Every function throws an Error whose message is a sentence for the reader.

import { authorization, LoginNeeded } from "./login.mjs";

const get = (path, options) => ask("GET", path, options);

async function ask(method, path, { absent, change } = {}) {
  const headers = { accept: "application/json", ...authorization() };
  if (change) headers["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: change && JSON.stringify(change), signal: AbortSignal.timeout(10000) });
  } catch {
    throw new Error("the server does not answer");
  }
  if (answer.status === 204) return null;
  if (answer.ok) return answer.json();
  if (answer.status === 404 && absent !== undefined) return absent;
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new LoginNeeded(body.reason ?? "missing");
  const detail = body.detail ?? body.error;
  throw new Error(typeof detail === "string" ? detail : `the server answered ${answer.status}`);
}

// -> {mode, issuer, client_id, audience}: how one logs in.
export const fetchLoginOffer = () => get("api/login");

// -> {game: 1 or -1}: how each game's z lies on a map.
export const fetchMapZ = async () => (await get("api/axes")).mapZ;

const place = (key) => `api/sessions/${encodeURIComponent(key)}`;

// -> {sessions, older}: the newest sessions that have these words, or those before one; `older` is where the next page begins.
export function fetchSessions({ before = null, search = "" } = {}) {
  const query = new URLSearchParams();
  if (before !== null) query.set("before", before);
  if (search) query.set("search", search);
  return get(query.size ? `api/sessions?${query}` : "api/sessions");
}

// -> a session as it is listed; null where it is not stored.
export const fetchSession = (key) => get(place(key), { absent: null });

// -> the session as it is then. change: {title} or {hidden}.
export const changeSession = (key, change) => ask("PATCH", place(key), { change });

export const deleteSession = (key) => ask("DELETE", place(key));

// -> {columns, next}: the seconds of a session from `since` on, or from the first; `next` is where the piece after it begins.
export const fetchSeconds = (key, since) => get(`${place(key)}/seconds${since ? `?since=${encodeURIComponent(since)}` : ""}`);

export const fetchLapSummaries = async (key, first, last) => (await get(`${place(key)}/lap-summaries?first=${first}&last=${last}`)).laps;

// -> {laps, open_lap, open_lap_started_at}: the number of the lap in progress, whose columns the server gives, too, and when it began.
export const fetchLaps = (key) => get(`${place(key)}/laps`);

export const fetchLapColumns = async (key, lapNumber) => (await get(`${place(key)}/laps/${lapNumber}`)).columns;

// -> what is shared of a session: [{id, lap_number, users, expires_at, revoked_at, …}].
export const fetchShares = async (key) => (await get(`${place(key)}/shares`)).shares;

// wanted: {lap_number, users, expires_at} -> the share, with the token of its link where it is for no user.
export const makeShare = (key, wanted) => ask("POST", `${place(key)}/shares`, { change: wanted });

export const revokeShare = (key, id) => ask("DELETE", `${place(key)}/shares/${id}`);
