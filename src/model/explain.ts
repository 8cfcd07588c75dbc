/**
 * Why a label got its score. The output layer gives logit = bias + sum of weight * hidden unit, exactly. What an
 * input feature adds is value * dlogit/dvalue: exact where the encoder is linear around the input (relu or no
 * activation, no layer norm), so that score = base + sum of contributions; else a first-order reading. Votes of
 * remembered rows, by hidden direction and by features, come on top.
 */
import { Tape } from '../autograd/tape.js';
import type { Connections } from '../output/layer.js';
import type { LoadedModel } from './model-io.js';
import { packRows, type SparseInput } from './predict.js';
import { namesakesOf } from './remembered/namesakes.js';
import type { Vote } from './remembered/postings.js';
import {
  featureSettings,
  type LabelTexts,
  type RememberedRows,
  textSettings,
  type VoteSettings,
} from './remembered/rows.js';
import { featureVotesOf, nearestRows, sharesOf, textVotesOf, weightsOf } from './remembered/votes.js';

export interface FeatureContribution {
  readonly feature: number;
  /** Name of the feature, e.g. `text:cat`; null where features have none. */
  readonly name: string | null;
  readonly value: number;
  /** In units of the logit. */
  readonly contribution: number;
}

export interface UnitContribution {
  /** Input of the output layer. */
  readonly unit: number;
  readonly activation: number;
  readonly weight: number;
  /** weight * activation */
  readonly contribution: number;
}

export interface Explanation {
  readonly label: number;
  readonly score: number;
  /** score - both votes - labelText - namesake - sum over all features: what the label gets whatever the input says of it. */
  readonly base: number;
  /** `exact`: base + sum of contributions, and both votes, labelText and namesake, is the score; `gradient`: to first order. */
  readonly method: 'exact' | 'gradient';
  /** The bias of the label: score = bias + sum over all units + both votes + labelText + namesake. */
  readonly bias: number;
  /** Largest contributions first, by magnitude. */
  readonly features: readonly FeatureContribution[];
  readonly units: readonly UnitContribution[];
  /** What remembered rows add to the score, beside base and features; null where the model remembers none. */
  readonly votes: VoteContribution | null;
  /** What those add that are most alike in features; null where such votes do not count. */
  readonly featureVotes: VoteContribution | null;
  /** What is added because the label is called by words of the input; null where that does not count. */
  readonly labelText: number | null;
  /** What is added because the label is called as the input is; 0 where it is not, null where that does not count. */
  readonly namesake: number | null;
  /** How many features and connected units with a value there were. */
  readonly counts: { readonly features: number; readonly units: number };
}

export interface VoteContribution {
  /** In units of the logit: the sum over `rows`, those that were left out too. */
  readonly contribution: number;
  /** Those of the nearest rows that have the label, the strongest first. */
  readonly rows: readonly {
    /** Number of the row among those that are remembered. */
    readonly row: number;
    readonly cosine: number;
    readonly contribution: number;
    /** Its strongest features by name; null where features have none. */
    readonly features: readonly string[] | null;
  }[];
}

type Explained = Pick<LoadedModel, 'classifier' | 'shape' | 'spec' | 'featurizer' | 'remembered'>;

/**
 * Why each of `labels` got its score for one row: the `top` features and hidden units that weigh most.
 * Empties the step arena.
 *
 * @example const [why] = explainRow(model, { indices: [3, 17], values: [0.6, 0.8] }, [prediction.label], 10);
 */
