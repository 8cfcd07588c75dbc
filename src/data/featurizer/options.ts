/** What turns the columns of a row into features, as data: validated once, stored with every dataset and model. */
import { z } from 'zod';
import { EspalierError, suggest } from '../../errors.js';
import { type WordRule, wordRuleDefaults } from '../text/rule.js';

const names = z.array(z.string().min(1)).default([]);
const positiveInteger = z.number().int().positive();

const wordRule = {
  words: z.enum(['segmenter', 'ascii']).default(wordRuleDefaults.words),
  normalize: z.enum(['NFKC', 'NFC', 'none']).default(wordRuleDefaults.normalize),
  lowerCase: z.boolean().default(wordRuleDefaults.lowerCase),
  foldAccents: z.boolean().default(wordRuleDefaults.foldAccents),
  minLength: z.number().int().min(1).max(64).default(wordRuleDefaults.minLength),
  stopWords: z.array(z.string()).default([...wordRuleDefaults.stopWords]),
};

const vocabulary = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('terms'),
    /** Terms of fewer rows are left out. */
    minDocuments: positiveInteger.default(2),
    /** Terms of a larger share of the rows are left out. */
    maxDocumentShare: z.number().gt(0).max(1).default(1),
    /** The most frequent terms are kept. */
    maxFeatures: positiveInteger.max(2 ** 27).default(2 ** 17),
  }),
  /** 2^bits features, several terms to each: needs no vocabulary. */
  z.strictObject({ kind: z.literal('hashed'), bits: z.number().int().min(4).max(24).default(18) }),
]);

export const featurizerOptions = z
  .strictObject({
    /** Columns of text; the first one takes a text that comes without a column. */
    text: names,
    /** Columns of numbers: standardised, one feature each. */
    numeric: names,
    /** Columns of a few values: one feature for each value. */
    categorical: names,
    ...wordRule,
    /** Runs of 1 to so many words. */
    wordNGrams: z.number().int().min(1).max(5).default(1),
    /** Runs of characters within a word and the blanks around it; null: none. */
    characterNGrams: z
      .strictObject({ min: z.number().int().min(1).max(8), max: z.number().int().min(1).max(8) })
      .refine(({ min, max }) => min <= max, 'min must not be above max')
      .nullable()
      .default(null),
    /** A word is the same feature in every text column. */
    shareColumns: z.boolean().default(false),
    vocabulary: z
      .preprocess(
        (v) =>
          typeof v === 'object' && v !== null && !Object.hasOwn(v, 'kind') ? { kind: 'terms', ...v } : v,
        vocabulary,
      )
      .prefault({}),
    weights: z.enum(['tf-idf', 'bm25', 'count']).default('tf-idf'),
    /** 1 + ln tf instead of tf, for tf-idf and counts. */
    sublinear: z.boolean().default(true),
    bm25: z
      .strictObject({ k1: z.number().min(0).default(1.2), b: z.number().min(0).max(1).default(0.75) })
      .prefault({}),
    /** Scales the text features of each row to unit norm. */
    norm: z.enum(['l2', 'none']).default('l2'),
    numericWeight: z.number().default(0.25),
    categoricalWeight: z.number().default(0.5),
  })
  .superRefine(({ text, numeric, categorical }, context) => {
    const all = [...text, ...numeric, ...categorical];
    if (all.length === 0) context.addIssue('there must be a column');
    if (all.length > 100) context.addIssue('there are more than 100 columns');
    if (new Set(all).size < all.length) context.addIssue('a column is named twice');
  });

export type FeaturizerOptions = z.infer<typeof featurizerOptions> & WordRule;
export type FeaturizerOptionsInput = z.input<typeof featurizerOptions>;

/** The options in full; throws `FEATURIZER_OPTIONS` with the path of what does not fit. */
export function checkFeaturizerOptions(input: unknown): FeaturizerOptions {
  const parsed = featurizerOptions.safeParse(input);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const near = unknown === undefined ? undefined : suggest(unknown, Object.keys(featurizerOptions.shape));
  throw new EspalierError({
    code: 'FEATURIZER_OPTIONS',
    kind: 'usage',
    op: 'Featurizer',
    problem: `the settings of the featurizer do not fit: ${issue.path.join('.') || 'columns'}: ${issue.message}`,
    hint: near === undefined ? undefined : `did you mean ${near}?`,
  });
}

/** Where the terms of a column belong; sections are what keeps equal words of two columns apart. */
export interface Section {
  readonly kind: 'word' | 'characters' | 'category';
  readonly column: string;
}

/** All sections by number: words and characters of each text column, then each categorical column. */
export function sectionsOf({ text, categorical, shareColumns }: FeaturizerOptions): Section[] {
  const columns = shareColumns && text.length > 0 ? [text.join('+')] : text;
  return [
    ...columns.flatMap((column): Section[] => [
      { kind: 'word', column },
      { kind: 'characters', column },
    ]),
    ...categorical.map((column): Section => ({ kind: 'category', column })),
  ];
}
