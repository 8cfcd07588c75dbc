/** Reads safetensors files straight into arrays that exist already. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { EspalierError, ensure, suggest } from '../errors.js';
import { withFileErrors } from '../files.js';
import { blockBytes, readFully } from './checksum.js';
import { arrayName, elementBytes, holds, makeArray, type StoredData, wideningOf } from './dtypes.js';
import {
  headerLength,
  parseHeader,
  quoted,
  type SafetensorsHeader,
  type TensorInfo,
  unsound,
} from './safetensors-header.js';
import { ensureLittleEndian, type StoredArray } from './safetensors-writer.js';

const op = 'openSafetensors';

/** Named tensors in one file or in several. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensor in a new array. */
  read(name: string): Promise<StoredData>;
  /**
   * Reads into an existing array, shared or not, of as many elements: of the stored type, or, from F32, F16 and
   * BF16, of a wider float type. A refusal before the first byte leaves the target untouched.
   */
  readInto(name: string, target: StoredData): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens one safetensors file. The whole header is checked against the size of the file first; close it after use.
 *
 * @throws EspalierError `SAFETENSORS_*` of kind `data` for a damaged file, `FILE_*` of kind `system`
 */
export async function openSafetensors(path: string): Promise<TensorSource> {
  ensureLittleEndian(op);
  return withFileErrors(op, path, async () => {
    const found = await stat(path);
    if (!found.isFile())
      throw unsound('SAFETENSORS_PATH', path, 'not a regular file', { hint: 'name a .safetensors file' });
    const handle = await open(path, 'r');
    try {
      const { size } = await handle.stat();
      const first = Buffer.alloc(Math.min(8, size));
      await readFully(handle, first, 0);
      const length = headerLength(first, size, path);
      const json = Buffer.alloc(length);
      await readFully(handle, json, 8);
      return new SafetensorsFile(path, handle, 8 + length, parseHeader(json, size - 8 - length, path));
    } catch (error) {
      await handle.close();
      throw error;
    }
  });
}

class SafetensorsFile implements TensorSource {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #dataStart: number;

  constructor(path: string, handle: FileHandle, dataStart: number, header: SafetensorsHeader) {
    this.#path = path;
    this.#handle = handle;
    this.#dataStart = dataStart;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
  }

  async read(name: string): Promise<StoredData> {
    const { dtype, bytes } = infoOf(this.tensors, name, this.#path);
    const target = makeArray(dtype, bytes / elementBytes(dtype));
    await this.readInto(name, target);
    return target;
  }

  async readInto(name: string, target: StoredData): Promise<void> {
    const info = infoOf(this.tensors, name, this.#path);
    checkTarget(info, target, this.#path);
    const { dtype, bytes } = info;
    const widen = holds(dtype, target) ? undefined : wideningOf(dtype, target);
    const size = Math.min(blockBytes, bytes);
    // What needs no widening goes straight into the array, shared or not.
    const block = widen === undefined ? null : Buffer.allocUnsafeSlow(size);
    await withFileErrors('readInto', this.#path, async () => {
      for (let at = 0; at < bytes; at += size) {
        const n = Math.min(size, bytes - at);
        const part =
          block?.subarray(0, n) ?? Buffer.from(target.buffer as ArrayBuffer, target.byteOffset + at, n);
        const read = await readFully(this.#handle, part, this.#dataStart + info.begin + at);
        if (read < n) {
          throw unsound(
            'SAFETENSORS_TRUNCATED',
            this.#path,
            `the file became shorter while tensor ${quoted(name)} was read`,
          );
        }
        widen?.(part, n, target, at / elementBytes(dtype));
      }
    });
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}

export function infoOf(tensors: ReadonlyMap<string, TensorInfo>, name: string, file: string): TensorInfo {
  const info = tensors.get(name);
  if (info !== undefined) return info;
  const near = suggest(name, [...tensors.keys()].slice(0, 10_000));
  throw new EspalierError({
    code: 'TENSOR_MISSING',
    kind: 'data',
    op: 'readTensor',
    problem: `there is no tensor ${quoted(name)} in this file`,
    received: `${tensors.size} other tensors`,
    hint: near === undefined ? 'check that the file belongs to this model' : `did you mean ${quoted(near)}?`,
    file,
  });
}

function checkTarget({ name, dtype, bytes, shape }: TensorInfo, target: StoredData, file?: string): void {
  const elements = bytes / elementBytes(dtype);
  ensure(target.length === elements, () => ({
    code: 'TENSOR_SHAPE',
    kind: 'data',
    op: 'readTensor',
    problem: `tensor ${quoted(name)} has another size than the array to fill`,
    expected: `${target.length} elements`,
    received: `${elements} elements, shape [${shape.join(', ')}]`,
    hint: 'the file was saved by a model of another shape',
    file,
  }));
  ensure(holds(dtype, target) || wideningOf(dtype, target) !== undefined, () => ({
    code: 'TENSOR_DTYPE',
    kind: 'data',
    op: 'readTensor',
    problem: `tensor ${quoted(name)} is stored as ${dtype} and does not fit the array to fill without loss`,
    expected: target.constructor.name,
    received: `${dtype} (${arrayName(dtype)})`,
    hint: `read it with read(), or into a ${arrayName(dtype)}, and convert`,
    file,
  }));
}

/** The tensors of `source` whose names are wanted; closing it leaves `source` open. */
export function someOf(source: TensorSource, wanted: (name: string) => boolean): TensorSource {
  return {
    tensors: new Map([...source.tensors].filter(([name]) => wanted(name))),
    metadata: source.metadata,
    read: (name) => source.read(name),
    readInto: (name, target) => source.readInto(name, target),
    close: async () => {},
  };
}

/**
 * Reads every tensor of `source` into the array of the same name. Names, shapes and types are compared first,
 * both ways: after a refusal no array has changed.
 *
 * @throws EspalierError `TENSOR_MISSING`, `TENSOR_UNEXPECTED`, `TENSOR_SHAPE`, `TENSOR_DTYPE`
 */
export async function restoreArrays(source: TensorSource, arrays: Iterable<StoredArray>): Promise<void> {
  const targets = [...arrays];
  for (const { name, shape, data } of targets) {
    const info = infoOf(source.tensors, name, 'the saved tensors');
    checkTarget(info, data);
    ensure(info.shape.length === shape.length && info.shape.every((side, i) => side === shape[i]), () => ({
      code: 'TENSOR_SHAPE',
      kind: 'data',
      op: 'restoreArrays',
      problem: `tensor ${quoted(name)} has another shape`,
      expected: `[${shape.join(', ')}]`,
      received: `[${info.shape.join(', ')}]`,
      hint: 'the file was saved by a model of another shape',
    }));
  }
  const known = new Set(targets.map(({ name }) => name));
  const extra = [...source.tensors.keys()].filter((name) => !known.has(name));
  ensure(extra.length === 0, () => ({
    code: 'TENSOR_UNEXPECTED',
    kind: 'data',
    op: 'restoreArrays',
    problem: `${extra.length} saved tensors have no place in this model`,
    received: extra.slice(0, 5).map(quoted).join(', '),
    hint: 'the file was saved by a model of another architecture',
  }));
  for (const { name, data } of targets) await source.readInto(name, data);
}
