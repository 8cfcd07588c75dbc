/** `featurizer.json`: a featurizer as text. Counts are whole numbers, so a stored featurizer is exact. */
import { z } from 'zod';
import { EspalierError } from '../../errors.js';
import { parsedJson } from '../../parsed.js';
import { fnv, mixHash, TermTable } from '../text/term-table.js';
import type { FittedFacts } from './featurizer.js';
import { type FeaturizerOptions, featurizerOptions, sectionsOf } from './options.js';

const FORMAT = 'espalier-featurizer';
const VERSION = 1;

const count = z
  .number()
  .int()
  .nonnegative()
  .max(2 ** 32 - 1);
const numericSchema = z.strictObject({ mean: z.number(), deviation: z.number().nonnegative() });
export type StoredNumeric = z.infer<typeof numericSchema>;

const schema = z.object({
  format: z.literal(FORMAT),
  version: z.literal(VERSION),
  /** Words depend on it: `Intl.Segmenter` follows the Unicode version of Node. */
  unicode: z.string(),
  options: featurizerOptions,
  documents: count,
  meanLength: z.number().nonnegative(),
  numeric: z.array(numericSchema),
  vocabulary: z.union([
    /** Parallel lists, by feature. */
    z.object({ terms: z.array(z.string()), sections: z.array(count), df: z.array(count) }),
    /** Rows of each bucket, as base64 of little-endian 32-bit numbers. */
    z.object({ buckets: z.base64() }),
  ]),
});

export type FeaturizerState = z.infer<typeof schema>;

/** Unicode version of this Node. */
const unicodeVersion = process.versions.unicode ?? 'unknown';

export function storedState(
  options: FeaturizerOptions,
  facts: FittedFacts,
  table: TermTable | null,
  df: Uint32Array,
): FeaturizerState {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const ids = Array.from(df, (_, id) => id);
  return {
    format: FORMAT,
    version: VERSION,
    unicode: unicodeVersion,
    options,
    documents: facts.documents,
    meanLength: facts.meanLength,
    numeric: [...facts.numeric],
    vocabulary:
      table === null
        ? { buckets: Buffer.from(df.buffer, df.byteOffset, df.byteLength).toString('base64') }
        : {
            terms: ids.map((id) => decoder.decode(table.bytes(id))),
            sections: ids.map((id) => table.section(id)),
            df: Array.from(df),
          },
  };
}

export interface ParsedState {
  readonly options: FeaturizerOptions;
  readonly facts: FittedFacts;
  readonly table: TermTable | null;
  readonly df: Uint32Array;
}

/** Throws `FEATURIZER_STATE` for what is no featurizer. */
export function parseState(text: string, file?: string): ParsedState {
  const parsed = parsedJson(schema, text, (detail) => damaged(detail, file));
  const { options, documents, meanLength, numeric, vocabulary } = parsed;
  if (numeric.length !== options.numeric.length)
    throw damaged('numeric: one entry for each numeric column', file);
  const facts = { documents, meanLength, numeric };
  if ('buckets' in vocabulary) {
    const bytes = Uint8Array.from(Buffer.from(vocabulary.buckets, 'base64'));
    const wanted = options.vocabulary.kind === 'hashed' ? 4 << options.vocabulary.bits : -1;
    if (bytes.length !== wanted) throw damaged('buckets: not as many as the options say', file);
    return { options, facts, table: null, df: new Uint32Array(bytes.buffer) };
  }
  const { terms, sections, df } = vocabulary;
  const known = sectionsOf(options).length;
  if (options.vocabulary.kind !== 'terms' || terms.length !== df.length || terms.length !== sections.length) {
    throw damaged('vocabulary: its lists differ in length', file);
  }
  const table = new TermTable();
  const encoder = new TextEncoder();
  let bytes = new Uint8Array(256);
  for (let id = 0; id < terms.length; id++) {
    if (sections[id] >= known || df[id] < 1 || df[id] > documents) {
      throw damaged(`vocabulary: entry ${id} is out of range`, file);
    }
    // A character of UTF-16 becomes three bytes at most.
    if (3 * terms[id].length > bytes.length) bytes = new Uint8Array(6 * terms[id].length);
    const { written } = encoder.encodeInto(terms[id], bytes);
    const hash = mixHash(fnv(bytes, 0, written), sections[id]);
    if (table.add(sections[id], bytes, 0, written, hash) !== id) {
      throw damaged(`vocabulary: entry ${id} stands there twice`, file);
    }
  }
  return { options, facts, table, df: Uint32Array.from(df) };
}

function damaged(detail: string, file?: string): EspalierError {
  return new EspalierError({
    code: 'FEATURIZER_STATE',
    kind: 'data',
    op: 'Featurizer.parse',
    problem: `this is not the state of a featurizer of version ${VERSION}: ${detail}`,
    hint: 'the file may come from a newer or older version of espalier, or be damaged: make the dataset again',
    file,
  });
}
