/** How much the votes of remembered rows count: judged on validation rows, which are asked once for all settings. */
import type { CsrDataset } from '../data/dataset.js';
import { noLabel } from '../kernels/no-label.js';
import type { Classifier } from '../model/classifier.js';
import { hiddenBatches } from '../model/hidden.js';
import type { RememberedRows, VoteSettings } from '../model/remembered/rows.js';
import { type Ballot, bestOf, collectBallots } from '../model/remembered/votes.js';
import { type Scores, scoresOf } from './events.js';
import { PairCollector } from './probabilities.js';
import { metricsFor } from './train.js';

/** Validation rows with what decides them; their ballots hold the first `depth` of every setting. */
export interface AskedRows {
  readonly rows: CsrDataset;
  readonly ballots: readonly Ballot[];
  readonly depth: number;
}

const temperatures = [0.03, 0.05, 0.07, 0.1, 0.15];
const weights = [2, 4, 6, 8, 10, 12, 16];
const featureTemperatures = [0.1, 0.2, 0.3, 0.5];
const featureWeights = [1, 2, 4, 6, 8, 10, 12, 16];
const textTemperatures = [0.05, 0.07, 0.1, 0.15, 0.2, 0.3];
// Where items are labels, the item itself has a share of it.
const textWeights = [1, 2, 4, 8, 12, 16, 24, 32, 48];
// As far as both votes together.
const namesakeWeights = [-32, -24, -16, -12, -8, -6, -4, -2, -1, 1, 2, 4, 6, 8, 12, 16, 24, 32];
const cutOffs = [1, 3, 5];
const batchRows = 256;

/** Asks every row once. Empties the step arena. */
export async function askRows(
  classifier: Classifier,
  rows: CsrDataset,
  remembered: RememberedRows,
  least: number,
  onProgress?: (done: number, rows: number) => void,
): Promise<AskedRows> {
  const depth = Math.min(classifier.shape.labels, Math.max(least, ...cutOffs));
  const ballots: Ballot[] = [];
  for (const { h, features, done } of hiddenBatches(classifier, rows, batchRows)) {
    ballots.push(...(await collectBallots(classifier, h, depth, remembered, features)));
    onProgress?.(done, rows.rows);
  }
  return { rows, ballots, depth };
}

/**
 * Temperature and weight of the largest sum of P@1, P@3 and P@5, beside those that are `given`; of equal ones the least
 * weight, then the first. Weight 0, unless it is given, where the gain is not above two standard deviations of what signs
 * drawn at random would make of the differences of rows: among so many settings one is always a little better by chance.
 * Then, in the same way, what a namesake weighs beside them, where it is known what labels are called; temperature and
 * weight of votes by features, and of words of the question that labels are called by; and again what a namesake weighs.
 */
export function chooseVotes(
  asked: AskedRows,
  remembered: RememberedRows,
  given: Partial<VoteSettings> = {},
): VoteSettings {
  const { nearest, temperature } = remembered.settings;
  const choose = (none: VoteSettings, settings: readonly VoteSettings[], key: keyof VoteSettings) =>
    // What counts already has gained enough to count: then the best is taken.
    bestSetting(asked, remembered, none, settings, given[key] !== undefined || (none[key] ?? 0) !== 0);
  let votes: VoteSettings = { nearest, temperature, weight: 0 };
  const directions = gridOf(given.weight, weights, given.temperature, temperatures);
  votes = choose(
    votes,
    directions.map(([weight, temperature]) => ({ nearest, temperature, weight })),
    'weight',
  );
  const chooseNames = () =>
    choose(
      votes,
      valuesOf(given.namesake, namesakeWeights).map((namesake) => ({ ...votes, namesake })),
      'namesake',
    );
  if (remembered.names !== null) votes = chooseNames();
  if (remembered.postings !== null) {
    const { featureWeight, featureTemperature } = given;
    const byFeatures = gridOf(featureWeight, featureWeights, featureTemperature, featureTemperatures);
    votes = choose(
      votes,
      byFeatures.map(([weight, t]) => ({ ...votes, featureWeight: weight, featureTemperature: t })),
      'featureWeight',
    );
  }
  if (remembered.texts !== null) {
    const byTexts = gridOf(given.textWeight, textWeights, given.textTemperature, textTemperatures);
    votes = choose(
      votes,
      byTexts.map(([weight, t]) => ({ ...votes, textWeight: weight, textTemperature: t })),
      'textWeight',
    );
  }
  if (remembered.names === null || (remembered.postings === null && remembered.texts === null)) return votes;
  // What is called like the question has words in common with it too: a name may have to say more against it, or less for it.
  return chooseNames();
}

