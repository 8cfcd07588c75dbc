/** What of the trials nothing else is better than, and the one to take. */
import type { TrialRecord } from './journal.js';

export interface Measured {
  /** Larger is better. */
  readonly accuracy: number;
  /** Smaller is better. */
  readonly bytes: number;
  readonly seconds: number;
}

/** Whether `a` is at least as good as `b` in everything, and better in something. */
export function dominates(a: Measured, b: Measured): boolean {
  const atLeast = a.accuracy >= b.accuracy && a.bytes <= b.bytes && a.seconds <= b.seconds;
  return atLeast && (a.accuracy > b.accuracy || a.bytes < b.bytes || a.seconds < b.seconds);
}

export const measured = ({ score, bytes, secondsPerEpoch }: TrialRecord): Measured => ({
  accuracy: score?.p1.value ?? Number.NEGATIVE_INFINITY,
  bytes,
  seconds: secondsPerEpoch ?? Number.POSITIVE_INFINITY,
});

/** Every draw by its trial with the most rows, among those that were scored. */
export function furthest(records: readonly TrialRecord[]): TrialRecord[] {
  const byDraw = new Map<number, TrialRecord>();
  for (const record of records) {
    if (record.score === null) continue;
    const other = byDraw.get(record.draw);
    if (other === undefined || record.rung >= other.rung) byDraw.set(record.draw, record);
  }
  return [...byDraw.values()];
}

/** The draws that no other dominates, best first. A draw that saw fewer rows stands with the P@1 of those. */
export function frontierOf(records: readonly TrialRecord[]): TrialRecord[] {
  const all = furthest(records);
  return all
    .filter((a) => !all.some((b) => dominates(measured(b), measured(a))))
    .sort((a, b) => measured(b).accuracy - measured(a).accuracy || a.bytes - b.bytes || a.draw - b.draw);
}

/** The best of the trials with the most rows; for `memory` the smallest within the interval of the best. */
export function choose(
  records: readonly TrialRecord[],
  objective: 'accuracy' | 'memory',
): TrialRecord | null {
  const all = furthest(records);
  const top = all.reduce((most, { rung }) => Math.max(most, rung), -1);
  const sorted = all
    .filter(({ rung }) => rung === top)
    .sort((a, b) => measured(b).accuracy - measured(a).accuracy || a.bytes - b.bytes || a.draw - b.draw);
  if (sorted.length === 0 || objective === 'accuracy') return sorted[0] ?? null;
  const low = sorted[0].score?.p1.low ?? 0;
  return sorted.filter((one) => measured(one).accuracy >= low).reduce((a, b) => (b.bytes < a.bytes ? b : a));
}
