/**
 * Where labels start that a trained model does not know: in the direction in which the hidden vectors of their rows
 * differ from those of all rows, as long as the weights of its other labels are, with their logit for a middling row.
 * Imprinted weights (Qi, Brown & Lowe 2018, arXiv 1712.07136), with the spread of every hidden unit taken out.
 */
import { type Batch, fillBatch } from '../data/batches.js';
import { rowsByLabel } from '../data/by-label.js';
import type { CsrDataset } from '../data/dataset.js';
import { spread } from '../data/rows.js';
import type { Classifier } from '../model/classifier.js';

/** Rows of all that say what is middling; rows of a label; old labels that say how long weights are. */
const middleRows = 2048;
const rowsPerLabel = 32;
const sampledLabels = 512;
/** Labels at once: their directions are held in float64. */
const labelsAtOnce = 2048;

/**
 * Gives the labels `fresh` of a classifier their start. Labels without a row keep their drawn weights. The same for
 * the same rows; draws nothing. Empties the step arena.
 *
 * @param batch scratch; hidden vectors are computed so many rows at a time
 * @param how `drawn`: all keep their drawn weights, and have a bias as other labels do
 */
export async function startNewLabels(
  classifier: Classifier,
  rows: CsrDataset,
  frequencies: Uint32Array,
  fresh: Uint32Array,
  batch: Batch,
  how: 'rows' | 'drawn' = 'rows',
): Promise<void> {
  const isFresh = new Uint8Array(frequencies.length);
  for (const label of fresh) isFresh[label] = 1;
  const old = Uint32Array.from(frequencies.keys()).filter((label) => isFresh[label] === 0);
  if (fresh.length === 0 || rows.rows === 0) return;
  const { output } = classifier;
  const d = output.inputs;
  const middle = hiddenMoments(classifier, rows, spread(rows.rows, middleRows), batch);
  const manners = oldManners(classifier, old, frequencies, middle.mean);
  const { begin, rowOf } = rowsByLabel(rows);
  for (let from = 0; from < fresh.length; from += labelsAtOnce) {
    const some = fresh.subarray(from, from + labelsAtOnce);
    const weights = new Float64Array(some.length * d);
    for (const [i, label] of some.entries()) {
      const direction = weights.subarray(i * d, (i + 1) * d);
      const count = begin[label + 1] - begin[label];
      const own = spread(count, rowsPerLabel).map((r) => rowOf[begin[label] + r]);
      if (count === 0 || how === 'drawn') {
        const { inputs, weights: drawn } = output.connections(label);
        for (const [k, input] of inputs.entries()) direction[input] = drawn[k];
        continue;
      }
      const { mean } = hiddenMoments(classifier, rows, own, batch);
      for (let j = 0; j < d; j++)
        direction[j] = (mean[j] - middle.mean[j]) / (middle.deviation[j] + middle.typical);
    }
    const bias = new Float64Array(some.length);
    // Connections are chosen by the directions; how long the weights may be is known after that.
    output.startLabels(some, { weights, bias });
    for (const [i, label] of some.entries()) {
      const { norm, level } = manners(frequencies[label]);
      const { inputs, weights: held } = output.connections(label);
      const length = Math.sqrt(held.reduce((sum, w) => sum + w * w, 0));
      const drawn = frequencies[label] === 0 || how === 'drawn';
      const scale = drawn || length === 0 ? 1 : norm / length;
      let atMiddle = 0;
      for (const [k, input] of inputs.entries()) atMiddle += scale * held[k] * middle.mean[input];
      bias[i] = level - atMiddle;
      for (let j = 0; j < d; j++) weights[i * d + j] *= scale;
    }
    output.startLabels(some, { weights, bias });
  }
  classifier.device.arena.reset();
}

function hiddenMoments(classifier: Classifier, rows: CsrDataset, ids: Uint32Array, batch: Batch) {
  const d = classifier.output.inputs;
  const sum = new Float64Array(d);
  const squares = new Float64Array(d);
  const size = batch.shape.rows;
  for (let from = 0; from < ids.length; from += size) {
    const some = ids.subarray(from, from + size);
    fillBatch(rows, some, batch);
    classifier.device.arena.reset();
    const { data } = classifier.infer(batch.features);
    for (let at = 0; at < some.length * d; at++) {
      sum[at % d] += data[at];
      squares[at % d] += data[at] ** 2;
    }
  }
  const n = Math.max(1, ids.length);
  const mean = sum.map((s) => s / n);
  const deviation = squares.map((s, j) => Math.sqrt(Math.max(0, s / n - mean[j] ** 2)));
  return { mean, deviation, typical: Math.max(1e-12, deviation.reduce((s, x) => s + x, 0) / d) };
}

/** Norm of the weights and logit of a middling row, by how frequent a label is (to a power of two), from labels that were trained. */
function oldManners(
  { output }: Classifier,
  old: Uint32Array,
  frequencies: Uint32Array,
  middle: Float64Array,
): (frequency: number) => { readonly norm: number; readonly level: number } {
  const bin = (frequency: number) => Math.floor(Math.log2(frequency + 1));
  const bins = new Map<number, { norm: number; level: number; count: number }>();
  const all = { norm: 0, level: 0, count: 0 };
  for (const place of spread(old.length, sampledLabels)) {
    const label = old[place];
    const { inputs, weights, bias } = output.connections(label);
    const norm = Math.sqrt(weights.reduce((sum, w) => sum + w * w, 0));
    const level = inputs.reduce((sum, input, k) => sum + weights[k] * middle[input], bias);
    const at = bin(frequencies[label]);
    const own = bins.get(at) ?? { norm: 0, level: 0, count: 0 };
    bins.set(at, own);
    for (const sums of [own, all]) {
      sums.norm += norm;
      sums.level += level;
      sums.count++;
    }
  }
  return (frequency) => {
    const own = bins.get(bin(frequency));
    const { norm, level, count } = own !== undefined && own.count >= 8 ? own : all;
    return count === 0 ? { norm: 1, level: 0 } : { norm: norm / count, level: level / count };
  };
}
