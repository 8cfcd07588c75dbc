/** How a file of the user's own becomes a dataset. */
import type { Featurizer } from '../featurizer/featurizer.js';
import type { FeaturizerOptionsInput } from '../featurizer/options.js';
import type { DataFormat } from '../readers/index.js';

export interface IngestOptions {
  /** Rows to train on, and, unless they have files of their own, to validate and test on. */
  readonly from: string;
  readonly validation?: string;
  readonly test?: string;
  /** Columns whose values are labels: a list, a text, or texts with `labelSeparator` between them. */
  readonly labels: readonly string[];
  readonly labelSeparator?: string;
  /** Columns that are labels themselves, where their value is true, 1 or yes. */
  readonly indicators?: readonly string[];
  /** File of what labels mean in words, columns `label` and `text`, for `labelRows` in training; default: their names. */
  readonly labelTexts?: string;
  readonly text?: readonly string[];
  readonly numeric?: readonly string[];
  readonly categorical?: readonly string[];
  /** Featurizer and labels of an earlier dataset or model, which are kept; labels that are new come behind them. */
  readonly like?: { readonly featurizer: Featurizer; readonly labels: readonly string[] };
  /** Settings of the featurizer beside its columns. */
  readonly featurizer?: Omit<FeaturizerOptionsInput, 'text' | 'numeric' | 'categorical'>;
  /** The split of a row hangs on the hash of this column; default: of the row, so that equal rows stay together. */
  readonly id?: string;
  /** Column that says train, validation or test. */
  readonly splitColumn?: string;
  readonly validationShare?: number;
  readonly testShare?: number;
  /** Labels of fewer rows are left out. */
  readonly minLabelRows?: number;
  /** So many rows that cannot be read are left out; one more is an error. */
  readonly maxBadRows?: number;
  readonly format?: DataFormat;
  readonly delimiter?: string;
  /** false: quotes of CSV are characters like any other. */
  readonly quotes?: boolean;
  /** Names of the columns of a CSV file without a header line. */
  readonly columns?: readonly string[];
  /** 0: all cores. */
  readonly threads?: number;
  /** Bytes for counting terms; what does not fit goes to files beside the dataset. */
  readonly memory?: number;
  readonly name?: string;
  readonly origin?: string;
  readonly licence?: string;
  readonly onProgress?: (progress: IngestProgress) => void;
}

export interface IngestProgress {
  readonly stage: 'counting' | 'featurizing' | 'writing';
  readonly file: string;
  readonly rows: number;
  /** 0 to 1, of this stage and file. */
  readonly share: number;
}

export const ingestDefaults = {
  validationShare: 0.1,
  testShare: 0.1,
  minLabelRows: 1,
  maxBadRows: 0,
  threads: 0,
  memory: 2 ** 29,
} as const;
