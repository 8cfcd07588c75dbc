/** What figures hide: which labels are taken for which, and what single rows were answered. In bounded memory. */
import type { CsrDataset } from '../data/dataset.js';
import type { LoadedModel } from '../model/model-io.js';
import { predictionsOf } from '../model/predict.js';
import type { Connections, TopK } from '../output/layer.js';
import type { EvaluationReport } from '../train/evaluate.js';
import type { Bucket, Confusion, Evaluation, Interval, Sample } from './types.js';

const mostPairs = 1 << 20;
const listedPairs = 40;
const matrixLabels = 12;
const sampleRows = 12;
const samplePredictions = 5;
const mostTruth = 12;
const longestText = 600;

/** Takes in the scored rows of a dataset, batch by batch, as `TopKMetrics` does. */
export class PredictionDetails {
  readonly #model: LoadedModel;
  readonly #texts: readonly { readonly text: string }[] | undefined;
  readonly #nameOf: (label: number) => string;
  /** truth * labels + predicted -> rows */
  #pairs = new Map<number, number>();
  #wrongRows = 0;
  readonly #samples: Sample[] = [];

  constructor(
    model: LoadedModel,
    options: {
      readonly texts?: readonly { readonly text: string }[];
      readonly labelNames?: readonly string[];
    },
  ) {
    this.#model = model;
    this.#texts = options.texts;
    const names = model.labelNames.length > 0 ? model.labelNames : (options.labelNames ?? []);
    this.#nameOf = (label) => names[label] ?? String(label);
  }

  add(best: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    const every = Math.max(1, Math.floor(truth.rows / sampleRows));
    for (let i = 0; i < rowIds.length; i++) {
      const row = rowIds[i];
      const labels = truth.labelIds.subarray(truth.labelIndptr[row], truth.labelIndptr[row + 1]);
      this.#confuse(best.labels[i * best.k], labels);
      if (row % every === every >> 1 && this.#samples.length < sampleRows) this.#sample(best, i, row, labels);
    }
  }

  #confuse(first: number, truth: Uint32Array): void {
    const { labels } = this.#model.shape;
    if (first >= labels || truth.length === 0) return;
    const wrong = !truth.includes(first);
    if (wrong) this.#wrongRows++;
    for (const label of truth) {
      const key = (wrong ? label : first) * labels + first;
      this.#pairs.set(key, (this.#pairs.get(key) ?? 0) + 1);
      // A right answer counts once, on the diagonal.
      if (!wrong) break;
    }
    // What happened once is let go first: frequent pairs stay, with a count that may be short by a little.
    for (let least = 1; this.#pairs.size > mostPairs; least++) {
      for (const [key, count] of this.#pairs) if (count <= least) this.#pairs.delete(key);
    }
  }

  #sample(best: TopK, i: number, row: number, truth: Uint32Array): void {
    const predictions = predictionsOf(best, i, this.#model, this.#nameOf, samplePredictions).map((one) => ({
      ...one,
      right: truth.includes(one.label),
    }));
    this.#samples.push({
      text: this.#texts?.[row]?.text.slice(0, longestText) ?? null,
      truth: [...truth.subarray(0, mostTruth)].map((label) => ({ label, name: this.#nameOf(label) })),
      predictions,
    });
  }

  details(): { readonly confusion: Confusion; readonly samples: readonly Sample[] } {
    const { labels } = this.#model.shape;
    const split = (key: number) => [Math.floor(key / labels), key % labels] as const;
    const frequent = [...this.#pairs]
      .filter(([key]) => split(key)[0] !== split(key)[1])
      .sort(([a, n], [b, m]) => m - n || a - b)
      .slice(0, listedPairs);
    const pairs = frequent.map(([key, count]) => {
      const [truth, predicted] = split(key);
      return {
        truth: this.#named(truth),
        predicted: this.#named(predicted),
        count,
        cosine: this.#cosine(truth, predicted),
      };
    });
    const chosen = this.#neighbourhood(frequent.map(([key, count]) => [...split(key), count]));
    return {
      confusion: {
        ...{ wrongRows: this.#wrongRows, pairs, labels: chosen.map((label) => this.#named(label)) },
        counts: chosen.map((truth) =>
          chosen.map((predicted) => this.#pairs.get(truth * labels + predicted) ?? 0),
        ),
      },
      samples: this.#samples,
    };
  }

  #named(label: number) {
    return { label, name: this.#nameOf(label) };
  }

  /** Labels of the most confused pairs, each beside those that it is confused with. */
  #neighbourhood(pairs: readonly number[][]): number[] {
    const chosen: number[] = [];
    const next = pairs.map(([truth, predicted]) => [truth, predicted]);
    while (next.length > 0 && chosen.length < matrixLabels) {
      const at = Math.max(
        0,
        next.findIndex((pair) => pair.some((label) => chosen.includes(label))),
      );
      for (const label of next.splice(at, 1)[0]) {
        if (!chosen.includes(label) && chosen.length < matrixLabels) chosen.push(label);
      }
    }
    return chosen;
  }

  #cosine(a: number, b: number): number | null {
    const { output } = this.#model.classifier;
    const [x, y] = [output.connections(a), output.connections(b)];
    const squares = (of: Connections) => of.weights.reduce((sum, w) => sum + w * w, 0);
    const norm = Math.sqrt(squares(x) * squares(y));
    if (norm === 0) return null;
    const weightOf = new Map([...x.inputs].map((unit, i) => [unit, x.weights[i]]));
    return [...y.inputs].reduce((sum, unit, i) => sum + (weightOf.get(unit) ?? 0) * y.weights[i], 0) / norm;
  }
}

/** An evaluation as a run keeps it: percent, with confusions and samples. */
export function evaluationOf(
  report: EvaluationReport,
  details: { readonly confusion: Confusion; readonly samples: readonly Sample[] },
): Evaluation {
  const interval = ({ value, low, high }: { value: number; low: number; high: number }): Interval => ({
    ...{ value: 100 * value, low: 100 * low, high: 100 * high },
  });
  return {
    ...{ split: report.split, rows: report.rows, model: report.model.replace(/^.*[\\/]/, '') },
    at: report.at.map(({ k, precision, ndcg, psp, buckets }) => ({
      ...{ k, precision: interval(precision), ndcg: interval(ndcg) },
      psp: psp === undefined ? null : interval(psp),
      buckets:
        buckets === undefined
          ? null
          : (Object.fromEntries(
              Object.entries(buckets).map(([name, { precision, recall, contribution }]) => [
                name,
                { precision: 100 * precision, recall: 100 * recall, contribution: 100 * contribution },
              ]),
            ) as NonNullable<Evaluation['at'][number]['buckets']> & Record<Bucket, unknown>),
    })),
    ...details,
  };
}
