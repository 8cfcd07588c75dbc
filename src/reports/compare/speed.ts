/** Latency and throughput of several models, measured in turns, so that a busy machine is busy for all of them. */
import type { CsrDataset } from '../../data/dataset.js';
import { spread } from '../../data/rows.js';
import type { LoadedModel } from '../../model/model-io.js';
import { type SparseInput, topRows } from '../../model/predict.js';

export interface Speed {
  /** Milliseconds from a row of features to its five best labels, one row at a time. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number };
  /** Rows a second in batches of 256: the median batch. */
  readonly rowsPerSecond: number;
  readonly measurements: number;
}

const batchRows = 256;
const mostRounds = 400;
const secondsPerModel = 3;

export async function measureSpeed(models: readonly LoadedModel[], rows: CsrDataset): Promise<Speed[]> {
  const inputs = Array.from(spread(rows.rows, batchRows), (row): SparseInput => {
    const [from, to] = [rows.indptr[row], rows.indptr[row + 1]];
    return { indices: rows.indices.subarray(from, to), values: rows.values.subarray(from, to) };
  });
  const timed = async (model: LoadedModel, some: readonly SparseInput[]) => {
    const start = performance.now();
    await topRows(model, some, 5);
    return performance.now() - start;
  };
  const single = models.map((): number[] => []);
  const batches = models.map((): number[] => []);
  // Caches and pages first.
  for (const model of models) await timed(model, inputs);
  const inTurns = async (
    times: number[][],
    rounds: number,
    of: (round: number) => readonly SparseInput[],
  ) => {
    const until = performance.now() + 1000 * secondsPerModel * models.length;
    for (let round = 0; round < rounds && (round < 5 || performance.now() < until); round++) {
      for (let m = 0; m < models.length; m++) {
        const at = (m + round) % models.length;
        times[at].push(await timed(models[at], of(round)));
      }
    }
  };
  await inTurns(single, mostRounds, (round) => [inputs[round % inputs.length]]);
  await inTurns(batches, 15, () => inputs);
  return models.map((_, m) => ({
    latency: {
      p50: quantile(single[m], 0.5),
      p95: quantile(single[m], 0.95),
      p99: quantile(single[m], 0.99),
    },
    rowsPerSecond: (1000 * inputs.length) / quantile(batches[m], 0.5),
    measurements: single[m].length,
  }));
}

function quantile(times: readonly number[], q: number): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}