export function explainRow(
  model: Explained,
  row: SparseInput,
  labels: readonly number[],
  top: number,
): Explanation[] {
  const { classifier, remembered } = model;
  const { device, output } = classifier;
  const batch = packRows([row], model.shape.features);
  device.arena.reset();
  const nearest = remembered && nearestRows(device, classifier.infer(batch), remembered)[0];
  const voters = remembered && nearest && votersOf(nearest, remembered.settings);
  const featureVoters =
    remembered?.postings &&
    votersOf(featureVotesOf(remembered, batch, 0), featureSettings(remembered.settings));
  const byTexts = remembered?.texts ? textShares(remembered, remembered.texts, batch) : null;
  const called = remembered?.names ? namesakesOf(remembered.names, batch, 0) : null;
  const table = tableOf(model);
  const parameters = [...classifier.namedParameters()].map(([, parameter]) => parameter);
  // Only the table's gradient is wanted; those of dense weights have no room in a model for prediction.
  for (const parameter of parameters) parameter.requiresGrad = parameter === table;
  try {
    return labels.map((label) => {
      device.arena.reset();
      const connections = output.connections(label);
      const tape = new Tape(device);
      const h = classifier.widen(classifier.encode(batch, tape, false), tape, false);
      const units = unitsOf(connections, h.data);
      let score = connections.bias;
      for (const { contribution } of units) score += contribution;
      const seed = device.temporary('gradients', h.shape);
      seed.data.fill(0);
      for (let i = 0; i < connections.inputs.length; i++)
        seed.data[connections.inputs[i]] = connections.weights[i];
      const features = batch.nnz === 0 ? [] : featuresOf(model, row, tape, h, seed);
      const sum = features.reduce((total, { contribution }) => total + contribution, 0);
      const votes = voters && votesFor(model, label, voters, top);
      const featureVotes = featureVoters ? votesFor(model, label, featureVoters, top) : null;
      const namesake = called && (called.includes(label) ? (remembered?.settings.namesake ?? 0) : 0);
      const labelText = byTexts && (byTexts.get(label) ?? 0);
      const ofRows = (votes?.contribution ?? 0) + (featureVotes?.contribution ?? 0);
      return {
        label,
        score: score + ofRows + (labelText ?? 0) + (namesake ?? 0),
        base: score - sum,
        method: isPiecewiseLinear(model) ? 'exact' : 'gradient',
        bias: connections.bias,
        features: strongest(features, top),
        units: strongest(units, top),
        votes,
        featureVotes,
        labelText,
        namesake,
        counts: { features: features.length, units: units.length },
      };
    });
  } finally {
    for (const parameter of parameters) {
      parameter.requiresGrad = true;
      parameter.zeroGrad();
    }
    device.arena.reset();
  }
}

/** Label to what is added for words that it is called by. */
function textShares(
  remembered: RememberedRows,
  texts: LabelTexts,
  batch: ReturnType<typeof packRows>,
): Map<number, number> {
  const { temperature, weight } = textSettings(remembered.settings);
  const shares = sharesOf(textVotesOf(remembered, batch, 0), texts.examples, temperature);
  return new Map([...shares].map(([label, share]) => [label, weight * share]));
}

function tableOf({ classifier }: Explained) {
  for (const [name, parameter] of classifier.namedParameters())
    if (name === 'encoder.layers.0.weight') return parameter;
  throw new Error('a classifier begins with an embedding bag');
}

function unitsOf({ inputs, weights }: Connections, h: ArrayLike<number>): UnitContribution[] {
  const units: UnitContribution[] = [];
  for (let i = 0; i < inputs.length; i++) {
    const activation = h[inputs[i]];
    if (activation === 0 || weights[i] === 0) continue;
    units.push({ unit: inputs[i], activation, weight: weights[i], contribution: weights[i] * activation });
  }
  return units;
}

type Hidden = ReturnType<LoadedModel['classifier']['infer']>;

/** The row's gradient of the table is value * dlogit/d(sum), row by row: its product with the row is the rest. */
function featuresOf(
  model: Explained,
  row: SparseInput,
  tape: Tape,
  h: Hidden,
  seed: Hidden,
): FeatureContribution[] {
  const table = tableOf(model);
  table.zeroGrad();
  tape.backward(h, seed);
  const gradient = table.rowGradient;
  if (gradient === null) return [];
  const dim = table.shape[1];
  const values = new Map<number, number>();
  for (let e = 0; e < row.indices.length; e++) {
    values.set(row.indices[e], (values.get(row.indices[e]) ?? 0) + row.values[e]);
  }
  const found: FeatureContribution[] = [];
  for (let t = 0; t < gradient.count; t++) {
    const feature = gradient.rows[t];
    let contribution = 0;
    for (let j = 0; j < dim; j++)
      contribution += gradient.values.data[t * dim + j] * table.data[feature * dim + j];
    const name = featureName(model, feature);
    found.push({ feature, name, value: values.get(feature) ?? 0, contribution });
  }
  return found;
}

