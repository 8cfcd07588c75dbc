/** What a run tells while it works: the same records go to the run log, the progress line and the API's callback. */

import type { Bucket } from '../data/statistics.js';
import type { GradientCosine } from '../methods/block-sparse/saved-activations.js';
import type { BucketFigures, TopKReport } from '../metrics/top-k.js';
import type { LayerEvent } from '../output/layer.js';
import type { BytesByTag } from '../tensor/memory.js';
import type { OutputChoice } from './open-output.js';
import type { ModelSnapshot } from './snapshot.js';

/** Figures by cut-off, in percent as tables print them: `precision['1']` is P@1. */
export interface Scores {
  readonly rows: number;
  readonly precision: Readonly<Record<string, number>>;
  readonly ndcg: Readonly<Record<string, number>>;
  readonly psp: Readonly<Record<string, number>>;
  /** By frequency of labels in training, then by cut-off: `buckets.tail['5'].recall`. */
  readonly buckets?: Readonly<Record<Bucket, Readonly<Record<string, BucketFigures>>>>;
}

export function scoresOf(report: TopKReport): Scores {
  const byK = (value: (at: TopKReport['at'][number]) => number | undefined) =>
    Object.fromEntries(report.at.map((at) => [at.k, 100 * (value(at) ?? Number.NaN)]));
  return {
    rows: report.rows,
    precision: byK((at) => at.precision.value),
    ndcg: byK((at) => at.ndcg.value),
    psp: byK((at) => at.psp?.value),
    ...(report.at[0]?.buckets && { buckets: bucketScores(report) }),
  };
}

function bucketScores(report: TopKReport): Scores['buckets'] {
  const percent = ({ precision, recall, contribution }: BucketFigures): BucketFigures => ({
    precision: 100 * precision,
    recall: 100 * recall,
    contribution: 100 * contribution,
  });
  const of = (name: Bucket) =>
    Object.fromEntries(report.at.flatMap(({ k, buckets }) => (buckets ? [[k, percent(buckets[name])]] : [])));
  return { head: of('head'), torso: of('torso'), tail: of('tail') };
}

export interface StartReport {
  /** The immutable directory that was started from. */
  readonly model: string;
  readonly mode: 'continue' | 'share';
  readonly labels: {
    readonly kept: number;
    readonly added: number;
    readonly dropped: number;
    /** Of those added, the ones that no training row shows. */
    readonly addedWithoutRows: number;
  };
  readonly features: { readonly kept: number; readonly added: number; readonly dropped: number };
  /** Rows that vocabulary and document frequencies were fitted on; null for numbered features. */
  readonly fittedRows: number | null;
  /** Only what was added learns. */
  readonly learns?: 'new';
}

export interface AuxiliaryProgress {
  /** Weight of its loss. */
  readonly lambda: number;
  /** Mean over examples, summed over clusters. */
  readonly loss: number;
  /** Norms of the two gradients that meet at the encoder's output, weights of the losses included. */
  readonly mainNorm: number;
  readonly auxiliaryNorm: number;
}

export type TrainEvent =
  | {
      readonly event: 'start';
      readonly kernels: string;
      readonly threads: number;
      readonly rows: number;
      /** Rows that labels' names make beside these, where the settings ask for them. */
      readonly labelRows?: number;
      readonly features: number;
      readonly labels: number;
      readonly steps: number;
      readonly resumedAt: number;
      readonly plannedBytes: number;
      readonly weights: number;
    }
  /** The output layer, where the settings left it open. */
  | ({ readonly event: 'output-chosen' } & OutputChoice)
  /** What was taken over from a saved model. */
  | ({ readonly event: 'continued' } & StartReport)
  | {
      /** Labels in clusters, for the auxiliary objective. */
      readonly event: 'clusters';
      readonly clusters: number;
      /** Labels of the largest cluster. */
      readonly largest: number;
      /** Mean cosine between a label and the centre of its cluster. */
      readonly similarity: number | null;
      /** Labels that no training row describes. */
      readonly withoutFeatures: number;
      readonly seconds: number;
    }
  | {
      readonly event: 'progress';
      readonly step: number;
      readonly steps: number;
      readonly epoch: number;
      readonly epochs: number;
      /** Mean over the steps since the last progress event, or since where the run was resumed. */
      readonly loss: number;
      /** How many steps these are: a log without gap or repeat counts every step once. */
      readonly lossSteps: number;
      readonly rate: number;
      /** Norm of the gradient that reached the encoder, last step. */
      readonly encoderNorm: number;
      /** The auxiliary objective while it lasts: its loss a mean like `loss`, the rest of the last step. */
      readonly auxiliary: AuxiliaryProgress | null;
      readonly examplesPerSecond: number;
      readonly etaSeconds: number;
      readonly rssBytes: number;
    }
  | ({ readonly event: 'validation'; readonly step: number; readonly epoch: number } & Scores)
  | {
      /** Labels that learnt alone, moved to the level of the others. */
      readonly event: 'labels-levelled';
      readonly step: number;
      /** Added to their logits; null where too few validation rows show them. */
      readonly by: number | null;
      /** Points of P@1 that rows without a new label lose to new ones. */
      readonly lost: number;
      /** Validation rows. */
      readonly rows: number;
    }
  /** The model that is kept is that of an earlier scoring. */
  | {
      readonly event: 'best';
      readonly step: number;
      /** Steps after which it was scored. */
      readonly keptStep: number;
      readonly epoch: number;
      /** P@1, percent. */
      readonly value: number;
    }
  | {
      readonly event: 'rewire';
      readonly step: number;
      readonly replaced: number;
      readonly connections: number;
      readonly threshold: number | null;
      /** Share of all possible connections ever tried, over a sample of labels. */
      readonly explored: number;
    }
  /** What each tag of memory held at the worst moment since the last such record. */
  | {
      readonly event: 'memory';
      readonly step: number;
      readonly bytes: BytesByTag;
      readonly rssBytes: number;
    }
  | ({ readonly event: 'snapshot'; readonly step: number } & ModelSnapshot)
  /** Between the gradients of a layer's weights from its pruned and from its dense input. */
  | ({ readonly event: 'gradient-cosine'; readonly step: number } & GradientCosine)
  | {
      readonly event: 'calibration';
      readonly step: number;
      readonly method: 'none' | 'temperature' | 'platt';
      /** Expected calibration error, in [0, 1]; after: on rows that the scaling did not see. */
      readonly before: number;
      readonly after: number;
      readonly pairs: number;
      /** Buckets and labels with a scaling of their own. */
      readonly buckets: readonly string[];
      readonly labels: number;
    }
  | ({ readonly event: 'layer'; readonly step: number } & LayerEvent)
  | { readonly event: 'checkpoint'; readonly step: number; readonly path: string }
  /** A damaged checkpoint, passed over on the way back to a sound one. */
  | {
      readonly event: 'checkpoint-damaged';
      readonly step: number;
      readonly path: string;
      readonly problem: string;
    }
  | {
      readonly event: 'end';
      readonly step: number;
      readonly seconds: number;
      readonly examplesPerSecond: number;
      readonly bytes: BytesByTag;
      readonly accountedPeak: number;
      readonly peakRss: number;
      /** Resident bytes before anything of the run was made. */
      readonly baseRss: number;
      readonly model: string;
    };