const valuesOf = (given: number | undefined, all: readonly number[]) => (given === undefined ? all : [given]);

/** Pairs of weight and temperature, as far as they are not given. */
const gridOf = (
  weight: number | undefined,
  weights: readonly number[],
  temperature: number | undefined,
  temperatures: readonly number[],
): [number, number][] =>
  valuesOf(weight, weights).flatMap((one) =>
    valuesOf(temperature, temperatures).map((t): [number, number] => [one, t]),
  );

/** The best of `settings`; `none` where its gain over that could be chance, unless one `isGiven`. */
function bestSetting(
  asked: AskedRows,
  remembered: RememberedRows,
  none: VoteSettings,
  settings: readonly VoteSettings[],
  isGiven: boolean,
): VoteSettings {
  const without = precisionsOf(asked, remembered, none);
  let best = none;
  let [most, spread] = [Number.NEGATIVE_INFINITY, 0];
  for (const setting of settings) {
    const found = precisionsOf(asked, remembered, setting);
    const differences = found.map((precision, row) => precision - without[row]);
    const gain = differences.reduce((sum, one) => sum + one, 0);
    if (!(gain > most)) continue;
    [best, most] = [setting, gain];
    spread = Math.sqrt(differences.reduce((sum, one) => sum + one * one, 0));
  }
  return isGiven || most > 2 * spread ? best : none;
}

/** P@1 + P@3 + P@5 of every row. */
function precisionsOf(
  { rows: { labelIds, labelIndptr }, ballots }: AskedRows,
  remembered: RememberedRows,
  settings: Omit<VoteSettings, 'nearest'>,
): Float64Array {
  return Float64Array.from(ballots, (ballot, row) => {
    const own = labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]);
    const right = bestOf(ballot, remembered, settings).map(({ label }) => (own.includes(label) ? 1 : 0));
    let sum = 0;
    for (const k of cutOffs) for (let i = 0; i < Math.min(k, right.length); i++) sum += right[i] / k;
    return sum;
  });
}

export interface Judgement {
  readonly scores: Scores;
  /** The best `perRow` labels of every row, for probabilities. */
  readonly pairs: PairCollector;
}

/** The figures of one setting. `counts`: how often each label was seen in the `trained` rows that were learnt from. */
export function judgeVotes(
  { rows, ballots, depth: k }: AskedRows,
  remembered: RememberedRows,
  settings: Omit<VoteSettings, 'nearest'>,
  {
    counts,
    trained,
    perRow,
  }: { readonly counts: Uint32Array; readonly trained: number; readonly perRow: number },
): Judgement {
  const metrics = metricsFor(counts, trained);
  const pairs = new PairCollector(perRow);
  for (const [row, ballot] of ballots.entries()) {
    const best = bestOf(ballot, remembered, settings).slice(0, k);
    const labels = new Uint32Array(k).fill(noLabel);
    const scores = new Float64Array(k).fill(Number.NEGATIVE_INFINITY);
    for (const [i, { label, score }] of best.entries()) [labels[i], scores[i]] = [label, score];
    const top = { k, labels, scores };
    metrics.add(top, rows, [row]);
    pairs.add(top, rows, [row]);
  }
  return { scores: scoresOf(metrics.report()), pairs };
}
