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

export async function fetchSessions() {
  const told = await get("api/sessions");
  return told.sessions ?? told;
}

export async function fetchLaps(key) {
  const told = await get(`${place(key)}/laps`);
  return told.laps ?? told;
}

export async function fetchLapColumns(key, lapNumber) {
  const told = await get(`${place(key)}/laps/${lapNumber}`);
  return told.columns ?? told;
}
