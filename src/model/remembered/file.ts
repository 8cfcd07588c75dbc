/** Remembered rows in a model directory: the rows themselves, which are small, and how they vote; not what a layer sees. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { CsrBuilder } from '../../data/builder.js';
import { CsrDataset } from '../../data/dataset.js';
import { datasetContent, readDatasetFile } from '../../data/dataset-file.js';
import { selectRows } from '../../data/rows.js';
import { EspalierError } from '../../errors.js';
import type { FileContent } from '../../files.js';
import { parsedJson } from '../../parsed.js';
import type { StoredModel } from '../../store/index.js';
import type { Classifier } from '../classifier.js';
import { type RememberedRows, rememberRows, type VoteSettings } from './rows.js';

/** A dataset file (`dataset-file.ts`). */
export const rowsFile = 'remembered-rows.bin';
export const votesFile = 'remembered-rows.json';

/** Of the settings, what a file may ask for. */
const schema = z.object({
  format: z.literal('espalier-remembered-rows'),
  version: z.literal(1),
  nearest: z.number().int().min(1).max(1024),
  temperature: z.number().min(1e-3).max(10),
  weight: z.number().min(0).max(1000),
});

/** What is saved of remembered rows. */
export interface SavedRows {
  readonly settings: VoteSettings;
  readonly examples: CsrDataset;
}

export function rememberedFiles({ settings, examples }: SavedRows): Record<string, FileContent> {
  const { nearest, temperature, weight } = settings;
  const state = { format: 'espalier-remembered-rows', version: 1, nearest, temperature, weight };
  return {
    [rowsFile]: datasetContent(rowsFile, examples).content,
    [votesFile]: `${JSON.stringify(state)}\n`,
  };
}

/** How remembered rows vote. Throws `REMEMBERED_ROWS` for what does not say it. */
export function parseVotes(text: string, file?: string): VoteSettings {
  const { nearest, temperature, weight } = parsedJson(schema, text, (detail) => damaged(detail, file));
  return { nearest, temperature, weight };
}

/** The rows that a model remembers; null for one that remembers none. Throws `REMEMBERED_ROWS`, `DATASET_FILE_*`. */
export async function rememberedOf(
  stored: StoredModel,
  classifier: Classifier,
): Promise<RememberedRows | null> {
  if (!Object.hasOwn(stored.manifest.files, votesFile)) return null;
  const file = stored.path(votesFile);
  const settings = parseVotes(await readFile(file, 'utf8'), file);
  const examples = await readDatasetFile(stored.path(rowsFile));
  const { features, labels } = classifier.shape;
  if (examples.features !== features || examples.labels !== labels) {
    const received = `rows of ${examples.features} features and ${examples.labels} labels`;
    throw damaged(`${received} beside a model of ${features} and ${labels}`, stored.path(rowsFile));
  }
  return rememberRows(classifier, examples, settings);
}

/** Of a model in memory, what is saved. */
export function savedRows(remembered: RememberedRows | null): SavedRows | null {
  return remembered && { settings: remembered.settings, examples: new CsrDataset(remembered.examples) };
}

/** Rows of a model whose label j was map[j], all of them known; rows without a label left are forgotten. */
export function withLabels(saved: SavedRows | null, map: Int32Array): SavedRows | null {
  if (saved === null) return null;
  const { settings, examples } = saved;
  const { indptr, indices, values, labelIndptr, labelIds } = examples;
  const places = new Map(Array.from(map, (from, j) => [from, j]));
  const builder = new CsrBuilder({ features: examples.features, labels: map.length });
  for (let row = 0; row < examples.rows; row++) {
    const own = Array.from(labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]));
    const [from, to] = [indptr[row], indptr[row + 1]];
    builder.row(
      indices.subarray(from, to),
      values.subarray(from, to),
      own.flatMap((label) => places.get(label) ?? []),
    );
  }
  const left = votingRows(builder.finish());
  return left.rows === 0 ? null : { settings, examples: left };
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
