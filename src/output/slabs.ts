/** Walks the labels of a step in slabs, giving the event loop its turn between them. */

const yieldAfterMs = 50;
let lastYield = performance.now();

/** Lets signals, timers and progress run if the last turn is more than 50 ms ago. */
export async function breathe(): Promise<void> {
  if (performance.now() - lastYield < yieldAfterMs) return;
  await new Promise((resolve) => setImmediate(resolve));
  lastYield = performance.now();
}

export interface SlabShape {
  readonly labels: number;
  readonly chunk: number;
  readonly threads: number;
  /** Floating-point operations per label of the step. */
  readonly flopsPerLabel: number;
  /** A slow backend takes smaller slabs. */
  readonly slow: boolean;
}

/**
 * Labels per slab: about 30 ms of work, a whole number of chunks for every thread. It depends on sizes only,
 * never on measured time, so that a run repeats bit for bit.
 */
export function slabLabels({ labels, chunk, threads, flopsPerLabel, slow }: SlabShape): number {
  const budget = slow ? 3e7 : 3e9;
  const round = chunk * threads;
  const rounds = Math.max(1, Math.floor(budget / Math.max(1, flopsPerLabel * round)));
  return Math.max(chunk, Math.min(rounds * round, Math.ceil(labels / chunk) * chunk));
}

/** Sums `work(begin, end)` over slabs; one call with (0, 0) when there are no labels. */
export async function overSlabs(
  labels: number,
  slab: number,
  work: (begin: number, end: number) => number,
): Promise<number> {
  let total = 0;
  let begin = 0;
  do {
    const end = Math.min(labels, begin + slab);
    total += work(begin, end);
    begin = end;
    await breathe();
  } while (begin < labels);
  return total;
}
