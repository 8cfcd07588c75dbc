/**
 * How often each label was seen in the rows that trained a model: what `label-frequencies.json` in a model directory
 * holds, so that answers can make up for it without the data (see `byRarity` in `ranking.ts`).
 */
import { z } from 'zod';
import { EspalierError } from '../errors.js';
import { parsedJson } from '../parsed.js';

export const frequenciesFile = 'label-frequencies.json';

export interface LabelFrequencies {
  /** Rows that trained. */
  readonly rows: number;
  /** [labels], rows with the label */
  readonly counts: Uint32Array;
}

const schema = z.object({
  format: z.literal('espalier-label-frequencies'),
  version: z.literal(1),
  rows: z.number().int().nonnegative(),
  /** Little-endian uint32 of every label. */
  counts: z.base64(),
});

export function frequenciesText({ rows, counts }: LabelFrequencies): string {
  const bytes = Buffer.alloc(4 * counts.length);
  for (const [label, count] of counts.entries()) bytes.writeUInt32LE(count, 4 * label);
  const state = { format: 'espalier-label-frequencies', version: 1, rows, counts: bytes.toString('base64') };
  return `${JSON.stringify(state)}\n`;
}

/** Throws `LABEL_FREQUENCIES` for what is none, or of other labels. The counts lie in memory that threads can share. */
export function parseFrequencies(text: string, labels: number, file?: string): LabelFrequencies {
  const { rows, counts: base64 } = parsedJson(schema, text, (detail) => damaged(detail, file));
  const bytes = Buffer.from(base64, 'base64');
  if (bytes.length !== 4 * labels) throw damaged(`counts: one for each of ${labels} labels`, file);
  const counts = new Uint32Array(new SharedArrayBuffer(bytes.length));
  for (let label = 0; label < labels; label++) {
    counts[label] = bytes.readUInt32LE(4 * label);
    if (counts[label] > rows) throw damaged(`counts: label ${label} in more rows than there are`, file);
  }
  return { rows, counts };
}

/** The frequencies of a model whose label j was map[j], none of them new. */
export function mapFrequencies({ rows, counts }: LabelFrequencies, map: Int32Array): LabelFrequencies {
  return { rows, counts: Uint32Array.from(map, (from) => counts[from]) };
}

function damaged(detail: string, file?: string): EspalierError {
  return new EspalierError({
    code: 'LABEL_FREQUENCIES',
    kind: 'data',
    op: 'loadClassifier',
    problem: `these are not the label frequencies of the model: ${detail}`,
    hint: 'the model is damaged or of a newer version: restore it, or train it again',
    file,
  });
}
