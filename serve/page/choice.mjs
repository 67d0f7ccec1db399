// Which session to show when nobody chose one. Pure; remembers only which sessions it has seen live.

const latest = (sessions, field) =>
  sessions.reduce((best, one) => (best && (best[field] ?? "") >= (one[field] ?? "") ? best : one), null);

export class Choice {
  #wasLive = new Set();

  // The key to show, or null. A session that has just become live wins (the game was restarted); else what is shown stays
  // while it is live. Recorded sessions carry years-old times, so "newest" is first of all what newly appeared.
  next(sessions, shown) {
    const live = sessions.filter((one) => one.live);
    const fresh = live.filter((one) => !this.#wasLive.has(one.key));
    this.#wasLive = new Set(live.map((one) => one.key));
    if (fresh.length > 0) return latest(fresh, "started_at").key;
    if (live.some((one) => one.key === shown)) return shown;
    return latest(live, "last_frame_at")?.key ?? shown;
  }
}
