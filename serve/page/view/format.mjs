// Numbers as people at a track write them. Pure: no clock, no document, and the locale only where a date is written.

const NOTHING = "–";

// 83456 ms -> "1:23.456"; nothing, or a time that can't be one, -> "–".
export function lapTime(ms) {
  if (!Number.isFinite(ms) || ms <= 0) return NOTHING;
  const whole = Math.round(ms);
  const minutes = Math.floor(whole / 60000);
  const seconds = ((whole % 60000) / 1000).toFixed(3).padStart(6, "0");
  return `${minutes}:${seconds}`;
}

// 28749 ms -> "28.749", and from a minute on as a lap.
export function sectorTime(ms) {
  return ms > 0 && ms < 60000 ? (ms / 1000).toFixed(3) : lapTime(ms);
}

// A running clock shows tenths: thousandths of a clock that moves can't be read.
export function runningClock(ms) {
  if (!Number.isFinite(ms) || ms < 0) return NOTHING;
  const tenths = Math.floor(ms / 100);
  const seconds = String(Math.floor((tenths % 600) / 10)).padStart(2, "0");
  return `${Math.floor(tenths / 600)}:${seconds}.${tenths % 10}`;
}

// 754000 ms -> "12:34", and from an hour on "1:02:34".
export function elapsed(ms) {
  if (!Number.isFinite(ms) || ms < 0) return NOTHING;
  const whole = Math.floor(ms / 1000);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

// -123 ms -> "−0.123". The minus is the typographic one: as wide as the plus.
export function signedSeconds(ms, digits = 3) {
  if (!Number.isFinite(ms)) return NOTHING;
  const text = (Math.abs(ms) / 1000).toFixed(digits);
  if (Number(text) === 0) return `±${text}`;
  return (ms < 0 ? "−" : "+") + text;
}

export function gearName(gear) {
  if (!Number.isFinite(gear)) return NOTHING;
  if (gear < 0) return "R";
  return gear === 0 ? "N" : String(Math.round(gear));
}

export function whole(value) {
  return Number.isFinite(value) ? String(Math.round(value)) : NOTHING;
}

// "just now", "4 min ago", "3 h ago", then the date: recordings may be years old.
export function ago(then, now) {
  const seconds = (now - then) / 1000;
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(then).toISOString().slice(0, 10);
}

// "monza_gp" -> "Monza gp": the games' own names, made readable but never guessed at.
export function readable(name) {
  const words = String(name ?? "").replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
