// What the server's REST side knows. Every function throws an Error whose message is a sentence for the reader.

async function get(path) {
  let answer;
  try {
    answer = await fetch(path, { headers: { accept: "application/json" }, signal: AbortSignal.timeout(10000) });
  } catch {
    throw new Error("the server does not answer");
  }
  if (answer.ok) return answer.json();
  const told = await answer.json().catch(() => ({}));
  const detail = told.detail ?? told.error;
  throw new Error(typeof detail === "string" ? detail : `the server answered ${answer.status}`);
}

const place = (key) => `api/sessions/${encodeURIComponent(key)}`;

export const fetchSessions = async () => (await get("api/sessions")).sessions;

// -> {columns, next}: the seconds of a session from `since` on, or from the first; `next` is where the piece after it begins.
export const fetchSeconds = (key, since) => get(`${place(key)}/seconds${since ? `?since=${encodeURIComponent(since)}` : ""}`);

export const fetchLapSummaries = async (key, first, last) => (await get(`${place(key)}/lap-summaries?first=${first}&last=${last}`)).laps;

// -> {laps, open_lap}: open_lap is the number of the lap in progress, where the server gives its columns, too.
export const fetchLaps = (key) => get(`${place(key)}/laps`);

export const fetchLapColumns = async (key, lapNumber) => (await get(`${place(key)}/laps/${lapNumber}`)).columns;
