/** Remembered rows in a model directory: the rows themselves, which are small, and how they vote; not what a layer sees. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { CsrBuilder } from '../../data/builder.js';
import { CsrDataset } from '../../data/dataset.js';
import { datasetContent, readDatasetFile } from '../../data/dataset-file.js';
import type { Featurizer } from '../../data/featurizer/index.js';
import { selectRows } from '../../data/rows.js';
import { EspalierError } from '../../errors.js';
import type { FileContent } from '../../files.js';
import { parsedJson } from '../../parsed.js';
import type { StoredModel } from '../../store/index.js';
import type { Classifier } from '../classifier.js';
import { type Namesakes, namesakes } from './namesakes.js';
import {
  featureSettings,
  type RememberedRows,
  rememberRows,
  textSettings,
  type VoteSettings,
} from './rows.js';

/** A dataset file (`dataset-file.ts`). */
export const rowsFile = 'remembered-rows.bin';
export const votesFile = 'remembered-rows.json';
/** f64[labels], little-endian: keys of what labels are called, where that counts. */
export const namesFile = 'remembered-names.bin';
/** A dataset file: what labels are called, as rows of one label each, where it counts by which words. */
export const textsFile = 'remembered-texts.bin';

/** Of the settings, what a file may ask for. */
const votes = z.object({
  format: z.literal('espalier-remembered-rows'),
  nearest: z.number().int().min(1).max(1024),
  temperature: z.number().min(1e-3).max(10),
  weight: z.number().min(0).max(1000),
});
const byFeatures = z.object({
  temperature: votes.shape.temperature,
  weight: z.number().min(0).max(1000),
});
const names = z.object({ column: z.string(), weight: z.number().min(-1000).max(1000) });
const schema = z.discriminatedUnion('version', [
  votes.extend({ version: z.literal(1) }),
  votes.extend({ version: z.literal(2), names }),
  votes.extend({ version: z.literal(3), names: names.nullable(), features: byFeatures }),
  votes.extend({
    ...{ version: z.literal(4), names: names.nullable(), features: byFeatures.nullable(), texts: byFeatures },
  }),
]);

/** What is saved of remembered rows. */
export interface SavedRows {
  readonly settings: VoteSettings;
  readonly examples: CsrDataset;
  /** Default: what labels are called does not count. */
  readonly names?: Pick<Namesakes, 'column' | 'keys'> | null;
  /** Default: words of a question that labels are called by do not count. */
  readonly texts?: CsrDataset | null;
}

export function rememberedFiles({
  settings,
  examples,
  names,
  texts = null,
}: SavedRows): Record<string, FileContent> {
  const { nearest, temperature, weight, namesake = 0 } = settings;
  const votes = { nearest, temperature, weight };
  const named = names && namesake !== 0 ? { column: names.column, weight: namesake } : null;
  const features = featureSettings(settings);
  const called = textSettings(settings);
  const kept = called.weight === 0 ? null : texts;
  // The oldest version that can say it, for readers as old as that.
  const told =
    kept !== null
      ? {
          ...{ version: 4, ...votes, names: named, features: features.weight === 0 ? null : features },
          texts: called,
        }
      : features.weight !== 0
        ? { version: 3, ...votes, names: named, features }
        : named !== null
          ? { version: 2, ...votes, names: named }
          : { version: 1, ...votes };
  return {
    [rowsFile]: datasetContent(rowsFile, examples).content,
    [votesFile]: `${JSON.stringify({ format: 'espalier-remembered-rows', ...told })}\n`,
    ...(names && named && { [namesFile]: keysContent(names.keys) }),
    ...(kept && { [textsFile]: datasetContent(textsFile, kept).content }),
  };
}

function keysContent(keys: Float64Array): Buffer {
  const bytes = Buffer.alloc(8 * keys.length);
  keys.forEach((key, label) => {
    bytes.writeDoubleLE(key, 8 * label);
  });
  return bytes;
}

/** How remembered rows vote. Throws `REMEMBERED_ROWS` for what does not say it. */
export function parseVotes(text: string, file?: string): VoteSettings & { readonly column: string | null } {
  const parsed = parsedJson(schema, text, (detail) => damaged(detail, file));
  const { nearest, temperature, weight } = parsed;
  const names = parsed.version === 1 ? null : parsed.names;
  const features = parsed.version === 3 || parsed.version === 4 ? parsed.features : null;
  const texts = parsed.version === 4 ? parsed.texts : null;
  return {
    ...{ nearest, temperature, weight },
    ...(names && { namesake: names.weight }),
    ...(features && { featureWeight: features.weight, featureTemperature: features.temperature }),
    ...(texts && { textWeight: texts.weight, textTemperature: texts.temperature }),
    column: names?.column ?? null,
  };
}

