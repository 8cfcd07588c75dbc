/**
 * The order of a model's answers: by score, or, where its calibration has found that to be right more often, the best
 * labels by score, as many of each row as the calibration was fitted on, by probability; or, where it is asked for, the best
 * by score in favour of rare ones. Those behind stay by score. Whatever k is asked for, the answers are the first k of one
 * and the same list. Of a model that remembers rows, scores have their votes in them (`remembered/votes.ts`).
 */
import { EspalierError } from '../errors.js';
import { noLabel } from '../kernels/no-label.js';
import { propensityOf } from '../metrics/propensities.js';
import { checkTopK } from '../output/check.js';
import type { TopK } from '../output/layer.js';
import type { Tensor } from '../tensor/tensor.js';
import { Calibration, type CalibrationState } from './calibration.js';
import type { Classifier } from './classifier.js';
import type { LabelFrequencies } from './frequencies.js';
import type { Questions } from './remembered/namesakes.js';
import type { RememberedRows } from './remembered/rows.js';
import { topWithVotes } from './remembered/votes.js';

/** Whether probabilities order the answers of a model, or scores do. */
export const ranksBy = (calibration: CalibrationState | null): 'score' | 'probability' =>
  calibration?.order ?? 'score';

/** What puts labels in order. */
export interface Ranking {
  readonly calibration: CalibrationState | null;
  /** Of the model; null where it does not know them. */
  readonly frequencies?: LabelFrequencies | null;
  /** tau of `byRarity`; default 0: the model's own order. */
  readonly rare?: number;
  /** Whose labels count; default null: none. */
  readonly remembered?: RememberedRows | null;
}

/** The most that `rare` can be. */
export const mostRare = 10;

/** Labels of a row, best by score, that `byRarity` puts in order. */
export const rareCandidates = 100;

/** The best k labels of every row of h, whose features `questions` are, in that order. Throws `TOP_K_RANGE`, `RARE_RANGE`, `RARE_UNKNOWN`. */
export async function rankLabels(
  classifier: Pick<Classifier, 'device' | 'output'>,
  h: Tensor,
  k: number,
  ranking: Ranking,
  questions: Questions,
): Promise<TopK> {
  // NOTE: here and not by the layer alone, which may be asked for more than k.
  checkTopK(k);
  const { output } = classifier;
  const { remembered = null } = ranking;
  const width = widthFor(ranking, k, output.labels);
  const top =
    remembered === null
      ? await output.topK(h, width)
      : await topWithVotes(classifier, h, width, remembered, questions);
  return candidatesOf(ranking) === 0 ? top : ordered(top, k, ranking);
}

/** Labels by score that `ordered` needs for the first k in order. */
export const widthFor = (ranking: Ranking, k: number, labels: number): number =>
  Math.max(k, Math.min(candidatesOf(ranking), labels));

/** Labels of each row, best by score, that are put in another order. */
function candidatesOf({ calibration, rare = 0 }: Ranking): number {
  if (rare !== 0) return rareCandidates;
  return calibration !== null && ranksBy(calibration) === 'probability' ? calibration.perRow : 0;
}

/** The first k in order of `top`, which is by score and as wide as `widthFor` says; in arrays of their own. */
export function ordered(top: TopK, k: number, ranking: Ranking): TopK {
  const { calibration, rare = 0 } = ranking;
  if (rare !== 0) {
    const read = ranksBy(calibration) === 'probability' ? calibration : null;
    return byRarity(top, k, rare, checkRare(ranking), read);
  }
  if (calibration === null || ranksBy(calibration) === 'score') return firstOf(top, k);
  return byProbability(top, calibration.perRow, k, calibration);
}

/**
 * Labels that are no answer to a question, as a product is none to those who have it: by name, or by number. What the model
 * does not know is in nobody's way; a name that several labels share leaves all of them out, and there may then be fewer than k
 * answers.
 */
export type ExcludedLabels = ReadonlySet<string | number>;

/** Labels to find so that `k` are left when these are out; a `k` that is none stays what it is, for others to refuse. */
export const widthWithout = (k: number, excluded: ExcludedLabels): number => (k >= 1 ? k + excluded.size : k);

/** The first k labels of every row that are not excluded, in their order. */
export function without(
  top: TopK,
  k: number,
  excluded: ExcludedLabels,
  nameOf: (label: number) => string | undefined,
): TopK {
  if (excluded.size === 0) return top;
  const isOut = (label: number) => excluded.has(label) || excluded.has(nameOf(label) ?? String(label));
  return leftOf(top, k, (_, label) => isOut(label));
}