const featureNames = new WeakMap<object, readonly string[]>();

function featureName({ featurizer }: Explained, feature: number): string | null {
  if (featurizer === null) return null;
  let names = featureNames.get(featurizer);
  if (names === undefined) {
    names = featurizer.featureNames();
    featureNames.set(featurizer, names);
  }
  return names[feature] ?? null;
}

/** The features by which a remembered row is told. */
const featuresOfRow = 8;

interface Voter extends Vote {
  readonly contribution: number;
}

function votersOf(
  votes: readonly Vote[],
  { temperature, weight }: Pick<VoteSettings, 'temperature' | 'weight'>,
): Voter[] {
  const shares = weightsOf(votes, temperature);
  return votes.map((vote, i) => ({ ...vote, contribution: weight * shares[i] }));
}

function votesFor(
  model: Explained,
  label: number,
  voters: readonly Voter[],
  top: number,
): VoteContribution | null {
  if (model.remembered === null) return null;
  const { examples } = model.remembered;
  const { labelIndptr, labelIds, indptr, indices, values } = examples;
  const rows = voters.filter(({ row }) =>
    labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]).includes(label),
  );
  const namesOf = (row: number) =>
    Array.from({ length: indptr[row + 1] - indptr[row] }, (_, i) => indptr[row] + i)
      .sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]))
      .slice(0, featuresOfRow)
      .map((entry) => featureName(model, indices[entry]) ?? String(indices[entry]));
  return {
    contribution: rows.reduce((sum, { contribution }) => sum + contribution, 0),
    rows: strongest(rows, top).map((vote) => ({
      ...vote,
      features: model.featurizer === null ? null : namesOf(vote.row),
    })),
  };
}

function isPiecewiseLinear({ spec: { encoder, output } }: Explained): boolean {
  const middle = 'intermediate' in output ? (output.intermediate?.activation ?? 'none') : 'none';
  return !encoder.layerNorm && encoder.activation !== 'gelu' && middle !== 'gelu';
}

function strongest<T extends { readonly contribution: number }>(all: readonly T[], top: number): T[] {
  return all.toSorted((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution)).slice(0, top);
}

export interface LabelFacts {
  readonly label: number;
  readonly bias: number;
  /** Incoming connections, largest weights first, by magnitude. */
  readonly connections: readonly { readonly unit: number; readonly weight: number }[];
  readonly connectionCount: number;
  /** Labels whose weights point the same way, most alike first. */
  readonly neighbours: readonly { readonly label: number; readonly cosine: number }[];
}

// Candidates come from one pass of top-k over w_m . w_l + bias_m, then the cosine decides.
const candidates = 512;

/** What a label is made of: its connections, and the labels most alike. Empties the step arena. */
export async function describeLabel(
  { classifier, shape }: Pick<LoadedModel, 'classifier' | 'shape'>,
  label: number,
  top: number,
): Promise<LabelFacts> {
  const { output, device } = classifier;
  const own = output.connections(label);
  device.arena.reset();
  const h = device.temporary('activations', [1, output.inputs]);
  h.data.fill(0);
  for (let i = 0; i < own.inputs.length; i++) h.data[own.inputs[i]] = own.weights[i];
  const dense = Float64Array.from(h.data);
  const best = await output.topK(h, Math.min(candidates, shape.labels));
  const neighbours = [...best.labels]
    .filter((other) => other !== label && other < shape.labels)
    .map((other) => ({ label: other, cosine: cosine(dense, output.connections(other)) }))
    .sort((a, b) => b.cosine - a.cosine || a.label - b.label)
    .slice(0, top);
  device.arena.reset();
  const connections = [...own.inputs]
    .map((unit, i) => ({ unit, weight: own.weights[i] }))
    .sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .slice(0, top);
  return { label, bias: own.bias, connections, connectionCount: own.inputs.length, neighbours };
}

function cosine(a: Float64Array, { inputs, weights }: Connections): number {
  let product = 0;
  let squares = 0;
  for (let i = 0; i < inputs.length; i++) {
    product += a[inputs[i]] * weights[i];
    squares += weights[i] ** 2;
  }
  const norm = Math.sqrt(squares * a.reduce((sum, x) => sum + x * x, 0));
  return norm === 0 ? 0 : product / norm;
}
