/**
 * Which trial comes next: successive halving (Jamieson & Talwalkar 2016; Li et al. 2018, "Hyperband", algorithm 1) whose
 * promotions do not wait for a rung to fill (Li et al. 2020, "A system for massively parallel hyperparameter tuning",
 * algorithm 2). So a search that is cut anywhere has followed its best draws up already, and goes on where it was cut.
 *
 * The order depends on the scores alone. Draw 0, the default settings, begins, and follows into every rung that another
 * draw has reached: it is what everything is compared to.
 */

export interface Outcome {
  readonly draw: number;
  /** 0: the fewest rows. */
  readonly rung: number;
  /** Larger is better; null: failed. */
  readonly score: number | null;
}

export interface Place {
  readonly draw: number;
  readonly rung: number;
}

/** Of the trials of a rung, one in so many goes on. */
export const eta = 3;

/** The next trial after these; `draw` may be one never drawn before. */
export function nextTrial(done: readonly Outcome[], rungs: number): Place {
  const at = (rung: number) => done.filter((outcome) => outcome.rung === rung);
  for (let rung = rungs - 2; rung >= 0; rung--) {
    const above = new Set(at(rung + 1).map(({ draw }) => draw));
    if (above.size > 0 && !above.has(0)) return { draw: 0, rung: rung + 1 };
    const here = at(rung);
    const places = Math.floor(here.length / eta);
    // Draws that came later and are better wait for a place of their own: every rung takes about the same time.
    if ([...above].filter((draw) => draw !== 0).length >= places) continue;
    const best = here
      .filter(({ score }) => score !== null)
      .sort((a, b) => (b.score as number) - (a.score as number) || a.draw - b.draw)
      .slice(0, places);
    const next = best.find(({ draw }) => !above.has(draw));
    if (next !== undefined) return { draw: next.draw, rung: rung + 1 };
  }
  return { draw: done.reduce((most, { draw }) => Math.max(most, draw), -1) + 1, rung: 0 };
}

/** Rows of every rung, ascending, the last all of them: each a third of the next, none below `least`. */
export function rungSizes(rows: number, least: number): number[] {
  const sizes = [rows];
  while (sizes.length < 5 && sizes[0] / eta >= least) sizes.unshift(Math.round(sizes[0] / eta));
  return sizes;
}
