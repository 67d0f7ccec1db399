// The two lists: sessions on the left, laps on the right. Rows are kept and only changed where they differ, so that focus,
// scroll position and a finger on its way to a row survive a refresh.

import { ago, lapTime, readable, sectorTime, signedSeconds, whole } from "./format.mjs";
import { sectorsOf } from "../model/laps.mjs";

const FLAGS = 7;
const SECTORS = 6;

export class SessionList {
  #rows = new Map();

  // onAct(action, session): rename, hide, show or delete, of the session that is shown, by one who may.
  constructor(root, onChoose, onAct = () => {}) {
    this.root = root;
    this.onChoose = onChoose;
    this.onAct = onAct;
  }

  // sessions: as REST gives them; chosen: the key of the one that is shown.
  draw(sessions, chosen, now) {
    keep(this.#rows, new Set(sessions.map(({ key }) => key)));
    const rows = sessions.map((session) => {
      const row = this.#row(session.key);
      fill(row, session, session.key === chosen, now);
      return row.item;
    });
    arrange(this.root, rows);
  }

  #row(key) {
    if (this.#rows.has(key)) return this.#rows.get(key);
    const item = document.createElement("li");
    const button = item.appendChild(document.createElement("button"));
    button.type = "button";
    item.dataset.session = key;
    button.append(document.createElement("i"));
    const parts = { item, button };
    for (const [name, tag] of [["driver", "b"], ["when", "span"], ["name", "span"], ["track", "span"], ["car", "span"]]) {
      parts[name] = button.appendChild(document.createElement(tag));
      parts[name].className = name;
    }
    button.addEventListener("click", () => this.onChoose(key));
    parts.actions = this.#actions(item, parts);
    this.#rows.set(key, parts);
    return parts;
  }

  #actions(item, parts) {
    const menu = item.appendChild(document.createElement("p"));
    menu.className = "actions";
    const actions = { menu };
    for (const action of ["rename", "hide", "delete"]) {
      actions[action] = menu.appendChild(document.createElement("button"));
      actions[action].type = "button";
      actions[action].addEventListener("click", () => this.onAct(actions[action].dataset.action, parts.session));
    }
    return actions;
  }
}

const ACTIONS = { rename: "Rename", hide: "Hide", show: "Show", delete: "Delete" };

function label(button, action) {
  button.dataset.action = action;
  put(button, ACTIONS[action]);
}

function fill(row, session, chosen, now) {
  const when = session.live ? "live" : ago(Date.parse(session.last_frame_at ?? session.started_at ?? ""), now);
  put(row.driver, session.driver || session.user_id || session.key);
  put(row.when, when);
  put(row.name, [session.title, session.hidden ? "(hidden)" : ""].filter(Boolean).join(" "));
  row.name.hidden = row.name.textContent === "";
  put(row.track, readable(session.track) || (session.title ? "" : session.key));
  put(row.car, readable(session.car));
  row.button.setAttribute("aria-current", String(chosen));
  row.button.title = [session.game, session.key].filter(Boolean).join(" · ");
  row.item.dataset.live = String(Boolean(session.live));
  row.session = session;
  row.actions.menu.hidden = !(chosen && session.may_change);
  label(row.actions.rename, "rename");
  label(row.actions.hide, session.hidden ? "show" : "hide");
  label(row.actions.delete, "delete");
}

export class LapList {
  #rows = new Map();

  constructor(root, onChoose) {
    this.root = root;
    this.onChoose = onChoose;
  }

  // rows: LapBoard.rows(); chosen: the number of the reference lap.
  draw(rows, chosen) {
    keep(this.#rows, new Set(rows.map(({ lap }) => lap.lap_number)));
    arrange(this.root, rows.map((row) => this.#filled(row, chosen)));
  }

  #filled({ lap, isBest, diffMs }, chosen) {
    const row = this.#row(lap.lap_number);
    const flags = lap.flags ?? [];
    const texts = [
      String(lap.lap_number),
      lapTime(lap.lap_time_ms),
      lapTime(lap.official_lap_time_ms),
      isBest ? "best" : (diffMs === null ? "" : signedSeconds(diffMs)),
      whole(lap.summary?.max_speed_kmh),
      whole(lap.summary?.full_throttle_share * 100),
    ];
    texts.forEach((text, i) => put(row.cells[i], text));
    put(row.cells[FLAGS], flags.join(", "));
    drawSectors(row.cells[SECTORS], sectorsOf(lap));
    row.dataset.colour = lap.colour ?? "";
    row.dataset.best = String(isBest);
    row.dataset.flying = String(flags.length === 0);
    row.setAttribute("aria-selected", String(lap.lap_number === chosen));
    row.title = flags.length ? `Compare with this lap (${flags.join(", ")})` : "Compare with this lap";
    return row;
  }

  #row(number) {
    if (this.#rows.has(number)) return this.#rows.get(number);
    const row = document.createElement("tr");
    row.dataset.lap = String(number);
    row.tabIndex = 0;
    for (let i = 0; i <= FLAGS; i += 1) row.append(document.createElement("td"));
    row.addEventListener("click", () => this.onChoose(number));
    row.addEventListener("keydown", (event) => this.#key(event, number));
    this.#rows.set(number, row);
    return row;
  }

  #key(event, number) {
    const row = event.currentTarget;
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (event.key === "Enter" || event.key === " ") this.onChoose(number);
    else if (!next) return;
    next?.focus();
    event.preventDefault();
  }
}

// A sector is a bar in its colour, and says its time to who points at it or listens.
function drawSectors(cell, sectors) {
  while (cell.children.length > sectors.length) cell.lastElementChild.remove();
  while (cell.children.length < sectors.length) cell.append(document.createElement("i"));
  const words = sectors.map(({ timeMs, colour }, i) => [`S${i + 1} ${sectorTime(timeMs)}`, colour].filter(Boolean).join(" "));
  sectors.forEach(({ colour }, i) => {
    cell.children[i].dataset.colour = colour;
    cell.children[i].title = words[i];
  });
  cell.setAttribute("aria-label", words.join(", "));
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function keep(rows, keys) {
  for (const key of rows.keys()) if (!keys.has(key)) rows.delete(key);
}

function arrange(root, nodes) {
  const same = root.children.length === nodes.length && nodes.every((node, i) => root.children[i] === node);
  if (same) return;
  const focused = document.activeElement;
  root.replaceChildren(...nodes);
  if (root.contains(focused)) focused.focus();
}
