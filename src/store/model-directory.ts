/**
 * Models on disk. A run directory holds immutable model directories and a pointer to the current one:
 *
 *     model-<digest>/          first 16 hexadecimal digits of the SHA-256 of its espalier.json
 *       model.safetensors      or shards under 4 GiB with model.safetensors.index.json
 *       espalier.json          format, versions, config, metrics, size and SHA-256 of every other file
 *       labels.jsonl           one JSON string per label, in the order of labels (where labels have names)
 *       ...                    files of the caller: featurizer and the like
 *     model                    the pointer: a symbolic link to the directory, so that any tool can look inside;
 *                              where links cannot be made, a text file with the name of the directory
 *
 * A directory is written aside and renamed, then the pointer is replaced by a rename: at every moment a reader finds
 * a whole model. The same model saved twice is one directory: nothing in it depends on the time.
 */
import { createHash } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, realpath, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { EspalierError, ensure } from '../errors.js';
import { type FileContent, makeDirectory, syncDirectory, withFileErrors, writeFileAtomic } from '../files.js';
import { checkFiles, type WrittenFile, writeChecked } from './checksum.js';
import { encodeJson } from './json.js';
import { sweep, temporaryPath, whileActive } from './leftovers.js';
import { labelsName, type ModelManifest, manifestName, plainFileName } from './model-manifest.js';
import { writeShards } from './safetensors-shards.js';
import type { StoredArray } from './safetensors-writer.js';

const pointerName = 'model';
const directoryPattern = /^model-[0-9a-f]{16}$/;

export interface ModelParts {
  /** Plain data: the architecture and whatever else rebuilds the model. */
  readonly config: unknown;
  readonly arrays: Iterable<StoredArray>;
  /** Names by label; may contain anything. */
  readonly labels?: Iterable<string> | AsyncIterable<string>;
  readonly metrics?: unknown;
  /** Of the software that trained it, e.g. `{ espalier: '0.1.0' }`. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Further files by name. */
  readonly files?: Readonly<Record<string, FileContent>>;
}

export interface SavedModel {
  readonly directory: string;
  readonly digest: string;
  /** Of all files. */
  readonly bytes: number;
}

/**
 * Saves a model in a run directory and points `model` at it.
 *
 * @throws EspalierError `MODEL_FILE_NAME`, `JSON_VALUE`, `SAFETENSORS_*` of kind `usage`; `FILE_*` of kind `system`,
 *   after which the old model and the old pointer are as they were
 * @example await saveModel('runs/a', { config, arrays: layer.state().model, labels: ['cat', 'dog'] });
 */
export async function saveModel(runDirectory: string, parts: ModelParts): Promise<SavedModel> {
  const op = 'saveModel';
  for (const name of Object.keys(parts.files ?? {})) refuseName(op, name);
  return withFileErrors(op, runDirectory, async () => {
    await makeDirectory(runDirectory);
    await sweep(runDirectory, /^model/);
    const temporary = temporaryPath(runDirectory, 'model-tmp');
    const saved = await whileActive(temporary, async () => {
      try {
        await mkdir(temporary);
        return await fill(op, runDirectory, temporary, parts);
      } catch (error) {
        await rm(temporary, { recursive: true, force: true }).catch(() => {});
        throw error;
      }
    });
    await point(op, runDirectory, basename(saved.directory));
    return saved;
  });
}

async function fill(op: string, run: string, temporary: string, parts: ModelParts): Promise<SavedModel> {
  const files = await writeShards(temporary, 'model', parts.arrays);
  let labelCount: number | null = null;
  if (parts.labels !== undefined) {
    const labels = parts.labels;
    let count = 0;
    async function* lines(): AsyncGenerator<string> {
      for await (const label of labels) {
        ensure(typeof label === 'string', () => ({
          code: 'MODEL_LABELS',
          kind: 'usage',
          op,
          problem: `the name of label ${count} is not a text`,
          received: typeof label,
        }));
        count++;
        yield `${JSON.stringify(label)}\n`;
      }
    }
    files.push(await writeChecked(join(temporary, labelsName), lines()));
    labelCount = count;
  }
  for (const [name, content] of Object.entries(parts.files ?? {})) {
    files.push(await writeChecked(join(temporary, name), content));
  }
  const text = manifestText(op, parts, labelCount, files);
  const manifest = await writeChecked(join(temporary, manifestName), text);
  const digest = manifest.sha256.slice(0, 16);
  const directory = join(run, `model-${digest}`);
  const bytes = [...files, manifest].reduce((sum, file) => sum + file.bytes, 0);
  await syncDirectory(temporary);
  await moveIn(op, temporary, directory, [...files, manifest]);
  await syncDirectory(run);
  return { directory, digest, bytes };
}

function manifestText(op: string, parts: ModelParts, labels: number | null, files: WrittenFile[]): string {
  const byName = files.map(({ name, bytes, sha256 }) => [name, { bytes, sha256 }]);
  const manifest: ModelManifest = {
    format: 'espalier-model',
    version: 1,
    versions: parts.versions ?? {},
    labels,
    config: parts.config,
    metrics: parts.metrics ?? null,
    files: Object.fromEntries(byName),
  };
  return `${encodeJson(op, manifest, 2)}\n`;
}

