/**
 * Calibrated probabilities of a model: what `calibration.json` in a model directory holds, and how scores are read by
 * it. A label has a scaling of its own, else that of its bucket by frequency, else the one of all labels.
 */
import { z } from 'zod';
import { BUCKETS } from '../data/statistics.js';
import { EspalierError } from '../errors.js';
import { parsedJson } from '../parsed.js';
import { scaled } from './platt.js';

export const calibrationFile = 'calibration.json';

const scaling = z.strictObject({ slope: z.number().positive(), offset: z.number() });
const count = z.number().int().nonnegative();
const share = z.number().min(0).max(1);
/** The least probability from which predictions were right so often; null: never. */
const threshold = share.nullable();

export const calibrationSchema = z.object({
  format: z.literal('espalier-calibration'),
  version: z.literal(1),
  /** Validation rows, best labels of each, and pairs of them that were right. */
  rows: count,
  perRow: count,
  right: count,
  /** Which scaling of all labels told validation rows best: the loss's own sigmoid, its temperature, or Platt's. */
  method: z.enum(['none', 'temperature', 'platt']),
  all: scaling,
  /** By training frequency; null: that of all labels fits as well. */
  buckets: z.strictObject({ head: scaling.nullable(), torso: scaling.nullable(), tail: scaling.nullable() }),
  /** Index into head, torso, tail of every label, as base64 of bytes. */
  bucketOf: z.base64(),
  /** Labels with at least `leastRight` right predictions among those of validation rows. */
  leastRight: count,
  labels: z.array(z.strictObject({ label: count, slope: z.number().positive(), offset: z.number() })),
  /**
   * What answers are ranked by: probabilities where they put right labels nearer to the front than scores do, on
   * validation rows that the scaling did not see; models from before that was asked rank by score.
   */
  order: z.enum(['score', 'probability']).default('score'),
  /** Ascending by precision. */
  thresholds: z.array(
    z.strictObject({ precision: share, all: threshold, head: threshold, torso: threshold, tail: threshold }),
  ),
  /** Expected calibration error before and after, the latter on rows that the scaling did not see. */
  ece: z.strictObject({ before: share, after: share }),
});
export type CalibrationState = z.infer<typeof calibrationSchema>;

/** Throws `CALIBRATION_STATE` for what is none, or one of other labels. */
export function parseCalibration(text: string, labels: number, file?: string): CalibrationState {
  const state = parsedJson(calibrationSchema, text, (detail) => damaged(detail, file));
  const bytes = Buffer.from(state.bucketOf, 'base64');
  if (bytes.length !== labels || bytes.some((bucket) => bucket >= BUCKETS.length))
    throw damaged(`bucketOf: one bucket for each of ${labels} labels`, file);
  if (state.labels.some(({ label }) => label >= labels)) throw damaged('labels: one is out of range', file);
  return state;
}

function damaged(detail: string, file?: string): EspalierError {
  return new EspalierError({
    code: 'CALIBRATION_STATE',
    kind: 'data',
    op: 'loadClassifier',
    problem: `this is not the calibration of the model: ${detail}`,
    hint: 'the model is damaged or of a newer version: restore it, or train it again',
    file,
  });
}

const made = new WeakMap<CalibrationState, Calibration>();

/** Reads scores by a calibration; made once for each state. */
export class Calibration {
  readonly state: CalibrationState;
  readonly #bucketOf: Uint8Array;
  readonly #own: ReadonlyMap<number, { readonly slope: number; readonly offset: number }>;

  private constructor(state: CalibrationState) {
    this.state = state;
    this.#bucketOf = Buffer.from(state.bucketOf, 'base64');
    this.#own = new Map(state.labels.map(({ label, slope, offset }) => [label, { slope, offset }]));
  }

  static of(state: CalibrationState): Calibration {
    const known = made.get(state);
    if (known !== undefined) return known;
    const calibration = new Calibration(state);
    made.set(state, calibration);
    return calibration;
  }

  probability(label: number, score: number): number {
    return scaled(this.#scalingOf(label), score);
  }

  /** The logit of that probability, which tells labels apart where probabilities are as good as 1. */
  logit(label: number, score: number): number {
    const { slope, offset } = this.#scalingOf(label);
    return slope * score + offset;
  }

  #scalingOf(label: number): { readonly slope: number; readonly offset: number } {
    const bucket = BUCKETS[this.#bucketOf[label]];
    return this.#own.get(label) ?? this.state.buckets[bucket] ?? this.state.all;
  }

  /**
   * The least probability from which predictions of labels like this one were right so often on validation rows;
   * above 1 where they never were. Of the bucket, or of all labels where the bucket does not say.
   */
  threshold(label: number, precision: number): number {
    const row = this.state.thresholds.find((one) => one.precision >= precision - 1e-9);
    if (row === undefined) return Number.POSITIVE_INFINITY;
    const bucket = BUCKETS[this.#bucketOf[label]];
    return row[bucket] ?? row.all ?? Number.POSITIVE_INFINITY;
  }
}

/** The calibration of a model whose label j was map[j]; null where a label is new. */
export function mapCalibration(state: CalibrationState, map: Int32Array): CalibrationState | null {
  if (map.some((from) => from < 0)) return null;
  const old = Buffer.from(state.bucketOf, 'base64');
  const place = new Map(Array.from(map, (from, label) => [from, label]));
  return {
    ...state,
    bucketOf: Buffer.from(Uint8Array.from(map, (from) => old[from])).toString('base64'),
    labels: state.labels.flatMap((one) => {
      const label = place.get(one.label);
      return label === undefined ? [] : [{ ...one, label }];
    }),
  };
}
