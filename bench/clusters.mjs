/**
 * How long does clustering labels take? On a dataset directory, or on made-up titles of the size of
 * LF-AmazonTitles-131K; thread counts take turns, medians are printed, and the results must be equal.
 *
 *   npm run build && node bench/clusters.mjs [data/wordnet-related | titles] [rounds=3] [leafSize=8]
 */
import { availableParallelism } from 'node:os';
import { clusters, data, kernels } from '../dist/index.js';
import { median, printMachine } from './lib/harness.mjs';

const [source = 'titles', rounds = '3', leafSize = '8'] = process.argv.slice(2);
printMachine();

/** Titles of some seven words from a vocabulary with a long tail; each label has words of its own. */
function titles() {
  return data.plantedDataset({
    rows: 294_805,
    features: 40_000,
    labels: 131_073,
    seed: 1,
    labelsPerRow: 4,
    signature: 3,
    noise: 4,
  });
}

const rows =
  source === 'titles' ? titles() : await (await data.DatasetDirectory.open(source)).load('trainAll');
let start = performance.now();
const features = clusters.labelFeatures(rows);
console.log(
  `${source}: ${rows.labels} labels, ${features.indices.length} label features of ${rows.features}, ` +
    `made in ${((performance.now() - start) / 1000).toFixed(2)} s`,
);
const counts = [...new Set([1, Math.min(2, availableParallelism()), availableParallelism()])];
const seconds = new Map(counts.map((threads) => [threads, []]));
let first;
for (let round = 0; round < Number(rounds); round++) {
  for (const threads of counts) {
    start = performance.now();
    const result = await clusters.clusterLabels(kernels.loadNative({ threads }), features, {
      leafSize: Number(leafSize),
      seed: 1,
    });
    seconds.get(threads).push((performance.now() - start) / 1000);
    first ??= result;
    if (Buffer.compare(Buffer.from(first.order.buffer), Buffer.from(result.order.buffer)) !== 0)
      throw new Error(`${threads} threads gave another order`);
  }
}
for (const [threads, times] of seconds)
  console.log(
    `${threads} thread(s): ${median(times).toFixed(2)} s (${times.map((t) => t.toFixed(2)).join(', ')})`,
  );
const { clusters: count, similarity, withoutFeatures } = first;
console.log(
  `${count} clusters, mean similarity ${similarity?.toFixed(4)}, ${withoutFeatures} labels without rows`,
);
