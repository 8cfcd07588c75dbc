/**
 * Checkpoints of a run: `checkpoints/step-00001234/` with
 *
 *     arrays.safetensors   everything that training changes (or shards of it with an index)
 *     state.json           {format, version, step, best, state}: `state` is the caller's
 *     SHA256SUMS           of all other files; `sha256sum -c SHA256SUMS` checks them too
 *
 * A checkpoint is there as a whole or not at all, and is believed only after its checksums were verified.
 */
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { EspalierError, ensure } from '../errors.js';
import { makeDirectory, replaceDirectoryAtomic, withFileErrors } from '../files.js';
import { checkFiles, type WrittenFile, writeChecked } from './checksum.js';
import { decodeJson, encodeJson } from './json.js';
import { sweep, whileActive } from './leftovers.js';
import type { TensorSource } from './safetensors-reader.js';
import { openShards, writeShards } from './safetensors-shards.js';
import type { StoredArray } from './safetensors-writer.js';

const format = 'espalier-checkpoint';
const version = 1;
const sumsName = 'SHA256SUMS';
const stateName = 'state.json';

export interface CheckpointParts {
  /** Steps taken; names the directory. */
  readonly step: number;
  readonly arrays: Iterable<StoredArray>;
  /** Plain data: numbers (NaN and infinities too), texts, arrays, objects. */
  readonly state: unknown;
  /** The best so far by the caller's measure: kept until a better one comes. */
  readonly best?: boolean;
}

export interface SavedCheckpoint {
  readonly step: number;
  readonly directory: string;
  readonly bytes: number;
  /** Steps of the checkpoints that went. */
  readonly removed: readonly number[];
}

/** An opened checkpoint; close `tensors` after use. */
export interface Checkpoint {
  readonly step: number;
  readonly directory: string;
  readonly best: boolean;
  readonly state: unknown;
  readonly tensors: TensorSource;
}

export interface BrokenCheckpoint {
  readonly step: number;
  readonly directory: string;
  readonly error: EspalierError;
}

export interface FoundCheckpoint {
  /** Null: there is none. */
  readonly checkpoint: Checkpoint | null;
  /** What was passed over because it is damaged, newest first: tell the user. */
  readonly broken: readonly BrokenCheckpoint[];
}

/**
 * Opens one checkpoint after verifying the SHA-256 of every file.
 *
 * @throws EspalierError `FILE_DAMAGED`, `CHECKPOINT_DAMAGED`, `JSON_DAMAGED`, `SAFETENSORS_*`, `CHECKPOINT_VERSION`
 */
export async function openCheckpoint(directory: string): Promise<Checkpoint> {
  const op = 'openCheckpoint';
  const sums = await readSums(op, join(directory, sumsName));
  await checkFiles(op, directory, sums, { contents: true });
  const { step, best, state } = await readState(op, directory);
  const tensors = await openShards(directory, 'arrays');
  return { step, directory, best, state, tensors };
}

async function readSums(op: string, path: string): Promise<{ name: string; sha256: string }[]> {
  const text = await withFileErrors(op, path, () => readFile(path, 'utf8'));
  const sums: { name: string; sha256: string }[] = [];
  for (const [i, line] of text.split('\n').entries()) {
    if (line === '') continue;
    const match = /^([0-9a-f]{64}) {2}([A-Za-z0-9][\w.-]*)$/.exec(line);
    if (match === null) throw damagedCheckpoint(op, path, 'a line is no checksum', line.slice(0, 80), i + 1);
    sums.push({ sha256: match[1], name: match[2] });
  }
  const names = new Set(sums.map(({ name }) => name));
  const complete =
    text.endsWith('\n') && names.has(stateName) && [...names].some((name) => name.startsWith('arrays'));
  if (!complete)
    throw damagedCheckpoint(op, path, 'the list of checksums is not complete', `${sums.length} files`);
  return sums;
}

async function readState(
  op: string,
  directory: string,
): Promise<{ step: number; best: boolean; state: unknown }> {
  const path = join(directory, stateName);
  const text = await withFileErrors(op, path, () => readFile(path, 'utf8'));
  const found = decodeJson(op, text, path);
  if (found.format !== format || !Number.isSafeInteger(found.step)) {
    throw damagedCheckpoint(op, path, 'this is not the state of a checkpoint', text.slice(0, 40));
  }
  if (found.version !== version) {
    throw new EspalierError({
      code: 'CHECKPOINT_VERSION',
      kind: 'data',
      op,
      problem: 'the checkpoint has a format that this release does not know',
      expected: `version ${version}`,
      received: `version ${String(found.version)}`,
      hint: 'resume with the release of Espalier that wrote it, or a newer one',
      file: path,
    });
  }
  return { step: found.step as number, best: found.best === true, state: found.state };
}

function damagedCheckpoint(
  op: string,
  file: string,
  problem: string,
  received: string,
  line?: number,
): EspalierError {
  const hint = 'fall back to an older checkpoint';
  return new EspalierError({
    code: 'CHECKPOINT_DAMAGED',
    kind: 'data',
    op,
    problem,
    received,
    hint,
    file,
    line,
  });
}

/** Trouble of the machine, not of the checkpoint: passing over it would lose steps for nothing. */
const notItsFault = new Set(['FILE_ACCESS', 'FILE_TOO_MANY_OPEN', 'CHECKPOINT_VERSION']);

/**
 * The checkpoints of one run. One process writes at a time.
 *
 * @example
 * const store = await CheckpointStore.open('runs/a', { keep: 2 });
 * const { checkpoint, broken } = await store.latest();
 * if (checkpoint !== null) await restoreArrays(checkpoint.tensors, arrays);
 * await store.save({ step: 100, arrays, state: { epoch: 1 } });
 */
