/** What is known of a run, as JSON: the CLI prints it, the dashboard draws it. Imports nothing, so that pages can. */

/** A number that is absent or not finite is null. */
export type Figure = number | null;

/** Records in order, several of them as one where there were too many: then `low` and `high` tell their range. */
export interface Table {
  /** Records per entry. */
  readonly stride: number;
  /** Of the last record of each entry. */
  readonly step: readonly number[];
  readonly epoch: readonly Figure[];
  /** Seconds at work since the run began, pauses between processes taken out. */
  readonly seconds: readonly number[];
  readonly columns: Readonly<
    Record<
      string,
      { readonly mean: readonly Figure[]; readonly low: readonly Figure[]; readonly high: readonly Figure[] }
    >
  >;
}

/** By cut-off: `{ "1": 32.7 }`, in percent. */
export type ByK = Readonly<Record<string, Figure>>;
export type Bucket = 'head' | 'torso' | 'tail';
export const buckets: readonly Bucket[] = ['head', 'torso', 'tail'];

export interface BucketScores {
  /** Of the predictions that name labels of the bucket, the share that is right; percent. */
  readonly precision: Figure;
  /** Of the true labels of the bucket, the share that was found; percent. */
  readonly recall: Figure;
  /** What the bucket adds to P@k; percent. */
  readonly contribution: Figure;
}

export interface Validation {
  readonly step: number;
  readonly epoch: Figure;
  readonly seconds: number;
  readonly rows: Figure;
  readonly precision: ByK;
  readonly ndcg: ByK;
  readonly psp: ByK;
  readonly buckets: Readonly<Record<Bucket, Readonly<Record<string, BucketScores>>>> | null;
}

/** Equal bins of [from, to]; shares of all values. */
export interface Bins {
  readonly from: number;
  readonly to: number;
  readonly shares: readonly number[];
}

export interface Snapshot {
  readonly step: number;
  readonly weights: readonly (Bins & {
    readonly name: string;
    readonly zeros: Figure;
    readonly rms: Figure;
  })[];
  readonly inDegree:
    | (Bins & {
        readonly units: number;
        readonly unconnected: number;
        readonly mean: number;
        readonly median: number;
        readonly topTenth: number;
      })
    | null;
}

/** Gates of one layer: the share that is open, and where their values lie in [0, 1]. */
export interface GateRecord {
  readonly step: number;
  readonly epoch: Figure;
  readonly layers: readonly {
    readonly name: string;
    readonly kept: number;
    readonly of: number;
    readonly shares: readonly number[] | null;
  }[];
}

export interface Named {
  readonly label: number;
  readonly name: string;
}

/** A split scored once, with what a person wants to see of it. */
export interface Evaluation {
  readonly split: string;
  readonly rows: number;
  /** Name of the model directory that was scored. */
  readonly model: string;
  readonly at: readonly {
    readonly k: number;
    readonly precision: Interval;
    readonly ndcg: Interval;
    readonly psp: Interval | null;
    readonly buckets: Readonly<Record<Bucket, BucketScores>> | null;
  }[];
  readonly confusion: Confusion | null;
  readonly samples: readonly Sample[];
}

/** Percent, with the ends of the 95 % interval. */
export interface Interval {
  readonly value: Figure;
  readonly low: Figure;
  readonly high: Figure;
}

/** First predictions that are wrong: what they should have been. */
export interface Confusion {
  /** Rows whose first prediction is wrong. */
  readonly wrongRows: number;
  /** Most frequent pairs first; a row with several true labels counts for each of them. */
  readonly pairs: readonly {
    readonly truth: Named;
    readonly predicted: Named;
    readonly count: number;
    /** Between the weights of the two labels; null where they have none. */
    readonly cosine: Figure;
  }[];
  /** Labels of the most confused pairs, alike ones together. */
  readonly labels: readonly Named[];
  /** counts[t][p]: rows with label t whose first prediction was p. */
  readonly counts: readonly (readonly number[])[];
}

export interface Sample {
  /** null where the dataset has no readable rows. */
  readonly text: string | null;
  readonly truth: readonly Named[];
  readonly predictions: readonly (Named & {
    readonly score: Figure;
    readonly probability: Figure;
    readonly right: boolean;
  })[];
}

export type RunStatus = 'waiting' | 'running' | 'finished' | 'stopped';

export interface RunSummary {
  /** Of this listing, short: made from the path. */
  readonly id: string;
  readonly name: string;
  readonly directory: string;
  readonly status: RunStatus;
  /** How much of the log has been read, in [0, 1]. */
  readonly readShare: number;
  /** Of the last record, milliseconds since 1970. */
  readonly updated: Figure;
  /** What is wrong with the files, in words. */
  readonly problems: readonly string[];
  readonly output: string | null;
  readonly kernels: string | null;
  readonly threads: Figure;
  readonly rows: Figure;
  readonly features: Figure;
  readonly labels: Figure;
  /** Learnt numbers. */
  readonly weights: Figure;
  readonly step: Figure;
  readonly steps: Figure;
  readonly epoch: Figure;
  readonly epochs: Figure;
  readonly loss: Figure;
  /** At work, over all processes. */
  readonly seconds: Figure;
  readonly examplesPerSecond: Figure;
  readonly etaSeconds: Figure;
  /** The last validation. */
  readonly precision: ByK | null;
  readonly psp: ByK | null;
  readonly plannedBytes: Figure;
  readonly rssBytes: Figure;
  /** Accounted. */
  readonly peakBytes: Figure;
  readonly peakByTag: Readonly<Record<string, number>> | null;
  readonly peakRssBytes: Figure;
  /** Of all files of the model. */
  readonly modelBytes: Figure;
}

export interface RunReport extends RunSummary {
  /** As `config.json` says. */
  readonly config: unknown;
  /** Records by event. */
  readonly events: Readonly<Record<string, number>>;
  /** loss, rate, encoderNorm, auxiliaryLoss, examplesPerSecond, rssBytes */
  readonly progress: Table;
  readonly validations: readonly Validation[];
  /** replacedShare and explored, in [0, 1] */
  readonly rewires: Table;
  /** Bytes by tag. */
  readonly memory: Table;
  readonly snapshots: readonly Snapshot[];
  readonly gates: readonly GateRecord[];
  readonly evaluations: readonly Evaluation[];
}

/** A progress record as it comes in. */
export interface LivePoint {
  readonly step: number;
  readonly epoch: Figure;
  readonly seconds: number;
  readonly values: Readonly<Record<string, Figure>>;
}
