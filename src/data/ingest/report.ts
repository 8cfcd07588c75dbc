/** What was found in a file: counts, faults with their places, the long tail, and settings to begin with. */
import type { DatasetInfo } from '../cache.js';
import type { Notice } from '../readers/index.js';
import { type LabelBuckets, labelBuckets } from '../statistics.js';
import { tailCurve } from './long-tail.js';

export interface Suggestion {
  /** For `espalier train --set`. */
  readonly set: string;
  readonly why: string;
}

export interface IngestReport {
  readonly rows: {
    readonly read: number;
    readonly kept: number;
    readonly unlabelled: number;
    readonly empty: number;
    readonly labelless: number;
  };
  readonly duplicates: { readonly rows: number; readonly acrossTest: number; readonly exact: boolean };
  readonly splits: Readonly<
    Record<string, { readonly rows: number; readonly labelsPerRow: number; readonly featuresPerRow: number }>
  >;
  readonly features: number;
  /** Words, n-grams and category values read, by occurrence, and how many of them the vocabulary does not have. */
  readonly terms: { readonly read: number; readonly unknown: number };
  /** What was taken over from an earlier dataset or model; null where all was learnt from these rows. */
  readonly like: {
    readonly labels: number;
    readonly newLabels: number;
    /** Rows that vocabulary and document frequencies were fitted on, and stay. */
    readonly fittedRows: number;
  } | null;
  readonly labels: {
    readonly count: number;
    /** Left out: of too few training rows, or of test rows only. */
    readonly rare: number;
    readonly testOnly: number;
    /** With a text in the file of these; null: there is none. */
    readonly withText: number | null;
    /** By training rows. */
    readonly once: number;
    readonly most: number;
    readonly multiClass: boolean;
    readonly buckets: Pick<LabelBuckets, 'labels' | 'positives' | 'tailAtMost' | 'torsoAtMost'>;
    readonly curve: readonly { readonly rank: number; readonly rows: number }[];
  };
  readonly notices: readonly Notice[];
  readonly hints: readonly string[];
  readonly suggestions: readonly Suggestion[];
}

export interface ReportFacts {
  readonly rows: number;
  readonly unlabelled: number;
  readonly empty: number;
  readonly labelless: number;
  readonly duplicates: IngestReport['duplicates'];
  readonly splits: Partial<DatasetInfo['splits']>;
  readonly features: number;
  /** Training rows of each label. [labels] */
  readonly frequencies: Uint32Array;
  readonly rareLabels: number;
  readonly testOnlyLabels: number;
  readonly labelTexts: number | null;
  readonly notices: readonly Notice[];
  readonly likelySeparator: string | undefined;
  readonly terms: IngestReport['terms'];
  readonly like: IngestReport['like'];
}

export function makeReport(facts: ReportFacts): IngestReport {
  const { frequencies, features, duplicates, rows, unlabelled, empty, labelless } = facts;
  const splits = Object.fromEntries(
    Object.entries(facts.splits).map(([split, { rows: n, nnz, positives }]) => [
      split,
      { rows: n, labelsPerRow: positives / n, featuresPerRow: nnz / n },
    ]),
  );
  const stored = Object.values(facts.splits);
  const kept = stored.reduce((sum, split) => sum + split.rows, 0);
  const multiClass = stored.every((split) => split.positives === split.rows);
  const { labels, positives, tailAtMost, torsoAtMost } = labelBuckets(frequencies);
  return {
    rows: { read: rows, kept, unlabelled, empty, labelless },
    duplicates,
    splits,
    features,
    terms: facts.terms,
    like: facts.like,
    labels: {
      count: frequencies.length,
      rare: facts.rareLabels,
      testOnly: facts.testOnlyLabels,
      withText: facts.labelTexts,
      once: frequencies.reduce((n, f) => n + (f === 1 ? 1 : 0), 0),
      most: frequencies.reduce((most, f) => Math.max(most, f), 0),
      multiClass,
      buckets: { labels, positives, tailAtMost, torsoAtMost },
      curve: tailCurve(frequencies),
    },
    notices: facts.notices,
    hints: hintsOf(facts, kept),
    suggestions: suggestSettings({
      rows: facts.splits.train?.rows ?? 0,
      labels: frequencies.length,
      features,
    }),
  };
}

function hintsOf(
  { likelySeparator, duplicates, rows, unlabelled, empty }: ReportFacts,
  kept: number,
): string[] {
  const hints: string[] = [];
  if (likelySeparator !== undefined) {
    hints.push(
      `many labels hold ${JSON.stringify(likelySeparator)}: if it separates labels, add --label-separator ${JSON.stringify(likelySeparator)}`,
    );
  }
  if (duplicates.acrossTest > 0.01 * kept) {
    hints.push(
      'equal rows stand on both sides of the test split, so test scores will flatter: without --id the split keeps equal rows together',
    );
  }
  if (unlabelled > 0.2 * rows)
    hints.push('more than a fifth of the rows have no labels: is --labels the right column?');
  if (empty > 0.05 * rows)
    hints.push('more than one row in twenty has no known word: is --text the right column?');
  return hints;
}

/** About as many steps of 64 rows as the quickstart makes on 100,000 rows. */
const ROWS_TO_SEE = 400_000;

/** Settings to begin with; the plan (`espalier plan`) says what they cost. */
export function suggestSettings({
  rows,
  labels,
  features,
}: {
  readonly rows: number;
  readonly labels: number;
  readonly features: number;
}): Suggestion[] {
  const number = (n: number) => n.toLocaleString('en');
  const epochs = Math.max(2, Math.min(40, Math.round(ROWS_TO_SEE / Math.max(1, rows))));
  const output: Suggestion =
    labels <= 5000
      ? { set: 'model.output.kind=dense', why: `${number(labels)} labels are few enough for a dense layer` }
      : {
          set: 'model.output.fanIn=128',
          why: `${number(labels)} labels with 128 connections each, instead of all`,
        };
  const wide = features * 512 * 4 > 2 ** 28;
  return [
    output,
    { set: `epochs=${epochs}`, why: `${number(rows)} training rows` },
    ...(wide
      ? [
          {
            set: 'model.encoder.embedding=256',
            why: `the table of ${number(features)} features is what takes memory`,
          },
        ]
      : []),
    ...(rows > 1_000_000 ? [{ set: 'batch=256', why: 'many rows: larger steps' }] : []),
  ];
}
