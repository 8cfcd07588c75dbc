import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockBytes, sha256OfFile } from './checksum.js';
import { elementBytes, makeArray, type StoredData, storedDtypes } from './dtypes.js';
import { openSafetensors, restoreArrays } from './safetensors-reader.js';
import { openShards, writeShards } from './safetensors-shards.js';
import { type StoredArray, writeSafetensors } from './safetensors-writer.js';
import { fileBytes, refusalOf, scratchDirectory, scratchFile } from './scratch.testing.js';

/** Random bits: NaN patterns, -0 and denormals come along. */
const storedArray: fc.Arbitrary<StoredArray> = fc
  .record({
    name: fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('__proto__', 'constructor', '', '1', 'a.b/c'),
    ),
    dtype: fc.constantFrom(...storedDtypes),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
    seed: fc.nat(255),
    shared: fc.boolean(),
  })
  .map(({ name, dtype, shape, seed, shared }) => {
    const length = shape.reduce((a, b) => a * b, 1);
    const like = makeArray(dtype, 0);
    // Views that begin in the middle of their buffer must not leak what lies around them.
    const bytes = (length + 2) * elementBytes(dtype);
    const buffer = shared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
    new Uint8Array(buffer).forEach((_, i, all) => {
      all[i] = (seed * 31 + i * 197) & 255;
    });
    const View = like.constructor as new (b: ArrayBufferLike, offset: number, length: number) => StoredData;
    return { name, dtype, shape, data: new View(buffer, elementBytes(dtype), length) };
  })
  .filter(({ name }) => !/\p{Surrogate}/u.test(name) && name !== '__metadata__');

const storedArrays = fc.uniqueArray(storedArray, { selector: ({ name }) => name, maxLength: 6 });

const bitsOf = (data: StoredData) =>
  Buffer.from(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));

describe('round trip', () => {
  test('names, dtypes, shapes and bits come back, from one file or many', async () => {
    const directory = await scratchDirectory();
    let run = 0;
    await fc.assert(
      fc.asyncProperty(storedArrays, fc.integer({ min: 1, max: 1500 }), async (arrays, maxBytes) => {
        const stem = `m${run++}`;
        const metadata = { note: 'ü\n"' };
        const files = await writeShards(directory, stem, arrays, { maxBytes, metadata });
        for (const { name, bytes, sha256 } of files) {
          expect((await stat(join(directory, name))).size).toBe(bytes);
          expect(await sha256OfFile(join(directory, name))).toBe(sha256);
        }
        const source = await openShards(directory, stem);
        try {
          expect([...source.tensors.keys()].sort()).toEqual(arrays.map(({ name }) => name).sort());
          expect(Object.fromEntries(source.metadata)).toEqual(metadata);
          for (const { name, dtype, shape, data } of arrays) {
            expect(source.tensors.get(name)).toMatchObject({ dtype, shape, bytes: data.byteLength });
            expect(bitsOf(await source.read(name))).toEqual(bitsOf(data));
            const target = makeArray(dtype!, data.length);
            await source.readInto(name, target);
            expect(bitsOf(target)).toEqual(bitsOf(data));
          }
        } finally {
          await source.close();
        }
      }),
      { numRuns: 60 },
    );
  });

  test('tensors longer than the copy buffer are whole, also in shared memory and when widened', async () => {
    const n = Math.floor(blockBytes / 4) * 2 + 12345;
    const data = new Float32Array(new SharedArrayBuffer(4 * n));
    for (let i = 0; i < n; i++) data[i] = i;
    const path = join(await scratchDirectory(), 'big.safetensors');
    await writeSafetensors(path, [{ name: 'w', shape: [n], data }]);
    const source = await openSafetensors(path);
    const back = new Float32Array(new SharedArrayBuffer(4 * n));
    await source.readInto('w', back);
    const wide = new Float64Array(n);
    await source.readInto('w', wide);
    await source.close();
    expect(bitsOf(back).equals(bitsOf(data))).toBe(true);
    expect(wide.every((x, i) => x === i)).toBe(true);
  });
});

