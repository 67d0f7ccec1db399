// The laps of a session as the list shows them: which is the best, and how far the others are from it. Pure.
//
// The game's official time is the lap time where there is one; ours stands beside it. Only a flying lap (no flags) can be best.

export const timeOf = (lap) => lap.official_lap_time_ms || lap.lap_time_ms || null;

const flying = (lap) => (lap.flags ?? []).length === 0 && timeOf(lap) !== null;

// The colours that were told last: a lap may come again before it is judged again, and an answer later than the event it missed.
function newest(known, lap) {
  const told = (known?.colour_version ?? 0) > (lap.colour_version ?? 0) ? known : lap;
  return { colour: told.colour ?? "", sector_colours: told.sector_colours ?? [], colour_version: told.colour_version ?? 0 };
}

// [{timeMs, colour}] of the sectors, in order; the colour is empty where there is none.
export const sectorsOf = (lap) => (lap.sector_times_ms ?? []).map((timeMs, i) => ({ timeMs, colour: lap.sector_colours?.[i] ?? "" }));

export class LapBoard {
  #laps = new Map();

  get laps() {
    return [...this.#laps.values()].sort((a, b) => a.lap_number - b.lap_number);
  }

  // What the store or the lap engine says stands; what the page timed itself (seen: true) only fills holes.
  put(lap) {
    const known = this.#laps.get(lap.lap_number);
    if (known && lap.seen && !known.seen) return;
    this.#laps.set(lap.lap_number, { ...known, ...lap, ...newest(known, lap), seen: Boolean(lap.seen) });
  }

  // The numbers of the newest stored laps, at most so many, whose sums nobody has asked for: [first, last], or null.
  lackingSums(count) {
    const lacking = this.laps.filter((lap) => !lap.seen && !lap.summary).map((lap) => lap.lap_number);
    return lacking.length > 0 ? [Math.max(lacking[0], lacking.at(-1) - count + 1), lacking.at(-1)] : null;
  }

  // What the laps from one to another came to. Of a lap in progress it is not said what it has come to so far.
  summarise([first, last], summaries) {
    const found = new Map(summaries.map((summary) => [summary.lap_number, summary]));
    for (const lap of this.#laps.values()) {
      if (lap.lap_number >= first && lap.lap_number <= last) lap.summary = found.get(lap.lap_number) ?? {};
    }
  }

  get(lapNumber) {
    return this.#laps.get(lapNumber) ?? null;
  }

  get best() {
    return this.laps.filter(flying).reduce((best, lap) => (best && timeOf(best) <= timeOf(lap) ? best : lap), null);
  }

  get last() {
    return this.laps.at(-1) ?? null;
  }

  // Newest first: [{lap, isBest, diffMs}], diffMs null where there is nothing to compare.
  rows() {
    const { best } = this;
    return this.laps.reverse().map((lap) => ({
      lap,
      isBest: lap === best,
      diffMs: best && lap !== best && timeOf(lap) ? timeOf(lap) - timeOf(best) : null,
    }));
  }
}
