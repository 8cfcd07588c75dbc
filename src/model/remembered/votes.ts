/**
 * Answers in which remembered rows vote. With q and k_i the directions of the question and of row i:
 *
 *     a_i = exp(cos(q, k_i) / T) / sum over the n nearest rows by that cosine
 *     b_i = exp(cos(x, x_i) / U) / sum over the n nearest rows by cosine of features
 *     d_l = exp(cos(x, t_l) / S) / sum over the n labels nearest by cosine of what they are called, t_l as features
 *     score_l = z_l + w * sum of a_i over those with label l + v * sum of b_i over those with label l
 *             + u * d_l + (c where l is called as the question is)
 *
 * Nearest neighbours beside a trained model, by its own hidden vectors, as in kNN-LM (Khandelwal et al. 2020, eq. 2, 3)
 * and, for extreme classification, RAE-XMC (Wang et al. 2025); they mix probabilities, where this adds to the logit: so
 * that it holds for every loss, and everything that reads scores goes on reading them.
 */
import type { CsrDatasetParts } from '../../data/dataset.js';
import { noLabel } from '../../kernels/no-label.js';
import type { TopK } from '../../output/layer.js';
import type { Device } from '../../tensor/device.js';
import type { Tensor } from '../../tensor/tensor.js';
import type { Classifier } from '../classifier.js';
import { namesakesOf, type Questions } from './namesakes.js';
import { nearestByFeatures, type Vote } from './postings.js';
import {
  directionOf,
  featureSettings,
  type RememberedRows,
  textSettings,
  type VoteSettings,
} from './rows.js';

/** The best k labels of every row of h with the votes counted. k is no more than there are labels. */
export async function topWithVotes(
  classifier: Pick<Classifier, 'device' | 'output'>,
  h: Tensor,
  k: number,
  remembered: RememberedRows,
  questions: Questions,
): Promise<TopK> {
  const ballots = await collectBallots(classifier, h, k, remembered, questions);
  const size = ballots.length * k;
  const labels = new Uint32Array(size).fill(noLabel);
  const { precision } = classifier.device;
  const scores = (precision === 'float32' ? new Float32Array(size) : new Float64Array(size)).fill(
    Number.NEGATIVE_INFINITY,
  );
  for (const [r, ballot] of ballots.entries()) {
    const best = bestOf(ballot, remembered, remembered.settings);
    for (let i = 0; i < Math.min(k, best.length); i++) {
      labels[r * k + i] = best[i].label;
      scores[r * k + i] = best[i].score;
    }
  }
  return { k, labels, scores };
}

/** What decides one row: who votes, and the logits of all labels that can be among the first k. */
export interface Ballot {
  readonly votes: readonly Vote[];
  /** Those by features. */
  readonly featureVotes: readonly Vote[];
  /** What labels are called, as rows of `texts`. */
  readonly textVotes: readonly Vote[];
  /** Labels that are called as the row is. */
  readonly namesakes: Uint32Array;
  readonly logits: ReadonlyMap<number, number>;
}

/**
 * A ballot of every row of h, whose features `questions` are. A label outside of a ballot has k labels before it, whatever
 * names count: as many more are looked at as there are namesakes.
 */
export async function collectBallots(
  { device, output }: Pick<Classifier, 'device' | 'output'>,
  h: Tensor,
  k: number,
  remembered: RememberedRows,
  questions: Questions,
): Promise<Ballot[]> {
  const nearest = nearestRows(device, h, remembered);
  const byFeatures = nearest.map((_, r) => featureVotesOf(remembered, questions, r));
  const byTexts = nearest.map((_, r) => textVotesOf(remembered, questions, r));
  const { names, examples, texts } = remembered;
  const called = nearest.map((_, r) => (names === null ? none : namesakesOf(names, questions, r)));
  const width = Math.min(output.labels, k + Math.max(0, ...called.map(({ length }) => length)));
  const top = await output.topK(h, width);
  const ballots: Ballot[] = [];
  for (const [r, votes] of nearest.entries()) {
    const logits = new Map<number, number>();
    for (let i = r * width; i < (r + 1) * width; i++)
      if (top.labels[i] !== noLabel) logits.set(top.labels[i], top.scores[i]);
    const asked = [
      ...labelsOf([...votes, ...byFeatures[r]], examples),
      ...(texts === null ? [] : labelsOf(byTexts[r], texts.examples)),
      ...called[r],
    ];
    const others = Uint32Array.from(new Set(asked.filter((label) => !logits.has(label))));
    if (others.length > 0) {
      const own = device.temporary('activations', [1, output.inputs]);
      own.data.set(h.data.subarray(r * output.inputs, (r + 1) * output.inputs));
      const scores = await output.scores(own, others);
      for (const [i, label] of others.entries()) logits.set(label, scores.data[i]);
      for (const used of [scores, own]) device.release(used);
    }
    ballots.push({
      ...{ votes, featureVotes: byFeatures[r], textVotes: byTexts[r], namesakes: called[r], logits },
    });
  }
  return ballots;
}