export class CheckpointStore {
  /** `<run>/checkpoints` */
  readonly directory: string;
  readonly #keep: number;
  /** Steps found damaged by this process. */
  readonly #broken = new Set<number>();

  private constructor(directory: string, keep: number) {
    this.directory = directory;
    this.#keep = keep;
  }

  /** Makes the directory where missing and removes what a killed process left half written. */
  static async open(
    runDirectory: string,
    options: { /** Newest checkpoints to keep beside the best; default 2. */ readonly keep?: number } = {},
  ): Promise<CheckpointStore> {
    const keep = options.keep ?? 2;
    const op = 'CheckpointStore.open';
    ensure(Number.isSafeInteger(keep) && keep >= 1, () => ({
      code: 'CHECKPOINT_KEEP',
      kind: 'usage',
      op,
      problem: 'at least one checkpoint must be kept',
      received: String(keep),
    }));
    const directory = join(runDirectory, 'checkpoints');
    await withFileErrors(op, directory, async () => {
      await makeDirectory(directory);
      await sweep(directory, /^step-/);
    });
    return new CheckpointStore(directory, keep);
  }

  /** Steps that have a checkpoint, sound or not, ascending. */
  async steps(): Promise<number[]> {
    const entries = await withFileErrors('checkpoints', this.directory, () => readdir(this.directory));
    const steps = entries.flatMap((entry) => {
      const match = /^step-(\d{8,16})$/.exec(entry);
      return match === null || basename(this.path(Number(match[1]))) !== entry ? [] : [Number(match[1])];
    });
    return steps.sort((a, b) => a - b);
  }

  path(step: number): string {
    return join(this.directory, `step-${String(step).padStart(8, '0')}`);
  }

  /**
   * Saves a checkpoint, then removes those beyond the newest `keep` and the best. Later steps go as well: they
   * belong to a continuation that was abandoned when training resumed before them.
   */
  async save({ step, arrays, state, best = false }: CheckpointParts): Promise<SavedCheckpoint> {
    const op = 'saveCheckpoint';
    ensure(Number.isSafeInteger(step) && step >= 0, () => ({
      code: 'CHECKPOINT_STEP',
      kind: 'usage',
      op,
      problem: 'the step is not a whole number',
      received: String(step),
    }));
    const text = `${encodeJson(op, { format, version, step, best, state }, 2)}\n`;
    const directory = this.path(step);
    let files: WrittenFile[] = [];
    await replaceDirectoryAtomic(directory, (temporary) =>
      whileActive(temporary, async () => {
        files = await writeShards(temporary, 'arrays', arrays);
        files.push(await writeChecked(join(temporary, stateName), text));
        const sums = files.map(({ name, sha256 }) => `${sha256}  ${name}\n`).join('');
        files.push(await writeChecked(join(temporary, sumsName), sums));
      }),
    );
    this.#broken.delete(step);
    const removed = await this.#prune(step, best);
    return { step, directory, bytes: files.reduce((sum, file) => sum + file.bytes, 0), removed };
  }

  async #prune(saved: number, savedIsBest: boolean): Promise<number[]> {
    const removed: number[] = [];
    let kept = 0;
    let bestKept = false;
    for (const step of (await this.steps()).reverse()) {
      const sound = !this.#broken.has(step);
      let keep = step <= saved && kept < this.#keep;
      if (step <= saved && sound) {
        kept++;
        if (!bestKept && (step === saved ? savedIsBest : await this.#isBest(step))) {
          bestKept = true;
          keep = true;
        }
      }
      if (keep) continue;
      await withFileErrors('pruneCheckpoints', this.path(step), () =>
        rm(this.path(step), { recursive: true }),
      );
      this.#broken.delete(step);
      removed.push(step);
    }
    return removed;
  }

  async #isBest(step: number): Promise<boolean> {
    return readState('pruneCheckpoints', this.path(step)).then(
      ({ best }) => best,
      () => false,
    );
  }

  /** The newest checkpoint whose checksums hold; damaged ones are passed over and reported. */
  async latest(): Promise<FoundCheckpoint> {
    return this.#find(async () => true);
  }

  /** The newest sound checkpoint that was saved as the best. */
  async best(): Promise<FoundCheckpoint> {
    return this.#find((step) => this.#isBest(step));
  }

  async #find(wanted: (step: number) => Promise<boolean>): Promise<FoundCheckpoint> {
    const broken: BrokenCheckpoint[] = [];
    for (const step of (await this.steps()).reverse()) {
      if (!(await wanted(step))) continue;
      const directory = this.path(step);
      try {
        const checkpoint = await openCheckpoint(directory);
        if (checkpoint.step === step) return { checkpoint, broken };
        await checkpoint.tensors.close();
        throw damagedCheckpoint(
          'openCheckpoint',
          directory,
          'the directory and its state name different steps',
          `${checkpoint.step}`,
        );
      } catch (error) {
        if (!(error instanceof EspalierError) || notItsFault.has(error.code)) throw error;
        this.#broken.add(step);
        broken.push({ step, directory, error });
      }
    }
    return { checkpoint: null, broken };
  }
}

/** Whether a run directory holds checkpoints. */
export async function hasCheckpoints(runDirectory: string): Promise<boolean> {
  const directory = join(runDirectory, 'checkpoints');
  const found = await stat(directory).catch(() => null);
  return (
    found?.isDirectory() === true && (await readdir(directory)).some((entry) => entry.startsWith('step-'))
  );
}