describe('format', () => {
  test('the bytes are those of the published format', async () => {
    const path = join(await scratchDirectory(), 'x.safetensors');
    await writeSafetensors(path, [{ name: 'a', shape: [1, 2], data: Float32Array.of(1, -2) }]);
    const json = '{"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}';
    expect(json.length % 8).toBe(0);
    const expected = fileBytes(json, Uint8Array.of(0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0));
    expect(await readFile(path)).toEqual(expected);
  });

  test('bytes made by hand are read: padding, metadata, raw half floats', async () => {
    const header = `${JSON.stringify({
      half: { data_offsets: [3, 7], shape: [2], dtype: 'F16' },
      __metadata__: { format: 'pt' },
      bytes: { dtype: 'U8', shape: [3], data_offsets: [0, 3] },
      brain: { dtype: 'BF16', shape: [], data_offsets: [7, 9] },
    })}   `;
    const data = Uint8Array.of(7, 8, 9, 0x00, 0x3c, 0x00, 0xc0, 0x80, 0x3f);
    const source = await openSafetensors(await scratchFile(fileBytes(header, data)));
    const half = new Float32Array(2);
    await source.readInto('half', half);
    const brain = new Float64Array(1);
    await source.readInto('brain', brain);
    expect(await source.read('bytes')).toEqual(Uint8Array.of(7, 8, 9));
    expect(await source.read('half')).toEqual(Uint16Array.of(0x3c00, 0xc000));
    await source.close();
    expect([...half, ...brain]).toEqual([1, -2, 1]);
    expect(source.metadata.get('format')).toBe('pt');
  });

  test('every tensor is aligned to its elements, so that the file can be mapped', async () => {
    const arrays = storedDtypes.map((dtype) => ({
      name: dtype,
      dtype,
      shape: [3],
      data: makeArray(dtype, 3),
    }));
    const path = join(await scratchDirectory(), 'x.safetensors');
    await writeSafetensors(path, arrays, { metadata: { odd: 'abc' } });
    const source = await openSafetensors(path);
    await source.close();
    const dataStart = 8 + Number((await readFile(path)).readBigUInt64LE(0));
    for (const { dtype, begin } of source.tensors.values()) {
      expect((dataStart + begin) % elementBytes(dtype)).toBe(0);
    }
  });

  test('files stay under the limit, a larger tensor has one of its own, the index names them all', async () => {
    const directory = await scratchDirectory();
    const sizes = [3000, 400, 400, 400, 10, 10];
    const arrays = sizes.map((n, i) => ({ name: `t${i}`, shape: [n], data: new Uint8Array(n).fill(i) }));
    const files = await writeShards(directory, 'model', arrays, { maxBytes: 1200 });
    const index = JSON.parse(await readFile(join(directory, 'model.safetensors.index.json'), 'utf8'));
    expect(index.metadata.total_size).toBe(4220);
    expect(Object.keys(index.weight_map)).toHaveLength(6);
    const alone = Object.entries(index.weight_map).filter(([, file]) => file === index.weight_map.t0);
    expect(alone).toHaveLength(1);
    const over = files.filter(({ name, bytes }) => name !== index.weight_map.t0 && bytes > 1200);
    expect(over.map(({ name }) => name)).toEqual([]);
    const named = new Set([...Object.values(index.weight_map), 'model.safetensors.index.json']);
    expect((await readdir(directory)).sort()).toEqual([...named].sort());
    expect(files.map(({ name }) => name).sort()).toEqual([...named].sort());
  });

  test('the limit counts the header too', async () => {
    const directory = await scratchDirectory();
    const long = 'n'.repeat(200);
    const arrays = Array.from({ length: 30 }, (_, i) => ({
      name: `${long}${i}`,
      shape: [1],
      data: new Uint8Array(1),
    }));
    const files = await writeShards(directory, 'model', arrays, { maxBytes: 1500, metadata: { long } });
    const shards = files.filter(({ name }) => name.endsWith('.safetensors'));
    expect(shards.length).toBeGreaterThan(5);
    expect(Math.max(...shards.map(({ bytes }) => bytes))).toBeLessThanOrEqual(1500);
  });

  const python = '/usr/bin/python3';
  const numpy = existsSync(python) && succeeds(() => execFileSync(python, ['-c', 'import numpy']));
  test.skipIf(!numpy)('an independent reader in Python with NumPy sees the same numbers', async () => {
    const directory = await scratchDirectory();
    const path = join(directory, 'x.safetensors');
    await writeSafetensors(path, [
      { name: 'ü "w"', shape: [2, 3], data: Float32Array.of(0.5, -1, 2, 3, 4, 5) },
      { name: 'd', shape: [2], data: Float64Array.of(1e300, -0.1) },
      { name: 'i', shape: [1, 2], data: Uint16Array.of(65535, 7) },
      { name: 'q', shape: [1], data: BigInt64Array.of(-(2n ** 60n)) },
      { name: 'none', shape: [0, 4], data: new Uint32Array(0) },
    ]);
    const script = `
import json, struct, sys, numpy as np
raw = open(sys.argv[1], 'rb').read()
n, = struct.unpack('<Q', raw[:8])
head, data = json.loads(raw[8:8 + n]), raw[8 + n:]
kinds = {'F32': '<f4', 'F64': '<f8', 'U16': '<u2', 'U32': '<u4', 'I64': '<i8'}
out = {}
for name, t in head.items():
    a, b = t['data_offsets']
    out[name] = np.frombuffer(data[a:b], kinds[t['dtype']]).reshape(t['shape']).tolist()
print(json.dumps(out))`;
    const seen = JSON.parse(
      execFileSync(python, ['-c', script, path], { encoding: 'utf8' }).replace(
        '-1152921504606846976',
        '"-2^60"',
      ),
    );
    expect(seen).toEqual({
      'ü "w"': [
        [0.5, -1, 2],
        [3, 4, 5],
      ],
      d: [1e300, -0.1],
      i: [[65535, 7]],
      q: ['-2^60'],
      none: [],
    });
  });
});

