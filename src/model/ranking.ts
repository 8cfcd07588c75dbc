/**
 * The order of a model's answers: by score, or, where its calibration has found that to be right more often, the best
 * labels by score, as many of each row as the calibration was fitted on, by probability; those behind them stay by score,
 * since nothing is known of probabilities there. Whatever k is asked for, the answers are the first k of one and the same list.
 */
import type { OutputLayer, TopK } from '../output/layer.js';
import type { Tensor } from '../tensor/tensor.js';
import { Calibration, type CalibrationState } from './calibration.js';

/** Whether probabilities order the answers of a model, or scores do. */
export const ranksBy = (calibration: CalibrationState | null): 'score' | 'probability' =>
  calibration?.order ?? 'score';

/** The best k labels of every row of h, in that order. */
export async function rankLabels(
  output: OutputLayer,
  h: Tensor,
  k: number,
  calibration: CalibrationState | null,
): Promise<TopK> {
  if (calibration === null || ranksBy(calibration) === 'score') return output.topK(h, k);
  const candidates = Math.min(calibration.perRow, output.labels);
  return byProbability(await output.topK(h, Math.max(k, candidates)), candidates, k, calibration);
}

/** `top` with the first `candidates` of every row by falling probability, cut to k; equal ones stay by score. */
export function byProbability(top: TopK, candidates: number, k: number, calibration: CalibrationState): TopK {
  const read = Calibration.of(calibration);
  const rows = top.labels.length / top.k;
  const labels = new Uint32Array(rows * k);
  const scores = top.scores instanceof Float32Array ? new Float32Array(rows * k) : new Float64Array(rows * k);
  for (let r = 0; r < rows; r++) {
    const from = r * top.k;
    const places = Array.from({ length: Math.min(candidates, top.k) }, (_, i) => from + i);
    const probability = places.map((i) =>
      top.labels[i] === 0xffffffff ? -1 : read.probability(top.labels[i], top.scores[i]),
    );
    places.sort((i, j) => probability[j - from] - probability[i - from]);
    for (let i = 0; i < k; i++) {
      const place = places[i] ?? from + i;
      labels[r * k + i] = top.labels[place];
      scores[r * k + i] = top.scores[place];
    }
  }
  return { k, labels, scores };
}
