/** What the server's main thread and its workers tell each other. */
import type { ErrorFacts } from '../errors.js';
import type { Highlight } from '../model/evidence.js';
import type { Explanation, LabelFacts } from '../model/explain.js';
import type { ModelInput } from '../model/input.js';
import type { Confidence } from '../model/predict.js';
import type { ExcludedLabels } from '../model/ranking.js';
import type { SharedModel } from '../model/shared-model.js';

/** One request as a worker sees it. */
export interface PredictJob {
  readonly rows: number;
  readonly inputs: readonly ModelInput[];
  readonly k: number;
  /** Labels less sure than this are left out, and not explained. */
  readonly confidence: Confidence;
  /** See `PredictOptions.rare`. */
  readonly rare: number;
  /** See `PredictOptions.exclude`. */
  readonly exclude: ExcludedLabels;
  readonly explain: number;
  readonly evidence: number;
}

export interface HighlightedExplanation extends Explanation {
  readonly highlights: readonly Highlight[];
}

export interface JobAnswer {
  /** Columns of `labels` and `scores`. */
  readonly k: number;
  /** [rows, k] */
  readonly labels: Uint32Array;
  /** [rows, k] */
  readonly scores: Float32Array | Float64Array;
  /** [rows], features of each input that the model knows. */
  readonly known: Uint32Array;
  /** [rows][explain]; empty when nothing was asked. */
  readonly explanations: readonly (readonly HighlightedExplanation[])[];
}

export type ToWorker =
  | { readonly type: 'check'; readonly path: string }
  | { readonly type: 'load'; readonly path: string }
  | { readonly type: 'adopt'; readonly model: SharedModel; readonly threads: number }
  | { readonly type: 'batch'; readonly id: number; readonly jobs: readonly PredictJob[] }
  | { readonly type: 'label'; readonly id: number; readonly label: number; readonly top: number };

export type FromWorker =
  | { readonly type: 'checked' }
  | { readonly type: 'loaded'; readonly model: SharedModel }
  | { readonly type: 'ready'; readonly kernels: string }
  | { readonly type: 'failed'; readonly facts: ErrorFacts }
  | {
      readonly type: 'answer';
      readonly id: number;
      readonly answers: readonly (JobAnswer | ErrorFacts)[] | LabelFacts;
    }
  | { readonly type: 'refused'; readonly id: number; readonly facts: ErrorFacts };
