// Which session to show when nobody chose one. Pure; remembers only which sessions it has seen live.

export class Choice {
  #wasLive = new Set();

  // The key to show, or null; sessions come newest first. A session that has just become live wins (the game was restarted);
  // else what is shown stays while it is live. Their own times show nothing: a replayed session may be years old.
  next(sessions, shown) {
    const live = sessions.filter((one) => one.live);
    const fresh = live.filter((one) => !this.#wasLive.has(one.key));
    this.#wasLive = new Set(live.map((one) => one.key));
    if (fresh.length > 0) return fresh[0].key;
    if (live.some((one) => one.key === shown)) return shown;
    return live[0]?.key ?? shown;
  }
}
