/**
 * Labels that learnt while all others stood still are louder than these: nothing answered them. Their logits are moved
 * together, by as much as makes them right as often as old labels of the same logit are.
 *
 *   slope, offset = Platt's fit to the best old label of each validation row
 *   offset'       : sum of sigmoid(slope z + offset') = how many of the best new labels are right
 *   by            = (offset' - offset) / slope
 */
import type { CsrDataset } from '../data/dataset.js';
import type { Classifier } from '../model/classifier.js';
import { fitScaling, sigmoid } from '../model/platt.js';
import { type Scorer, scoreDataset } from '../model/score.js';
import type { TopK } from '../output/layer.js';

/** Best labels of a row among which its best old and its best new one are looked for. */
const among = 64;
/** Of right and of wrong ones; fewer say nothing. */
const least = 20;

/**
 * How far to move the logits of the labels from `from` on; null where the rows do not tell. Changes nothing but the step
 * arena.
 */
export async function levelOf(
  classifier: Classifier,
  rows: CsrDataset,
  from: number,
  batch: number,
): Promise<number | null> {
  const best = new BestOfBoth(from);
  await scoreDataset(classifier, rows, best, { batch, k: Math.min(among, classifier.output.labels) });
  if (!tells(best.old) || !tells(best.fresh)) return null;
  const scaling = fitScaling(best.old);
  return scaling === null ? null : (offsetOf(best.fresh, scaling.slope) - scaling.offset) / scaling.slope;
}

class BestOfBoth implements Scorer {
  readonly old: { scores: number[]; right: number[] } = { scores: [], right: [] };
  readonly fresh: typeof this.old = { scores: [], right: [] };
  readonly #from: number;

  constructor(from: number) {
    this.#from = from;
  }

  add({ k, labels, scores }: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    for (let r = 0; r < rowIds.length; r++) {
      const own = truth.labelIds.subarray(truth.labelIndptr[rowIds[r]], truth.labelIndptr[rowIds[r] + 1]);
      const ranked = labels.subarray(r * k, (r + 1) * k);
      for (const [pairs, isMine] of [
        [this.old, (label: number) => label < this.#from],
        [this.fresh, (label: number) => label >= this.#from && label < 0xffffffff],
      ] as const) {
        const place = ranked.findIndex(isMine);
        if (place < 0) continue;
        pairs.scores.push(scores[r * k + place]);
        pairs.right.push(own.includes(ranked[place]) ? 1 : 0);
      }
    }
  }
}

const rights = ({ right }: { readonly right: readonly number[] }) => right.reduce((sum, one) => sum + one, 0);

const tells = (pairs: { readonly right: readonly number[] }) =>
  Math.min(rights(pairs), pairs.right.length - rights(pairs)) >= least;

/** The offset at which as many are expected to be right as are; the sum grows with it. */
function offsetOf({ scores, right }: { scores: readonly number[]; right: readonly number[] }, slope: number) {
  const wanted = rights({ right });
  let [low, high] = [-1, 1];
  const expected = (offset: number) => scores.reduce((sum, z) => sum + sigmoid(slope * z + offset), 0);
  while (expected(low) > wanted) low *= 2;
  while (expected(high) < wanted) high *= 2;
  for (let turn = 0; turn < 60; turn++) {
    const middle = (low + high) / 2;
    if (expected(middle) < wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