/** The first k labels of every row that are not out there, in their order. */
export function leftOf(top: TopK, k: number, isOut: (r: number, label: number) => boolean): TopK {
  const rows = top.labels.length / top.k;
  const labels = new Uint32Array(rows * k).fill(noLabel);
  const scores = top.scores instanceof Float32Array ? new Float32Array(rows * k) : new Float64Array(rows * k);
  for (let r = 0; r < rows; r++) {
    let at = r * k;
    for (let i = r * top.k; i < (r + 1) * top.k && at < (r + 1) * k; i++) {
      const label = top.labels[i];
      if (label === noLabel) break;
      if (isOut(r, label)) continue;
      labels[at] = label;
      scores[at++] = top.scores[i];
    }
  }
  return { k, labels, scores };
}

/** The first k labels of every row. */
export const firstOf = (top: TopK, k: number): TopK => inOrder(top, 0, k, () => 0);

/** `top` with the first `candidates` of every row by falling probability, cut to k; equal ones stay by score. */
export function byProbability(top: TopK, candidates: number, k: number, calibration: CalibrationState): TopK {
  const read = Calibration.of(calibration);
  return inOrder(top, candidates, k, (label, score) => read.probability(label, score));
}

/**
 * `top` with the first 100 of every row by falling score - tau log p_l, cut to k, p_l the propensity of a label: the chance
 * that it is noted where it is true, by how often it was (Jain et al. 2016). Logit adjustment after training (Menon et al.
 * 2021, eq. 9), which takes the share of a label for p_l; a propensity leaves labels that are seen often as they are. With a
 * calibration by the probability that a label has at that score: what the model's own order has learnt is kept.
 */
export function byRarity(
  top: TopK,
  k: number,
  tau: number,
  { rows, counts }: LabelFrequencies,
  calibration: CalibrationState | null = null,
): TopK {
  const propensity = propensityOf(Math.max(1, rows));
  const read = calibration === null ? null : Calibration.of(calibration);
  return inOrder(top, rareCandidates, k, (label, score) => {
    const favoured = score - tau * Math.log(propensity(counts[label]));
    return read === null ? favoured : read.logit(label, favoured);
  });
}

/** The first k labels of every row, the first `candidates` of them by a falling key. */
function inOrder(
  top: TopK,
  candidates: number,
  k: number,
  keyOf: (label: number, score: number) => number,
): TopK {
  const rows = top.labels.length / top.k;
  const labels = new Uint32Array(rows * k);
  const scores = top.scores instanceof Float32Array ? new Float32Array(rows * k) : new Float64Array(rows * k);
  for (let r = 0; r < rows; r++) {
    const from = r * top.k;
    labels.set(top.labels.subarray(from, from + k), r * k);
    scores.set(top.scores.subarray(from, from + k), r * k);
    const places = Array.from({ length: Math.min(candidates, top.k) }, (_, i) => from + i);
    const key = places.map((i) =>
      top.labels[i] === noLabel ? Number.NEGATIVE_INFINITY : keyOf(top.labels[i], top.scores[i]),
    );
    places.sort((i, j) => compare(key[j - from], key[i - from]));
    for (let i = 0; i < Math.min(k, places.length); i++) {
      labels[r * k + i] = top.labels[places[i]];
      scores[r * k + i] = top.scores[places[i]];
    }
  }
  return { k, labels, scores };
}

// NOTE: a difference of two infinities is NaN, which sort takes for "equal" by luck alone.
const compare = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

/** Refuses what cannot be ranked by rarity. */
function checkRare({ rare = 0, frequencies = null }: Ranking): LabelFrequencies {
  if (!(rare >= 0 && rare <= mostRare)) {
    throw new EspalierError({
      code: 'RARE_RANGE',
      kind: 'usage',
      op: 'predict',
      problem: 'rare labels cannot be favoured by so much',
      expected: `a number from 0 to ${mostRare}`,
      received: `${rare}`,
    });
  }
  if (frequencies !== null) return frequencies;
  throw new EspalierError({
    code: 'RARE_UNKNOWN',
    kind: 'usage',
    op: 'predict',
    problem: 'the model does not say how often its labels were seen, so rare ones cannot be favoured',
    expected: 'a model saved with its label frequencies',
    hint: 'train it again, or leave "rare" out',
  });
}
