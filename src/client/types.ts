/** What travels between a served model and those who ask it. The server answers with these very types. */

/** Sparse numbered features: indices below the model's feature count, one finite value each. */
export interface Features {
  readonly indices: readonly number[];
  readonly values: readonly number[];
}

/** Values of a row by the name of their field. */
export type FieldValues = Readonly<Record<string, FieldValue>>;
export type FieldValue = string | number | boolean | null | readonly (string | number)[];

/** One input, or several of the same sort. */
export interface PredictRequest {
  /** Free text, for the first field of the model. */
  readonly text?: string | readonly string[];
  /** Values by the name of their field; what is missing is empty. */
  readonly fields?: FieldValues | readonly FieldValues[];
  readonly features?: Features | readonly Features[];
  /** Labels per input; default 5. */
  readonly k?: number;
  /** Leave out labels below this probability, or score where the model has no probabilities. */
  readonly threshold?: number;
  /**
   * Leave out labels of probabilities at which predictions of labels as frequent were right less often than this, on
   * validation rows; for models with a calibration.
   */
  readonly precision?: number;
  /**
   * Favour labels that were seen rarely in training: 0, the default, to 10. 1 finds more of them at little cost in others.
   */
  readonly rare?: number;
  /**
   * Labels that are no answer, by name or by number, as a product is none to those who have it: the k best of all others are
   * answered. Those that the model does not know are in nobody's way. At most as many as `k` may be; default: none.
   */
  readonly exclude?: readonly (string | number)[];
  /** Say of so many of the best labels why; default 0. */
  readonly explain?: number;
  /** Features and hidden units per explanation; default 10. */
  readonly evidence?: number;
}

export interface PredictedLabel {
  readonly label: number;
  readonly name: string;
  /** Logit. */
  readonly score: number;
  /** Calibrated where the model has a calibration; null where it has none and its loss gives none. */
  readonly probability: number | null;
}

export interface WhyFeature {
  readonly feature: number;
  readonly name: string | null;
  readonly value: number;
  /** In units of the logit. */
  readonly contribution: number;
}

export interface WhyUnit {
  readonly unit: number;
  readonly activation: number;
  readonly weight: number;
  readonly contribution: number;
}

/** A word that an explanation speaks of, where it stands; offsets in UTF-16 units, as in JavaScript strings. */
export interface Highlight {
  readonly field: string;
  readonly start: number;
  readonly end: number;
  /** The features that the word is part of, and what they add together. */
  readonly features: readonly number[];
  readonly contribution: number;
}

/** What remembered rows that are like the input, and have the label, add to its score. */
export interface WhyVotes {
  readonly contribution: number;
  readonly rows: readonly {
    readonly row: number;
    readonly cosine: number;
    readonly contribution: number;
    /** Its strongest features by name; null where features have none. */
    readonly features: readonly string[] | null;
  }[];
}

/** score = base + sum of features (`exact`), and = bias + sum of units, before the weakest are left out; and both votes, labelText and namesake. */
export interface Why {
  readonly label: number;
  readonly name: string;
  readonly score: number;
  readonly base: number;
  readonly bias: number;
  /** `gradient`: contributions of features are exact to first order only. */
  readonly method: 'exact' | 'gradient';
  readonly features: readonly WhyFeature[];
  readonly units: readonly WhyUnit[];
  /** Null where the model remembers no rows. */
  readonly votes: WhyVotes | null;
  /** By rows that are most alike in features; null where such votes do not count. */
  readonly featureVotes: WhyVotes | null;
  /** What is added because the label is called by words of the input; null where that does not count. */
  readonly labelText: number | null;
  /** What is added because the label is called as the input is; null where that does not count. */
  readonly namesake: number | null;
  /** How many there were before the weakest were left out. */
  readonly counts: { readonly features: number; readonly units: number };
  readonly highlights: readonly Highlight[];
}

export interface PredictResult {
  /** Best first: by probability where the model's calibration found that better, else by score; or as `rare` says. */
  readonly predictions: readonly PredictedLabel[];
  /** Present with `threshold` or `precision`: whether nothing was sure enough. */
  readonly none?: boolean;
  /** Features of the input that the model knows: at 0 the answer says only how frequent labels are. */
  readonly knownFeatures: number;
  /** Present when asked for. */
  readonly explanations?: readonly Why[];
}

export interface PredictResponse {
  /** Name of the immutable model directory that answered. */
  readonly model: string;
  /** In the order of the inputs. */
  readonly results: readonly PredictResult[];
}

export interface LabelResponse {
  readonly model: string;
  readonly label: number;
  readonly name: string;
  readonly bias: number;
  readonly connections: readonly { readonly unit: number; readonly weight: number }[];
  readonly connectionCount: number;
  readonly neighbours: readonly { readonly label: number; readonly name: string; readonly cosine: number }[];
}

export interface ModelResponse {
  readonly model: string;
  readonly labels: number;
  readonly features: number;
  /** Kind of the output layer. */
  readonly output: string;
  readonly loss: string;
  /** What a row is made of, the field for free text first; empty for a model of numbered features. */
  readonly fields: readonly { readonly name: string; readonly kind: 'text' | 'category' | 'number' }[];
  /** Whether predictions carry probabilities. */
  readonly probabilities: boolean;
  /** Whether questions may favour rare labels. */
  readonly rare: boolean;
  /** Rows that the model remembers; those most alike an input vote for their labels. */
  readonly remembered: number;
  readonly limits: { readonly k: number; readonly rows: number; readonly bodyBytes: number };
}

export interface HealthResponse {
  readonly status: 'ok' | 'draining';
  readonly model: string;
  readonly loadedAt: string;
  readonly uptimeSeconds: number;
  readonly workers: number;
  readonly queuedRows: number;
  /** The newest try to load a replaced model; null when there was none. A failed one leaves the old model serving. */
  readonly lastReload: {
    readonly ok: boolean;
    readonly at: string;
    readonly model: string | null;
    readonly code: string | null;
    readonly problem: string | null;
  } | null;
}

/** RFC 9457 (once 7807) problem document. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** Stable, upper-case, e.g. `PREDICT_FEATURE`. */
  readonly code: string;
  readonly expected?: string;
  readonly received?: string;
  readonly hint?: string;
  /** Of the request, as in the server's log. */
  readonly requestId?: string;
}