const none = new Uint32Array(0);

/** All labels of a ballot by score, votes counted; equal scores: the smaller label first. */
export function bestOf(
  { votes, featureVotes, textVotes, namesakes, logits }: Ballot,
  { examples, texts }: Pick<RememberedRows, 'examples' | 'texts'>,
  settings: Omit<VoteSettings, 'nearest'>,
): { readonly label: number; readonly score: number }[] {
  const { temperature, weight, namesake = 0 } = settings;
  const features = featureSettings(settings);
  const called = textSettings(settings);
  const shares = sharesOf(votes, examples, temperature);
  const byFeatures = sharesOf(features.weight === 0 ? [] : featureVotes, examples, features.temperature);
  const byTexts =
    texts === null || called.weight === 0 ? null : sharesOf(textVotes, texts.examples, called.temperature);
  return [...logits]
    .map(([label, z]) => {
      const ofRows = weight * (shares.get(label) ?? 0) + features.weight * (byFeatures.get(label) ?? 0);
      const voted = z + ofRows + called.weight * (byTexts?.get(label) ?? 0);
      return { label, score: namesakes.includes(label) ? voted + namesake : voted };
    })
    .sort((a, b) => b.score - a.score || a.label - b.label);
}

/** The votes by features of row `r`, the most alike first; none where they weigh nothing. */
export function featureVotesOf(
  { postings, settings }: Pick<RememberedRows, 'postings' | 'settings'>,
  questions: Questions,
  r: number,
): Vote[] {
  return postings === null ? [] : nearestByFeatures(postings, questions, r, settings.nearest);
}

/** The labels that are called most nearly what row `r` says, as rows of `texts`; none where they weigh nothing. */
export function textVotesOf(
  { texts, settings }: Pick<RememberedRows, 'texts' | 'settings'>,
  questions: Questions,
  r: number,
): Vote[] {
  return texts === null ? [] : nearestByFeatures(texts.postings, questions, r, settings.nearest);
}

/** For each row of h its votes, the most alike first; none where it has no direction, or where votes weigh nothing. */
export function nearestRows(device: Device, h: Tensor, remembered: RememberedRows): Vote[][] {
  const { examples, width, origin, directions, settings } = remembered;
  const { rows } = examples;
  const batch = h.shape[0];
  if (settings.weight === 0) return Array.from({ length: batch }, () => []);
  const k = Math.min(settings.nearest, rows);
  const questions = device.temporary('activations', [batch, width]);
  const unit = new Float64Array(width);
  const known = Array.from({ length: batch }, (_, r) => {
    const found = directionOf(h.data, r * width, origin, unit);
    questions.data.set(unit, r * width);
    return found;
  });
  // The rows are a dense layer without biases, and the nearest ones its best labels.
  const shape = { batch, inputs: width, labels: rows, chunk: 128, fanIn: 0, bf16: true };
  const workspace = device.temporary('workspace', [device.kernels.topKWorkspace(shape, k)]);
  const topLabels = new Uint32Array(batch * k);
  const topScores =
    device.precision === 'float32' ? new Float32Array(batch * k) : new Float64Array(batch * k);
  device.kernels.denseTopK({
    ...{ batch, inputs: width, labels: rows, h: questions.data, k, topLabels, topScores },
    ...{ workspace: workspace.data, bias: null, weights: empty },
    bf16: { weights: directions, rounding: { key0: 0, key1: 0, counter: 0 } },
  });
  for (const used of [workspace, questions]) device.release(used);
  return known.map((found, r) => {
    const places = found ? Array.from({ length: k }, (_, i) => r * k + i) : [];
    return places.map((i) => ({ row: topLabels[i], cosine: topScores[i] }));
  });
}

const empty = new Float32Array(0);

type LabelsOfRows = Pick<CsrDatasetParts, 'labelIndptr' | 'labelIds'>;

/** a_i of each vote; they sum to 1. The first is the most alike. */
export function weightsOf(votes: readonly Vote[], temperature: number): number[] {
  const weights = votes.map(({ cosine }) => Math.exp((cosine - votes[0].cosine) / temperature));
  const sum = weights.reduce((all, one) => all + one, 0);
  return weights.map((one) => one / sum);
}

/** Label to the weights of the rows that have it, added up. */
export function sharesOf(
  votes: readonly Vote[],
  { labelIndptr, labelIds }: LabelsOfRows,
  temperature: number,
): Map<number, number> {
  const shares = new Map<number, number>();
  for (const [i, a] of weightsOf(votes, temperature).entries()) {
    const { row } = votes[i];
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++)
      shares.set(labelIds[e], (shares.get(labelIds[e]) ?? 0) + a);
  }
  return shares;
}

function labelsOf(votes: readonly Vote[], { labelIndptr, labelIds }: LabelsOfRows): Set<number> {
  return new Set(votes.flatMap(({ row }) => [...labelIds.subarray(labelIndptr[row], labelIndptr[row + 1])]));
}
