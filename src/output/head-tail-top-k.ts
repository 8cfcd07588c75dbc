/** One ranking from the rankings of two sets of labels. */
import { noLabel } from '../kernels/no-label.js';
import type { TopK } from './layer.js';

/**
 * The best k of both; `headLabels[i]` is the label that the head calls i. Higher scores first, a NaN after everything
 * else, ties by the smaller label. Shapes [batch, k].
 */
export function mergeTopK(
  head: TopK,
  headLabels: Uint32Array,
  tail: TopK,
  tailLabels: Uint32Array,
  batch: number,
): TopK {
  const { k } = head;
  const labels = new Uint32Array(batch * k);
  const scores = head.scores.slice();
  const nameOf = (names: Uint32Array, i: number) => (i === noLabel ? noLabel : names[i]);
  for (let b = 0; b < batch; b++) {
    let a = b * k;
    let z = b * k;
    for (let i = b * k; i < (b + 1) * k; i++) {
      const first = nameOf(headLabels, head.labels[a]);
      const second = nameOf(tailLabels, tail.labels[z]);
      const fromHead = before(head.scores[a], first, tail.scores[z], second);
      labels[i] = fromHead ? first : second;
      scores[i] = fromHead ? head.scores[a++] : tail.scores[z++];
    }
  }
  return { k, labels, scores };
}

function before(score: number, label: number, otherScore: number, otherLabel: number): boolean {
  if (label === noLabel || otherLabel === noLabel) return otherLabel === noLabel;
  if (score !== otherScore) {
    if (score > otherScore) return true;
    if (score < otherScore) return false;
    const [nan, otherNan] = [Number.isNaN(score), Number.isNaN(otherScore)];
    if (nan !== otherNan) return otherNan;
  }
  return label < otherLabel;
}
