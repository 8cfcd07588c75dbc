import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EspalierError } from '../../errors.js';
import { readCsrNpz, readNpzPair } from './scipy.js';
import { crc32 } from './zip.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-npz-'));
});
afterAll(() => rm(home, { recursive: true }));

/** An array as numpy.lib.format writes version 1.0. */
function npy(descr: string, shape: string, data: ArrayBufferView): Uint8Array {
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  const padded = `${text.padEnd(Math.ceil((text.length + 11) / 64) * 64 - 11)}\n`;
  const head = Buffer.alloc(10);
  head.write('\x93NUMPY\x01\x00', 'latin1');
  head.writeUInt16LE(padded.length, 8);
  return Buffer.concat([
    head,
    Buffer.from(padded, 'latin1'),
    Buffer.from(data.buffer, data.byteOffset, data.byteLength),
  ]);
}

interface Matrix {
  readonly rows: number;
  readonly columns: number;
  readonly indptr: readonly number[];
  readonly indices: readonly number[];
  readonly data: readonly number[];
  readonly format?: string;
}

function arrays({
  rows,
  columns,
  indptr,
  indices,
  data,
  format = 'csr',
}: Matrix): Record<string, Uint8Array> {
  return {
    'indices.npy': npy('<i4', `${indices.length},`, Int32Array.from(indices)),
    'indptr.npy': npy('<i8', `${indptr.length},`, BigInt64Array.from(indptr, BigInt)),
    'format.npy': npy('|S3', '', Buffer.from(format)),
    'shape.npy': npy('<i8', '2,', BigInt64Array.of(BigInt(rows), BigInt(columns))),
    'data.npy': npy('<f8', `${data.length},`, Float64Array.from(data)),
  };
}

let files = 0;
async function saved(entries: Record<string, Uint8Array>, level: 0 | 6 = 6): Promise<string> {
  const path = join(home, `${files++}.npz`);
  await writeFile(path, zipSync(entries, { level }));
  return path;
}

const sound: Matrix = { rows: 3, columns: 5, indptr: [0, 2, 2, 3], indices: [4, 1, 0], data: [2, 1, -3.5] };
const code = (c: string) => expect.objectContaining({ code: c });

describe('matrices of scipy.sparse.save_npz', () => {
  it.each([0, 6] as const)('are read, stored or deflated (level %d), and rows sorted', async (level) => {
    const matrix = await readCsrNpz(await saved(arrays(sound), level));
    expect(matrix).toEqual({
      rows: 3,
      columns: 5,
      indptr: Float64Array.of(0, 2, 2, 3),
      indices: Uint32Array.of(1, 4, 0),
      values: Float32Array.of(1, 2, -3.5),
    });
  });

  it('make a dataset in pairs; a label of value 0 is none', async () => {
    const labels: Matrix = { rows: 3, columns: 2, indptr: [0, 2, 3, 3], indices: [1, 0, 1], data: [1, 0, 1] };
    const dataset = await readNpzPair(await saved(arrays(sound)), await saved(arrays(labels)));
    expect([dataset.features, dataset.labels, [...dataset.labelIndptr], [...dataset.labelIds]]).toEqual([
      5,
      2,
      [0, 1, 2, 2],
      [1, 1],
    ]);
    const other = await saved(arrays({ ...labels, rows: 2, indptr: [0, 2, 3] }));
    await expect(readNpzPair(await saved(arrays(sound)), other)).rejects.toEqual(code('NPZ_MATRIX'));
  });

  it.each<[string, Partial<Matrix>]>([
    ['another format', { format: 'csc' }],
    ['pointers that fall', { indptr: [0, 2, 1, 3] }],
    ['pointers beyond the entries', { indptr: [0, 2, 2, 4] }],
    ['too few pointers', { indptr: [0, 3] }],
    ['a column out of range', { indices: [4, 5, 0] }],
    ['a negative column', { indices: [4, -1, 0] }],
    ['a column twice', { indices: [4, 4, 0] }],
    ['too few values', { data: [1] }],
    ['a negative shape', { rows: -3 }],
  ])('%s is refused', async (_name, change) => {
    await expect(readCsrNpz(await saved(arrays({ ...sound, ...change })))).rejects.toEqual(
      code('NPZ_MATRIX'),
    );
  });

  it.each<[string, Record<string, Uint8Array>, string]>([
    ['a missing array', { 'data.npy': new Uint8Array(0) }, 'NPY_FORMAT'],
    ['big-endian numbers', { 'data.npy': npy('>f8', '3,', new Float64Array(3)) }, 'NPY_FORMAT'],
    ['objects', { 'data.npy': npy('|O', '3,', new Float64Array(3)) }, 'NPY_FORMAT'],
    ['a matrix', { 'data.npy': npy('<f8', '3, 1', new Float64Array(3)) }, 'NPY_FORMAT'],
    [
      'a length that is not kept',
      { 'data.npy': npy('<f8', '999999999999,', new Float64Array(3)) },
      'NPY_FORMAT',
    ],
    ['half a number', { 'data.npy': npy('<f8', '3,', new Uint8Array(23)) }, 'NPY_FORMAT'],
  ])('%s is refused', async (_name, change, what) => {
    await expect(readCsrNpz(await saved({ ...arrays(sound), ...change }))).rejects.toEqual(code(what));
  });

  it('what is no archive, a cut one, or one flipped anywhere is refused or read the same, never a crash', async () => {
    const whole = zipSync(arrays(sound));
    const wanted = await readCsrNpz(await saved(arrays(sound)));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(whole.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, by, cut) => {
          const bad = cut ? whole.slice(0, at) : whole.slice();
          if (!cut) bad[at] ^= by;
          const path = join(home, `${files++}.npz`);
          await writeFile(path, bad);
          try {
            expect(await readCsrNpz(path)).toEqual(wanted);
          } catch (error) {
            expect(error).toBeInstanceOf(EspalierError);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('sizes that no deflate can keep are refused before anything is unpacked', async () => {
    const bomb = zipSync({ 'format.npy': new Uint8Array(100_000) });
    const view = new DataView(bomb.buffer, bomb.byteOffset, bomb.byteLength);
    // The unpacked size stands 24 bytes into the central entry, which begins with PK 01 02.
    const central = Buffer.from(bomb).indexOf('PK\x01\x02', 'latin1');
    view.setUint32(central + 24, 0xfffffff0, true);
    const path = join(home, 'bomb.npz');
    await writeFile(path, bomb);
    await expect(readCsrNpz(path)).rejects.toThrow(/cannot be true/);
  });

  it('checksums are those of ISO 3309, in one piece or two', () => {
    const bytes = Buffer.from('123456789');
    expect(crc32(bytes)).toBe(0xcbf43926);
    expect(crc32(bytes.subarray(4), crc32(bytes.subarray(0, 4)))).toBe(0xcbf43926);
  });
});
