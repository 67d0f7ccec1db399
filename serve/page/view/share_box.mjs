// The dialog that shares a session or a lap: makes a link and copies it, lists what is shared, and revokes it.

import { fetchShares, makeShare, revokeShare } from "../net/api.mjs";
import { lapTime } from "./format.mjs";
import { linkTo } from "../net/login.mjs";
import { timeOf } from "../model/laps.mjs";

const DAY_MS = 86_400_000;

const byId = (id) => document.getElementById(id);

export class ShareBox {
  #box = byId("share");
  #key = "";

  constructor() {
    byId("share-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#trying(() => this.#make());
    });
    byId("share-copy").addEventListener("click", () => this.#trying(() => this.#copy()));
    byId("share-close").addEventListener("click", () => this.#box.close());
    // A link is shown once: whoever opens the dialog again does not see it.
    this.#box.addEventListener("close", () => this.#showMade("", ""));
  }

  // laps: the finished ones; lapNumber: the chosen one, null for the session.
  show(key, laps, lapNumber) {
    this.#key = key;
    const options = laps.map((lap) => new Option(`Lap ${lap.lap_number}, ${lapTime(timeOf(lap))}`, lap.lap_number));
    byId("share-what").replaceChildren(new Option("The session, live too", ""), ...options);
    byId("share-what").value = lapNumber === null ? "" : String(lapNumber);
    byId("share-users").value = "";
    byId("share-list").replaceChildren();
    if (!this.#box.open) this.#box.showModal();
    this.#trying(() => this.#list());
  }

  async #trying(act) {
    byId("share-note").textContent = "";
    try {
      await act();
    } catch (error) {
      byId("share-note").textContent = `${error.message}.`;
    }
  }

  async #make() {
    const [lap, days] = [byId("share-what").value, byId("share-days").value];
    const users = byId("share-users").value.split(/[\s,]+/).filter(Boolean);
    const expires = days ? new Date(Date.now() + days * DAY_MS).toISOString() : null;
    const made = await makeShare(this.#key, { lap_number: lap ? Number(lap) : null, users, expires_at: expires });
    if (made.token) this.#showMade("Whoever has this link sees it. It is shown only now.", linkTo(made.token));
    else this.#showMade("They find it in their list of sessions, or here.", `${location.origin}${location.pathname}#${new URLSearchParams({ session: this.#key })}`);
    await this.#list();
  }

  #showMade(note, link) {
    byId("share-made").hidden = !link;
    byId("share-made-note").textContent = note;
    byId("share-link").value = link;
  }

  async #copy() {
    byId("share-link").select();
    await navigator.clipboard.writeText(byId("share-link").value);
    byId("share-made-note").textContent = "Copied.";
  }

  async #list() {
    const key = this.#key;
    const shares = await fetchShares(key);
    if (key !== this.#key) return;
    const valid = shares.filter((one) => !one.revoked_at && !(Date.parse(one.expires_at ?? "") <= Date.now()));
    byId("share-list").replaceChildren(...valid.map((one) => this.#item(one)));
  }

  #item(share) {
    const item = document.createElement("li");
    item.dataset.share = String(share.id);
    item.append(words(share));
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    button.className = "quiet";
    button.textContent = "Revoke";
    button.addEventListener("click", () => this.#trying(async () => {
      await revokeShare(this.#key, share.id);
      await this.#list();
    }));
    return item;
  }
}

function words({ lap_number: lap, users, made_by: maker, made_at: made, expires_at: expires }) {
  const what = lap === null ? "Session" : `Lap ${lap}`;
  const until = expires ? `, until ${new Date(expires).toLocaleString()}` : "";
  return `${what}: ${users.length > 0 ? users.join(", ") : "by link"}, by ${maker} on ${new Date(made).toLocaleDateString()}${until}`;
}