/** A directory of that name is the same model: it stays, unless it is damaged. */
async function moveIn(op: string, from: string, to: string, files: readonly WrittenFile[]): Promise<void> {
  const there = await lstat(to).catch(absent);
  if (there === null) return rename(from, to);
  const sound = await checkFiles(op, to, files, { contents: true }).then(
    () => true,
    () => false,
  );
  if (sound) return rm(from, { recursive: true });
  const aside = temporaryPath(dirname(to), `${basename(to)}.old`);
  await rename(to, aside);
  await rename(from, to);
  await rm(aside, { recursive: true, force: true });
}

const noLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'EACCES']);

async function point(op: string, run: string, target: string): Promise<void> {
  const pointer = join(run, pointerName);
  const there = await lstat(pointer).catch(absent);
  ensure(there?.isDirectory() !== true, () => ({
    code: 'MODEL_POINTER',
    kind: 'usage',
    op,
    problem: 'the pointer to the current model cannot be made: a directory of its name is in the way',
    hint: `move ${pointer} away; the new model is in ${target}`,
    file: pointer,
  }));
  if (process.platform !== 'win32') {
    const link = temporaryPath(run, 'model-link-tmp');
    const linked = await whileActive(link, async () => {
      try {
        await symlink(target, link);
        await rename(link, pointer);
        return true;
      } catch (error) {
        await rm(link, { force: true });
        if (!noLinks.has((error as { code?: string }).code ?? '')) throw error;
        return false;
      }
    });
    if (linked) return syncDirectory(run);
  }
  await writeFileAtomic(pointer, `${target}\n`);
}

/**
 * The model directory that `path` means: a run directory, its pointer, a model directory, or a file inside one.
 * The answer stays valid when the pointer moves on.
 *
 * @throws EspalierError `MODEL_MISSING` with what was found instead
 */
export async function resolveModel(path: string): Promise<string> {
  const op = 'openModel';
  return withFileErrors(op, path, async () => {
    const found = await stat(path).catch(absent);
    if (found === null)
      throw await missing(op, path, 'there is nothing at this path, or a link that leads nowhere');
    if (found.isFile()) {
      if (basename(path) === manifestName) return realpath(dirname(resolve(path)));
      return fromText(op, path, found.size);
    }
    if (await isFile(join(path, manifestName))) return realpath(path);
    const pointer = join(path, pointerName);
    const next = await stat(pointer).catch(absent);
    if (next?.isFile()) return fromText(op, pointer, next.size);
    if (next?.isDirectory() && (await isFile(join(pointer, manifestName)))) return realpath(pointer);
    throw await missing(op, path, 'there is no model here');
  });
}

async function fromText(op: string, pointer: string, size: number): Promise<string> {
  const name = size > 64 ? '' : (await readFile(pointer, 'utf8')).trim();
  if (!directoryPattern.test(name))
    throw await missing(op, pointer, 'the file is neither a model nor a pointer to one');
  const directory = join(dirname(pointer), name);
  if (!(await isFile(join(directory, manifestName))))
    throw await missing(op, directory, 'the pointer leads nowhere');
  return realpath(directory);
}

async function missing(op: string, path: string, problem: string): Promise<EspalierError> {
  const entries = await readdir(path).catch(() => [] as string[]);
  const hint = entries.includes('checkpoints')
    ? 'this run has checkpoints but no model yet: let training finish, or resume it'
    : 'name a run directory, or the `model` in one';
  return new EspalierError({
    code: 'MODEL_MISSING',
    kind: 'usage',
    op,
    problem,
    expected: `a directory with ${manifestName}`,
    received: entries.length === 0 ? undefined : entries.slice(0, 8).join(', '),
    hint,
    file: path,
  });
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(absent))?.isFile() ?? false;
}

const absences = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);

/** Null for a thing that is not there; a thing that may not be looked at is an error. */
function absent(error: unknown): null {
  if (absences.has((error as { code?: string }).code ?? '')) return null;
  throw error;
}

/** Removes the models of a run directory that `model` does not point at; returns their names. */
export async function pruneModels(runDirectory: string): Promise<string[]> {
  const op = 'pruneModels';
  const current = basename(await resolveModel(runDirectory));
  return withFileErrors(op, runDirectory, async () => {
    await sweep(runDirectory, /^model/);
    const old = (await readdir(runDirectory)).filter(
      (name) => directoryPattern.test(name) && name !== current,
    );
    for (const name of old) await rm(join(runDirectory, name), { recursive: true });
    return old;
  });
}

function refuseName(op: string, name: string): void {
  const reserved = name === manifestName || name === labelsName || /^model[.-]/.test(name);
  ensure(plainFileName.test(name) && !reserved, () => ({
    code: 'MODEL_FILE_NAME',
    kind: 'usage',
    op,
    problem: 'a further file of a model cannot have this name',
    expected: 'letters, digits, dots, dashes and underscores, and none of the names the model uses itself',
    received: JSON.stringify(name),
  }));
}

/** The SHA-256 of its espalier.json names a model directory; a copy under another name is not checked. */
export function directoryMatches(directory: string, manifest: Uint8Array): boolean {
  const name = basename(directory);
  if (!directoryPattern.test(name)) return true;
  return name.slice('model-'.length) === createHash('sha256').update(manifest).digest('hex').slice(0, 16);
}
