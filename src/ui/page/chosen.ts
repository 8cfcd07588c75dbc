/** Runs that are looked at, and what tells them apart. */
import type { RunReport, RunSummary } from '../../reports/types.js';

export interface Chosen {
  readonly place: number;
  readonly summary: RunSummary;
  readonly report: RunReport | undefined;
}

/** A colour of the style sheet. */
export const colour = (place: number) => `--run-${place}`;
export const dashes = [undefined, [8, 3], [2, 3], [8, 3, 2, 3], [5, 5], [1, 4], [12, 4], [3, 6]];
