/** Seconds of a training step, measured on a piece of the output layer with real rows. */
import { fillBatch } from '../data/batches.js';
import { CsrDataset } from '../data/dataset.js';
import { selectRows, spread } from '../data/rows.js';
import type { Kernels } from '../kernels/face.js';
import { hiddenWidth } from '../model/classifier.js';
import type { TrainConfig } from './config.js';
import { TrainSession } from './session.js';
import { trainStep } from './step.js';

/** Bytes of weights and optimiser state that the larger piece holds, about: more than a cache, less than a burden. */
const pieceBytes = 96e6;
const momentSeconds = 0.15;
/** An embedding bag touches the rows that occur; a table of this many shows what they cost. */
const mostFeatures = 20_000;

/** a + b n, n the labels that a step looks at, from two sizes. */
export async function secondsPerStep(
  config: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
): Promise<number> {
  const { output, encoder } = config.model;
  const hidden = hiddenWidth(encoder);
  const perLabel = 12 * ('fanIn' in output ? output.fanIn : 'width' in output ? output.width : hidden);
  const large = Math.min(rows.labels, Math.max(2048, Math.floor(pieceBytes / perLabel)));
  const atLarge = await measure(config, kernels, rows, large);
  if (large === rows.labels) return atLarge;
  const small = Math.ceil(large / 4);
  const seen = labelsSeen('samples' in output ? output.samples : 0);
  const more = seen(large) - seen(small);
  const slope = Math.max(0, (atLarge - (await measure(config, kernels, rows, small))) / Math.max(1, more));
  return atLarge + slope * (seen(rows.labels) - seen(large));
}

/** Labels that a step over so many looks at: all, or those among `samples` draws, each counted once, in the mean. */
const labelsSeen = (samples: number) => (labels: number) =>
  samples === 0 ? labels : labels * (1 - (1 - 1 / labels) ** samples);

async function measure(
  config: TrainConfig,
  kernels: Kernels,
  rows: CsrDataset,
  labels: number,
): Promise<number> {
  const piece = pieceOf(rows, labels, 8 * config.batch);
  // NOTE: without rewiring, which comes too seldom to be seen in a moment, and without an auxiliary head, whose time ends
  // with its cutoff: the minutes are a little short where there are any.
  const session = await TrainSession.create({ ...config, auxiliary: null }, kernels, {
    rows: piece,
    validation: null,
    baseRss: 0,
  });
  const { classifier, optimizer, order, batch } = session;
  const times: number[] = [];
  const until = performance.now() + 1000 * momentSeconds;
  for (let step = 0; step < 3 || performance.now() < until; step++) {
    fillBatch(piece, order.rowIds({ epoch: 0, step: step % order.stepsPerEpoch }), batch);
    const start = performance.now();
    await trainStep(classifier, optimizer, batch, { ...session.rates(0), encoder: 0, output: 0 }, null);
    // The first steps touch fresh pages.
    if (step > 0) times.push((performance.now() - start) / 1000);
  }
  return times.sort((a, b) => a - b)[Math.floor(times.length / 2)];
}

/** Some rows, their labels and features folded into fewer. */
function pieceOf(rows: CsrDataset, labels: number, count: number): CsrDataset {
  const some = selectRows(rows, spread(rows.rows, count));
  const features = Math.min(rows.features, mostFeatures);
  const fold = (indptr: Float64Array, ids: Uint32Array, below: number) => {
    const start = new Float64Array(indptr.length);
    const kept: number[] = [];
    const from: number[] = [];
    for (let row = 0; row + 1 < indptr.length; row++) {
      const seen = new Map<number, number>();
      for (let e = indptr[row]; e < indptr[row + 1]; e++)
        if (!seen.has(ids[e] % below)) seen.set(ids[e] % below, e);
      for (const id of [...seen.keys()].sort((a, b) => a - b)) {
        kept.push(id);
        from.push(seen.get(id) as number);
      }
      start[row + 1] = kept.length;
    }
    return { start, ids: Uint32Array.from(kept), from };
  };
  const f = fold(some.indptr, some.indices, features);
  const l = fold(some.labelIndptr, some.labelIds, labels);
  return new CsrDataset({
    rows: some.rows,
    features,
    labels,
    indptr: f.start,
    indices: f.ids,
    values: Float32Array.from(f.from, (e) => some.values[e]),
    labelIndptr: l.start,
    labelIds: l.ids,
  });
}
