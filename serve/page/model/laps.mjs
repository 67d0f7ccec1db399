// The laps of a session as the list shows them: which is the best, and how far the others are from it. Pure.
//
// The game's official time is the lap time where there is one; ours stands beside it. Only a flying lap (no flags) can be best.

export const timeOf = (lap) => lap.official_lap_time_ms || lap.lap_time_ms || null;

// When a lap ended, in ms since 1970; a pause or a rewind makes it last longer than its time. NaN where nobody said when it began.
export const endOf = (lap) => Date.parse(lap.ended_at ?? "") || Date.parse(lap.started_at ?? "") + (timeOf(lap) ?? NaN);

const flying = (lap) => (lap.flags ?? []).length === 0 && timeOf(lap) !== null;

// The newest colours: a lap may come again before it is judged again, and an answer later than the event it missed.
function newest(known, lap) {
  const newest = (known?.colour_version ?? 0) > (lap.colour_version ?? 0) ? known : lap;
  return { colour: newest.colour ?? "", sector_colours: newest.sector_colours ?? [], colour_version: newest.colour_version ?? 0 };
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
    const summary = known && this.#isSame(known, lap) ? known.summary : undefined;
    this.#laps.set(lap.lap_number, { ...known, ...lap, ...newest(known, lap), summary, seen: Boolean(lap.seen) });
  }

  // Whether it is still of the same frames: a lap that was corrected came to something else.
  #isSame(known, lap) {
    return ["started_at", "ended_at"].every((name) => (known[name] && lap[name] ? Date.parse(known[name]) === Date.parse(lap[name]) : true));
  }

  // The last lap that the lap engine reported, null before the first.
  get lastReported() {
    return this.laps.findLast((lap) => !lap.seen) ?? null;
  }

  // Where the laps lie between two times, the one in progress too: [{number, from, to}], times in ms.
  intervals(start, end) {
    const reported = this.laps.filter((lap) => !lap.seen && !Number.isNaN(endOf(lap)));
    const laps = reported.map((lap) => ({ number: lap.lap_number, from: Date.parse(lap.started_at), to: endOf(lap) }));
    if (laps.length > 0) laps.push({ number: laps.at(-1).number + 1, from: laps.at(-1).to, to: end });
    return laps.map((lap) => ({ ...lap, from: Math.max(lap.from, start), to: Math.min(lap.to, end) })).filter(({ from, to }) => to > from);
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