describe('refusals', () => {
  test('what cannot be stored is refused before a file exists', async () => {
    const directory = await scratchDirectory();
    const one = { name: 'a', shape: [1], data: new Float32Array(1) };
    const cases: StoredArray[][] = [
      [one, one],
      [{ ...one, shape: [2] }],
      [{ ...one, shape: [-1] }],
      [{ ...one, shape: [0.5, 2] }],
      [{ ...one, name: '__metadata__' }],
      [{ ...one, name: '\ud800' }],
      [{ ...one, dtype: 'F64' }],
      [{ ...one, data: [1] as never }],
      [{ ...one, data: new Uint8ClampedArray(1) as never }],
    ];
    for (const arrays of cases) {
      const error = await refusalOf(() => writeSafetensors(join(directory, 'x.safetensors'), arrays));
      expect(error).toMatchObject({ code: 'SAFETENSORS_TENSOR', exitCode: 2 });
    }
    expect(await readdir(directory)).toEqual([]);
  });

  test('a target of another size or a narrower type stays untouched', async () => {
    const path = join(await scratchDirectory(), 'x.safetensors');
    await writeSafetensors(path, [{ name: 'weights', shape: [2], data: Float64Array.of(1, 2) }]);
    const source = await openSafetensors(path);
    const cases: [StoredData, string][] = [
      [new Float64Array(3).fill(9), 'TENSOR_SHAPE'],
      [new Float32Array(2).fill(9), 'TENSOR_DTYPE'],
      [new Int32Array(2).fill(9), 'TENSOR_DTYPE'],
    ];
    for (const [target, code] of cases) {
      expect((await refusalOf(() => source.readInto('weights', target))).code).toBe(code);
      expect([...(target as Float32Array)].every((x) => x === 9)).toBe(true);
    }
    const absent = await refusalOf(() => source.read('weihgts'));
    await source.close();
    expect(absent.code).toBe('TENSOR_MISSING');
    expect(absent.facts.hint).toContain('"weights"');
  });

  test('restoring compares names and shapes both ways before any array changes', async () => {
    const path = join(await scratchDirectory(), 'x.safetensors');
    const zeros = (name: string, ...shape: number[]) => ({
      name,
      shape,
      data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
    });
    const saved = [zeros('a', 2), zeros('b', 2, 3)];
    for (const { data } of saved) data.fill(5);
    await writeSafetensors(path, saved);
    const source = await openSafetensors(path);
    const cases: [StoredArray[], string][] = [
      [[zeros('a', 2)], 'TENSOR_UNEXPECTED'],
      [[zeros('a', 2), zeros('b', 2, 3), zeros('c', 1)], 'TENSOR_MISSING'],
      [[zeros('a', 2), zeros('b', 3, 2)], 'TENSOR_SHAPE'],
      [[zeros('a', 2), { ...zeros('b', 2, 3), data: new Uint32Array(6) }], 'TENSOR_DTYPE'],
    ];
    for (const [arrays, code] of cases) {
      expect((await refusalOf(() => restoreArrays(source, arrays))).code).toBe(code);
      for (const { data } of arrays) expect([...(data as Float32Array)].every((x) => x === 0)).toBe(true);
    }
    const fresh = [zeros('b', 2, 3), zeros('a', 2)];
    await restoreArrays(source, fresh);
    await source.close();
    expect(fresh.every(({ data }) => data.every((x) => x === 5))).toBe(true);
  });
});

function succeeds(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch {
    return false;
  }
}