/** The rows that a model remembers; null for one that remembers none. Throws `REMEMBERED_ROWS`, `DATASET_FILE_*`. */
export async function rememberedOf(
  stored: StoredModel,
  classifier: Classifier,
  featurizer: Featurizer | null,
): Promise<RememberedRows | null> {
  if (!Object.hasOwn(stored.manifest.files, votesFile)) return null;
  const file = stored.path(votesFile);
  const { column, ...settings } = parseVotes(await readFile(file, 'utf8'), file);
  const examples = await rowsOf(stored, rowsFile, classifier);
  const names = column === null ? null : await namesOf(stored, classifier.shape.labels, column, featurizer);
  const texts = textSettings(settings).weight === 0 ? null : await rowsOf(stored, textsFile, classifier);
  return rememberRows(classifier, examples, settings, { names, texts });
}

async function rowsOf(stored: StoredModel, name: string, { shape }: Classifier): Promise<CsrDataset> {
  const file = stored.path(name);
  const rows = await readDatasetFile(file);
  const { features, labels } = shape;
  if (rows.features === features && rows.labels === labels) return rows;
  const received = `rows of ${rows.features} features and ${rows.labels} labels`;
  throw damaged(`${received} beside a model of ${features} and ${labels}`, file);
}

async function namesOf(
  stored: StoredModel,
  labels: number,
  column: string,
  featurizer: Featurizer | null,
): Promise<Namesakes> {
  const file = stored.path(namesFile);
  const terms = featurizer?.options.text.includes(column) ? featurizer.termsOf(column) : null;
  if (terms === null) throw damaged(`names in a column ${JSON.stringify(column)} of no known terms`, file);
  const bytes = await readFile(file);
  if (bytes.length !== 8 * labels) throw damaged(`${bytes.length} bytes of names for ${labels} labels`, file);
  const keys = new Float64Array(new SharedArrayBuffer(bytes.length));
  for (let label = 0; label < labels; label++) {
    keys[label] = bytes.readDoubleLE(8 * label);
    if (!(Number.isSafeInteger(keys[label]) && keys[label] >= 0))
      throw damaged(`the name of label ${label} is no key`, file);
  }
  return namesakes(column, terms, keys);
}

/** Of a model in memory, what is saved. */
export function savedRows(remembered: RememberedRows | null): SavedRows | null {
  if (remembered === null) return null;
  const { settings, examples, names, texts } = remembered;
  return {
    ...{ settings, examples: new CsrDataset(examples), names },
    texts: texts && new CsrDataset(texts.examples),
  };
}

/** Rows of a model whose label j was map[j], all of them known; rows without a label left are forgotten. */
export function withLabels(saved: SavedRows | null, map: Int32Array): SavedRows | null {
  if (saved === null) return null;
  const { settings, examples, names, texts } = saved;
  const left = rowsWithLabels(examples, map);
  const keys = names && Float64Array.from(map, (label) => names.keys[label]);
  const kept = {
    ...{ examples: left, names: names && keys && { column: names.column, keys } },
    texts: texts && rowsWithLabels(texts, map),
  };
  if (left.rows > 0) return { settings, ...kept };
  return names || texts ? { settings: { ...settings, weight: 0, featureWeight: 0 }, ...kept } : null;
}

function rowsWithLabels(rows: CsrDataset, map: Int32Array): CsrDataset {
  const { indptr, indices, values, labelIndptr, labelIds } = rows;
  const places = new Map(Array.from(map, (from, j) => [from, j]));
  const builder = new CsrBuilder({ features: rows.features, labels: map.length });
  for (let row = 0; row < rows.rows; row++) {
    const own = Array.from(labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]));
    const [from, to] = [indptr[row], indptr[row + 1]];
    builder.row(
      indices.subarray(from, to),
      values.subarray(from, to),
      own.flatMap((label) => places.get(label) ?? []),
    );
  }
  return votingRows(builder.finish());
}

/** The rows that can vote: those with features and labels. */
export function votingRows(all: CsrDataset): CsrDataset {
  const { indptr, labelIndptr } = all;
  const votes = (row: number) => indptr[row + 1] > indptr[row] && labelIndptr[row + 1] > labelIndptr[row];
  const rows = Array.from({ length: all.rows }, (_, row) => row).filter(votes);
  return rows.length === all.rows ? all : selectRows(all, rows);
}

function damaged(detail: string, file?: string): EspalierError {
  return new EspalierError({
    code: 'REMEMBERED_ROWS',
    kind: 'data',
    op: 'loadClassifier',
    problem: `these are not the rows that the model remembers: ${detail}`,
    hint: 'the model is damaged or of a newer version: restore it, or let it remember its rows again',
    file,
  });
}
