/**
 * Labels that learnt while all others stood still are louder than these: nothing answered them. Their logits are moved
 * together, by as much as makes them right as often as old labels of the same logit are.
 *
 *   slope, offset = Platt's fit to the best old label of each validation row
 *   offset'       : sum of sigmoid(slope z + offset') = how many of the best new labels are right
 *   by            = (offset' - offset) / slope
 *
 * and further down where rows without a new label would lose more of their P@1 to new ones than they may.
 */
import type { CsrDataset } from '../data/dataset.js';
import { noLabel } from '../kernels/no-label.js';
import type { Classifier } from '../model/classifier.js';
import { fitScaling, sigmoid } from '../model/platt.js';
import { type Scorer, scoreDataset } from '../model/score.js';
import type { TopK } from '../output/layer.js';

/** Best labels of a row among which its best old and its best new one are looked for. */
const among = 64;
/** Of right and of wrong ones; fewer say nothing. */
const least = 20;
/** Below a tie, in logits: biases are rounded to float32. */
const hair = 1e-3;

export interface Level {
  /** To be added to the logits of new labels; null where the rows do not tell. */
  readonly by: number | null;
  /** P@1 that rows without a new label lose to new ones at that level, in points. */
  readonly lost: number;
}

/**
 * How far to move the logits of the labels from `from` on. Changes nothing but the step arena.
 *
 * @param mostLost points of P@1 that rows without a new label may lose
 */
export async function levelOf(
  classifier: Classifier,
  rows: CsrDataset,
  from: number,
  { batch, mostLost }: { readonly batch: number; readonly mostLost: number },
): Promise<Level> {
  const best = new BestOfBoth(from);
  await scoreDataset(classifier, rows, best, { batch, k: Math.min(among, classifier.output.labels) });
  const { old, fresh } = best;
  const scaling = tells(old) && tells(fresh) ? fitScaling(old) : null;
  if (scaling === null) return { by: null, lost: best.lostAt(0) };
  const even = (offsetOf(fresh, scaling.slope) - scaling.offset) / scaling.slope;
  const by = Math.min(even, best.levelLosing(mostLost));
  return { by, lost: best.lostAt(by) };
}

/** Best labels of rows, and whether they are right. */
interface Best {
  readonly scores: number[];
  readonly right: number[];
}

class BestOfBoth implements Scorer {
  readonly old: Best = { scores: [], right: [] };
  readonly fresh: Best = { scores: [], right: [] };
  readonly #from: number;
  /** Rows without a new label. */
  #plain = 0;
  /** By how much the best new label is above the best old one, where a row without a new label has that one. */
  readonly #above: number[] = [];

  constructor(from: number) {
    this.#from = from;
  }

  add({ k, labels, scores }: TopK, truth: CsrDataset, rowIds: ArrayLike<number>): void {
    for (let r = 0; r < rowIds.length; r++) {
      const own = truth.labelIds.subarray(truth.labelIndptr[rowIds[r]], truth.labelIndptr[rowIds[r] + 1]);
      const ranked = labels.subarray(r * k, (r + 1) * k);
      const take = (into: Best, isMine: (label: number) => boolean) => {
        const place = ranked.findIndex(isMine);
        if (place < 0) return { score: Number.NEGATIVE_INFINITY, right: 0 };
        const found = { score: scores[r * k + place], right: own.includes(ranked[place]) ? 1 : 0 };
        into.scores.push(found.score);
        into.right.push(found.right);
        return found;
      };
      const old = take(this.old, (label) => label < this.#from);
      const fresh = take(this.fresh, (label) => label >= this.#from && label !== noLabel);
      if (own.some((label) => label >= this.#from)) continue;
      this.#plain++;
      if (old.right === 1) this.#above.push(fresh.score - old.score);
    }
  }

  lostAt(by: number): number {
    const lost = this.#above.filter((gap) => gap + by > 0).length;
    return (100 * lost) / Math.max(1, this.#plain);
  }

  /** The highest level at which rows without a new label lose no more than so many points. */
  levelLosing(points: number): number {
    const may = Math.floor((points * this.#plain) / 100);
    const first = this.#above.toSorted((a, b) => b - a)[may] ?? Number.NEGATIVE_INFINITY;
    return -first - hair;
  }
}

const rights = ({ right }: Best) => right.reduce((sum, one) => sum + one, 0);

const tells = (best: Best) => Math.min(rights(best), best.right.length - rights(best)) >= least;

/** The offset at which as many are expected to be right as are; the sum grows with it. */
function offsetOf(best: Best, slope: number): number {
  const wanted = rights(best);
  const expected = (offset: number) =>
    best.scores.reduce((sum, score) => sum + sigmoid(slope * score + offset), 0);
  let [low, high] = [-1, 1];
  while (expected(low) > wanted) low *= 2;
  while (expected(high) < wanted) high *= 2;
  for (let turn = 0; turn < 60; turn++) {
    const middle = (low + high) / 2;
    if (expected(middle) < wanted) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
