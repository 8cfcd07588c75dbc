/**
 * The best labels of every test row with their probabilities, kept in a file, so that an ensemble of networks can be
 * scored after each of them is gone.
 */
import { readFile, rename, writeFile } from 'node:fs/promises';
import { data, metrics } from '../../dist/index.js';

const k = 50;
const rowsAtOnce = 64;

/** Writes [rows, k] labels, then as many probabilities: of a softmax, or of independent labels. */
export async function writeLists(file, { classifier }, dataset) {
  const { output, device, spec } = classifier;
  const order = new data.BatchPlan({ rows: dataset.rows, batch: rowsAtOnce, seed: 0, shuffle: false });
  const batch = new data.Batch(data.batchShape(dataset, rowsAtOnce));
  const labels = new Uint32Array(dataset.rows * k);
  const probabilities = new Float32Array(dataset.rows * k);
  for (let step = 0, at = 0; step < order.stepsPerEpoch; step++) {
    const rowIds = order.rowIds({ epoch: 0, step });
    data.fillBatch(dataset, rowIds, batch);
    device.arena.reset();
    const h = classifier.infer(batch.features);
    const norms = spec.loss === 'softmax' ? new Float32Array(2 * rowIds.length) : null;
    if (norms !== null) await output.logSums(h, norms);
    const best = await output.topK(h, k);
    labels.set(best.labels.subarray(0, rowIds.length * k), at);
    for (let i = 0; i < rowIds.length * k; i++) {
      const z = best.scores[i];
      probabilities[at + i] =
        norms === null ? 1 / (1 + Math.exp(-z)) : Math.exp(z - norms[Math.floor(i / k)]);
    }
    at += rowIds.length * k;
  }
  await writeFile(
    `${file}.tmp`,
    Buffer.concat([Buffer.from(labels.buffer), Buffer.from(probabilities.buffer)]),
  );
  await rename(`${file}.tmp`, file);
}

/** An ensemble cell: the mean of its members' probabilities ranks the labels. */
export async function run({ dataset, members, ks }) {
  const directory = await data.DatasetDirectory.open(`data/${dataset}`);
  const [trained, test] = [await directory.load('trainAll'), await directory.load('test')];
  const lists = [];
  for (const file of members) {
    const { buffer, byteOffset } = await readFile(file);
    const labels = new Uint32Array(buffer, byteOffset, test.rows * k);
    lists.push({
      labels,
      probabilities: new Float32Array(buffer, byteOffset + labels.byteLength, test.rows * k),
    });
  }
  const most = Math.max(...ks);
  const frequencies = data.labelFrequencies(trained);
  const sums = new metrics.TopKMetrics({ ks, propensities: metrics.propensities(frequencies, trained.rows) });
  for (let row = 0; row < test.rows; row++) {
    const votes = new Map();
    for (const { labels, probabilities } of lists) {
      for (let i = row * k; i < (row + 1) * k; i++)
        votes.set(labels[i], (votes.get(labels[i]) ?? 0) + probabilities[i]);
    }
    const best = [...votes].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, most);
    sums.add({ k: most, labels: Uint32Array.from(best, ([label]) => label) }, test, [row]);
  }
  return {
    at: sums.report().at.map(({ k, precision, psp }) => ({
      k,
      precision: 100 * precision.value,
      psp: 100 * psp.value,
    })),
  };
}
