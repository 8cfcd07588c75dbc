/** Opens model directories. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';
import { checkFiles } from './checksum.js';
import { damaged } from './json.js';
import { readLineBlocks } from './json-lines.js';
import { directoryMatches, resolveModel } from './model-directory.js';
import { labelsName, type ModelManifest, manifestName, parseManifest } from './model-manifest.js';
import type { TensorSource } from './safetensors-reader.js';
import { openShards } from './safetensors-shards.js';

const op = 'openModel';

/** An opened model directory; close it after use. */
export interface StoredModel {
  /** The immutable directory, whatever path it was opened by. */
  readonly directory: string;
  readonly manifest: ModelManifest;
  readonly tensors: TensorSource;
  /** The names of all labels in order, many at a time; nothing where labels have none. */
  labels(): AsyncGenerator<readonly string[]>;
  /** Path of a further file of the model; throws `MODEL_FILE_MISSING`. */
  path(name: string): string;
  close(): Promise<void>;
}

/**
 * Opens a model by the path of a run directory, of its pointer, or of a model directory. Presence and size of every
 * file are checked; their SHA-256 too when `checksums` is set (that reads everything once).
 *
 * @throws EspalierError `MODEL_MISSING`, `MODEL_VERSION`, `FILE_DAMAGED`, `JSON_DAMAGED`, `SAFETENSORS_*`
 */
export async function openModel(
  path: string,
  options: { readonly checksums?: boolean } = {},
): Promise<StoredModel> {
  const directory = await resolveModel(path);
  const manifestPath = join(directory, manifestName);
  const bytes = await withFileErrors(op, manifestPath, () => readFile(manifestPath));
  const manifest = parseManifest(op, bytes.toString('utf8'), manifestPath);
  if (!directoryMatches(directory, bytes)) {
    throw damaged(op, manifestPath, undefined, 'the file is not the one that its directory is named after');
  }
  const files = Object.entries(manifest.files).map(([name, entry]) => ({ name, ...entry }));
  await checkFiles(op, directory, files, { contents: options.checksums ?? false });
  const tensors = await openShards(directory, 'model');
  return {
    directory,
    manifest,
    tensors,
    labels: () => readLabels(directory, manifest),
    path: (name) => pathOf(directory, manifest, name),
    close: () => tensors.close(),
  };
}

async function* readLabels(directory: string, manifest: ModelManifest): AsyncGenerator<readonly string[]> {
  if (manifest.labels === null) return;
  const path = join(directory, labelsName);
  let count = 0;
  for await (const lines of readLineBlocks(op, path)) {
    count += lines.length;
    yield lines.map(({ text, line }) => labelOf(text, path, line));
  }
  if (count !== manifest.labels) {
    throw damaged(op, path, undefined, `the model has ${manifest.labels} label names`, `${count} lines`);
  }
}

function labelOf(text: string, path: string, line: number): string {
  let label: unknown;
  try {
    label = JSON.parse(text);
  } catch {}
  if (typeof label === 'string') return label;
  throw damaged(op, path, line, 'the line is not a JSON string', text.slice(0, 80));
}

function pathOf(directory: string, manifest: ModelManifest, name: string): string {
  if (Object.hasOwn(manifest.files, name)) return join(directory, name);
  throw new EspalierError({
    code: 'MODEL_FILE_MISSING',
    kind: 'data',
    op: 'model.path',
    problem: `the model has no file ${JSON.stringify(name)}`,
    received: Object.keys(manifest.files).join(', '),
    file: directory,
  });
}
