/**
 * What weights and connections look like now, small enough for the run log: histograms of weights, and to how many
 * labels the hidden units lead. Reading only; a run takes some fifty of them, whatever its length.
 */
import type { Classifier } from '../model/classifier.js';
import { modelArrays } from '../model/state.js';
import type { NamedArray } from '../output/layer.js';

/** Equal bins of [from, to]. */
export interface Distribution {
  readonly from: number;
  readonly to: number;
  /** Of all values looked at, in [0, 1]. */
  readonly shares: readonly number[];
  /** Values looked at. */
  readonly count: number;
}

export interface WeightSnapshot extends Distribution {
  /** As in the model's files, e.g. `output.weights`. */
  readonly name: string;
  /** Share of exact zeros. */
  readonly zeros: number;
  /** Root of the mean square. */
  readonly rms: number;
}

/** Labels that listen to a hidden unit, over all hidden units. */
export interface InDegreeSnapshot extends Distribution {
  readonly units: number;
  /** Units that no label listens to. */
  readonly unconnected: number;
  readonly mean: number;
  readonly median: number;
  /** Share of all connections that the tenth of the units with most of them has; 0.1 where all have alike. */
  readonly topTenth: number;
}

export interface ModelSnapshot {
  readonly weights: readonly WeightSnapshot[];
  /** null where every label sees every unit. */
  readonly inDegree: InDegreeSnapshot | null;
}

const snapshotsPerRun = 48;
const bins = 40;
const mostValues = 1 << 17;
const mostArrays = 8;

/** Whether a snapshot is due after `step` steps. */
export const snapshotDue = (step: number, totalSteps: number): boolean =>
  step % Math.max(1, Math.ceil(totalSteps / snapshotsPerRun)) === 0 || step === totalSteps;

export function takeSnapshot(classifier: Classifier): ModelSnapshot {
  const arrays = modelArrays(classifier);
  const weights = arrays
    .filter(
      ({ shape, data, dtype }) => shape.length >= 2 && data.length > 0 && (isFloat(data) || dtype === 'BF16'),
    )
    .slice(0, mostArrays)
    .map(weightsOf);
  return { weights, inDegree: inDegreesOf(arrays, classifier.output.inputs) };
}

const isFloat = (data: NamedArray['data']) => data instanceof Float32Array || data instanceof Float64Array;

/** Over at most 2^17 evenly spaced values; the stride is odd, so that it visits all columns. */
function weightsOf({ name, data, dtype }: NamedArray): WeightSnapshot {
  const stride = Math.ceil(data.length / mostValues) | 1;
  const values = new Float32Array(Math.ceil(data.length / stride));
  if (dtype === 'BF16') {
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < values.length; i++) bits[i] = data[i * stride] << 16;
  } else {
    for (let i = 0; i < values.length; i++) values[i] = data[i * stride];
  }
  let [most, zeros, squares] = [0, 0, 0];
  for (const value of values) {
    if (Math.abs(value) > most) most = Math.abs(value);
    if (value === 0) zeros++;
    squares += value * value;
  }
  const limit = most === 0 ? 1 : Number(most.toPrecision(3)) * 1.001;
  return {
    name,
    ...distribution(values, -limit, limit),
    zeros: zeros / values.length,
    rms: Math.sqrt(squares / values.length),
  };
}

/** Exact, over all labels: columns name the units; those of a group count once per label of the group. */
function inDegreesOf(arrays: readonly NamedArray[], units: number): InDegreeSnapshot | null {
  const columns = arrays.filter(({ name }) => name.endsWith('columns'));
  if (columns.length === 0 || units === 0) return null;
  const degrees = new Float64Array(units);
  for (const { name, shape, data } of columns) {
    const starts = arrays.find((other) => other.name === name.replace(/columns$/, 'starts'))?.data;
    const [rows, width] = shape;
    for (let row = 0, at = 0; row < rows; row++) {
      const labels = starts === undefined ? 1 : starts[row + 1] - starts[row];
      for (let i = 0; i < width; i++) degrees[data[at++]] += labels;
    }
  }
  const sorted = degrees.toSorted();
  const total = sorted.reduce((sum, n) => sum + n, 0);
  const top = sorted.subarray(units - Math.ceil(units / 10)).reduce((sum, n) => sum + n, 0);
  const [least, most] = [sorted[0], sorted[units - 1]];
  return {
    ...distribution(sorted, least, most > least ? most : least + 1),
    units,
    unconnected: sorted.findIndex((n) => n > 0) < 0 ? units : sorted.findIndex((n) => n > 0),
    mean: total / units,
    median: sorted[Math.floor(units / 2)],
    topTenth: total === 0 ? 0 : top / total,
  };
}

function distribution(values: ArrayLike<number>, from: number, to: number): Distribution {
  const counts = new Array<number>(bins).fill(0);
  for (let i = 0; i < values.length; i++) {
    const bin = Math.floor(((values[i] - from) / (to - from)) * bins);
    counts[Math.max(0, Math.min(bins - 1, Number.isNaN(bin) ? 0 : bin))]++;
  }
  const { length: count } = values;
  return { from, to, shares: counts.map((n) => Number((n / count).toPrecision(4))), count };
}
