// The sessions that the page knows: the newest ones, older ones as far as somebody has paged, what a search found, and the one
// whose link was opened, wherever it is in the list. No document here; whoever makes it gives the functions that fetch.

const newestFirst = (a, b) => b.id - a.id;

// Pages of one search, the empty one included. Sessions that newer ones have pushed out of the first page stay.
class Pages {
  #known = new Map();
  older = null;

  // The first page, which is read again and again. A session that is in it no longer was deleted or hidden.
  renew({ sessions, older }) {
    const isFirst = this.#known.size === 0;
    const oldest = older === null ? -Infinity : sessions.at(-1).id;
    for (const session of this.list) {
      session.live = false;
      if (session.id >= oldest) this.#known.delete(session.key);
    }
    this.#keep(sessions);
    if (isFirst) this.older = older;
  }

  // The page behind the last one.
  extend({ sessions, older }) {
    this.#keep(sessions);
    this.older = older;
  }

  get list() {
    return [...this.#known.values()].sort(newestFirst);
  }

  find(key) {
    return this.#known.get(key) ?? null;
  }

  #keep(sessions) {
    for (const session of sessions) this.#known.set(session.key, session);
  }
}

export class Sessions {
  #all = new Pages();
  #found = null;
  #opened = null;

  // fetchPage({before, search}) -> {sessions, older}; fetchOne(key) -> the session, null where it is not stored.
  constructor(fetchPage, fetchOne) {
    this.fetchPage = fetchPage;
    this.fetchOne = fetchOne;
    this.search = "";
    this.newest = null;
  }

  // Read what may have changed: the newest sessions, the search, and the session that is shown.
  async refresh(shown = null) {
    const page = await this.fetchPage({});
    this.newest = page.sessions;
    this.#all.renew(page);
    const found = this.#found;
    if (found) {
      const again = await this.fetchPage({ search: this.search });
      if (found === this.#found) found.renew(again);
    }
    if (shown && !page.sessions.some(({ key }) => key === shown)) this.#opened = await this.fetchOne(shown);
  }

  // List only the sessions that have these words; with none, all. An answer to words that are no longer wanted is dropped.
  async find(text) {
    const search = text.trim();
    if (search === this.search) return;
    this.search = search;
    const found = search ? new Pages() : null;
    this.#found = found;
    if (!found) return;
    const page = await this.fetchPage({ search });
    if (found === this.#found) found.renew(page);
  }

  // Read the page behind those that are listed.
  async more() {
    const pages = this.#listed;
    const before = pages.older;
    if (before === null) return;
    const page = await this.fetchPage({ before, search: this.search });
    if (pages.older === before) pages.extend(page);
  }

  get list() {
    return this.#listed.list;
  }

  get hasOlder() {
    return this.#listed.older !== null;
  }

  // What is known of a session; null where nothing is.
  facts(key) {
    return [this.#all.find(key), this.#opened, this.#found?.find(key)].find((one) => one?.key === key) ?? null;
  }

  get #listed() {
    return this.#found ?? this.#all;
  }
}
