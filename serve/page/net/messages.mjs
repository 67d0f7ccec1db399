// The JSON form of a TelemetryMessage, made plain: numbers are numbers and what was left out is zero.
//
// Protobuf's JSON writes int64 as strings and may leave out fields that are zero, so nothing here trusts a field to be there.

const FRAME_NUMBERS = [
  "timestamp", "lapTime", "throttle", "brake", "steering", "speed", "gear", "rpm", "normalizedPosition", "lapNumber",
  "sequence", "x", "z", "lastLapTime", "sector",
];

const PIT = ["PIT_STATE_UNKNOWN", "PIT_STATE_ON_TRACK", "PIT_STATE_PIT_LANE", "PIT_STATE_PIT_BOX"];
const VALIDITY = ["LAP_VALIDITY_UNKNOWN", "LAP_VALIDITY_VALID", "LAP_VALIDITY_INVALID"];

const number = (value) => {
  const result = Number(value ?? 0);
  return Number.isFinite(result) ? result : 0;
};

// ms since 1970 as REST writes an instant; null where nothing was said.
const instant = (value) => (value ? new Date(number(value)).toISOString() : null);

// Enums come as names or as numbers.
const enumName = (value, names) => (typeof value === "string" ? value : (names[value ?? 0] ?? names[0]));

// Fields whose value may be marked as unknown, by their number in the proto: their zero would be a value.
const NUMBERED = { lapTime: 2, throttle: 3, brake: 4, steering: 5, speed: 6, gear: 7, rpm: 8, normalizedPosition: 9, lapNumber: 10 };

export function frameFrom(json) {
  const frame = {};
  for (const name of FRAME_NUMBERS) frame[name] = number(json[name]);
  const blanked = number(json.blanked);
  if (blanked) for (const [name, bit] of Object.entries(NUMBERED)) if ((blanked >> bit) & 1) frame[name] = NaN;
  frame.inPit = PIT.indexOf(enumName(json.pit, PIT)) >= 2;
  frame.invalid = enumName(json.validity, VALIDITY) === "LAP_VALIDITY_INVALID";
  return frame;
}

// A lap as the socket tells it, in the shape that REST gives.
export function lapFrom(json) {
  return {
    lap_number: number(json.lapNumber),
    started_at: instant(json.startedAt),
    ended_at: instant(json.endedAt),
    lap_time_ms: number(json.lapTime) || null,
    official_lap_time_ms: number(json.officialLapTime) || null,
    sector_times_ms: (json.sectorTimes ?? []).map(number),
    flags: json.flags ?? [],
    frames: number(json.frames),
    max_speed_kmh: number(json.maxSpeed) || null,
    colour: json.colour ?? "",
    sector_colours: json.sectorColours ?? [],
    colour_version: number(json.colourVersion),
  };
}

// A lap in progress, in the same shape as far as it goes.
export function lapInProgressFrom(json) {
  return {
    lap_number: number(json.lapNumber),
    started_at: instant(json.startedAt),
    sector_times_ms: (json.sectorTimes ?? []).map(number),
    sector_colours: json.sectorColours ?? [],
  };
}

export function sessionFrom(json) {
  return {
    key: json.id ?? "",
    user_id: json.userId ?? "",
    game: json.game ?? "",
    track: json.track ?? "",
    car: json.car ?? "",
    driver: json.driver ?? "",
    track_length_m: number(json.trackLength),
  };
}

// -> {sessionId, frames, session, lap, lapInProgress, status, error}; frames oldest first, the others null where absent. `error` is the
// server's sentence about something that this page said. Throws on bad JSON.
export function messageFrom(text) {
  const json = JSON.parse(text);
  const frames = (json.frames ?? []).map(frameFrom);
  if (json.telemetry) frames.push(frameFrom(json.telemetry));
  const { status } = json;
  return {
    sessionId: json.sessionId ?? json.session?.id ?? json.lap?.sessionId ?? "",
    frames,
    session: json.session ? sessionFrom(json.session) : null,
    lap: json.lap ? lapFrom(json.lap) : null,
    lapInProgress: json.lapInProgress ? lapInProgressFrom(json.lapInProgress) : null,
    status: status ? { state: status.state ?? "", missed: number(status.missedFrames), detail: status.detail ?? "" } : null,
    error: json.type === "error" ? String(json.error ?? json.detail ?? "the server refused a request") : null,
  };
}
