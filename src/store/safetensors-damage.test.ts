import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { largestHeader } from './safetensors-header.js';
import { openSafetensors } from './safetensors-reader.js';
import { openIndex, openShards, writeShards } from './safetensors-shards.js';
import { writeSafetensors } from './safetensors-writer.js';
import { fileBytes, refusalOf, scratchDirectory, scratchFile } from './scratch.testing.js';

const arrays = [
  { name: 'weights', shape: [3, 4], data: Float32Array.from({ length: 12 }, (_, i) => i) },
  { name: 'columns', shape: [5], data: Uint16Array.of(1, 2, 3, 4, 5) },
  { name: 'bias', shape: [3], data: Float64Array.of(1, 2, 3) },
];

async function soundFile(): Promise<{ path: string; bytes: Buffer }> {
  const path = join(await scratchDirectory(), 'x.safetensors');
  await writeSafetensors(path, arrays, { metadata: { note: 'text' } });
  return { path, bytes: await readFile(path) };
}

async function openAll(path: string): Promise<void> {
  const source = await openSafetensors(path);
  try {
    for (const name of source.tensors.keys()) await source.read(name);
  } finally {
    await source.close();
  }
}

describe('damage', () => {
  test('a file cut at any byte is refused as truncated', async () => {
    const { path, bytes } = await soundFile();
    for (let length = 0; length < bytes.length; length++) {
      await writeFile(path, bytes.subarray(0, length));
      const error = await refusalOf(() => openAll(path));
      expect(error.code).toBe('SAFETENSORS_TRUNCATED');
      expect(error.facts).toMatchObject({ kind: 'data', file: path, hint: expect.any(String) });
    }
  });

  test('any flipped byte of the header is refused with data, or leaves tensors that lie in the file', async () => {
    const { path, bytes } = await soundFile();
    const rng = RandomStream.named(7, 'flip');
    const headerEnd = 8 + Number(bytes.readBigUInt64LE(0));
    for (let at = 0; at < headerEnd; at++) {
      for (let round = 0; round < 4; round++) {
        const flipped = Buffer.from(bytes);
        flipped[at] ^= 1 + rng.below(255);
        await writeFile(path, flipped);
        // Either a refusal or a whole read: anything else throws out of here.
        await openAll(path).catch((error) => expect(error.facts?.kind).toBe('data'));
      }
    }
  });

  test('a file that shrinks while open is refused, not read as zeros', async () => {
    const { path } = await soundFile();
    const source = await openSafetensors(path);
    await truncate(path, 100);
    const error = await refusalOf(async () => {
      for (const name of source.tensors.keys()) await source.read(name);
    });
    await source.close();
    expect(error.code).toBe('SAFETENSORS_TRUNCATED');
  });

  test('directories and missing files are named', async () => {
    const directory = await scratchDirectory();
    expect((await refusalOf(() => openSafetensors(directory))).code).toBe('SAFETENSORS_PATH');
    expect((await refusalOf(() => openSafetensors(join(directory, 'no')))).code).toBe('FILE_MISSING');
  });
});

describe('lying headers', () => {
  const entry = (shape: unknown, offsets: unknown, dtype: unknown = 'F32') => ({
    dtype,
    shape,
    data_offsets: offsets,
  });
  const cases: [string, string | object, number, string][] = [
    ['not an object', '[1,2]', 0, 'SAFETENSORS_HEADER'],
    ['not JSON', '{"a":', 0, 'SAFETENSORS_HEADER'],
    ['text after the object', '{}x', 0, 'SAFETENSORS_HEADER'],
    ['a byte order mark', '\ufeff{}', 0, 'SAFETENSORS_HEADER'],
    ['no description', { a: null }, 0, 'SAFETENSORS_HEADER'],
    ['a list for a description', { a: [1] }, 0, 'SAFETENSORS_HEADER'],
    ['metadata that are no texts', { __metadata__: { a: 1 } }, 0, 'SAFETENSORS_HEADER'],
    ['unknown dtype', { a: entry([1], [0, 4], 'F33') }, 4, 'SAFETENSORS_DTYPE'],
    ['dtype out of the prototype', { a: entry([1], [0, 4], 'constructor') }, 4, 'SAFETENSORS_DTYPE'],
    ['no dtype', { a: { shape: [1], data_offsets: [0, 4] } }, 4, 'SAFETENSORS_DTYPE'],
    ['negative side', { a: entry([-1], [0, 4]) }, 4, 'SAFETENSORS_SHAPE'],
    ['fraction', { a: entry([0.5, 2], [0, 4]) }, 4, 'SAFETENSORS_SHAPE'],
    ['side of NaN', '{"a":{"dtype":"F32","shape":[null],"data_offsets":[0,4]}}', 4, 'SAFETENSORS_SHAPE'],
    ['side of text', { a: entry(['1'], [0, 4]) }, 4, 'SAFETENSORS_SHAPE'],
    ['infinite side', '{"a":{"dtype":"F32","shape":[1e999],"data_offsets":[0,4]}}', 4, 'SAFETENSORS_SHAPE'],
    ['huge product', { a: entry([2 ** 40, 2 ** 40], [0, 4]) }, 4, 'SAFETENSORS_OFFSETS'],
    ['product too large', { a: entry([2 ** 30, 1000], [0, 4]) }, 4, 'SAFETENSORS_OFFSETS'],
    ['product too small', { a: entry([1], [0, 8]) }, 8, 'SAFETENSORS_OFFSETS'],
    ['offsets reversed', { a: entry([1], [4, 0]) }, 4, 'SAFETENSORS_OFFSETS'],
    ['three offsets', { a: entry([1], [0, 4, 8]) }, 4, 'SAFETENSORS_OFFSETS'],
    ['no offsets', { a: { dtype: 'F32', shape: [1] } }, 4, 'SAFETENSORS_OFFSETS'],
    ['overlap', { a: entry([2], [0, 8]), b: entry([2], [4, 12]) }, 12, 'SAFETENSORS_OFFSETS'],
    ['the same place twice', { a: entry([1], [0, 4]), b: entry([1], [0, 4]) }, 4, 'SAFETENSORS_OFFSETS'],
    ['gap', { a: entry([1], [0, 4]), b: entry([1], [8, 12]) }, 12, 'SAFETENSORS_OFFSETS'],
    ['gap at the start', { a: entry([1], [4, 8]) }, 8, 'SAFETENSORS_OFFSETS'],
    ['bytes left over', { a: entry([1], [0, 4]) }, 5, 'SAFETENSORS_OFFSETS'],
    ['honest terabytes', { a: entry([2 ** 38], [0, 2 ** 40]) }, 4, 'SAFETENSORS_TRUNCATED'],
    ['brackets without end', `{"a":${'['.repeat(1 << 20)}`, 0, 'SAFETENSORS_HEADER'],
    [
      'a name twice',
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}',
      2,
      'SAFETENSORS_OFFSETS',
    ],
  ];
  test.each(cases)('%s', async (_, header, dataBytes, code) => {
    const path = await scratchFile(fileBytes(header, new Uint8Array(dataBytes)));
    const error = await refusalOf(() => openSafetensors(path));
    expect(error.facts).toMatchObject({ code, kind: 'data', file: path, hint: expect.any(String) });
    expect(error.message.length).toBeLessThan(600);
  });

  test('nesting is refused before the parser spends memory on it, brackets in names do not count', async () => {
    const deep = fileBytes(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    const error = await refusalOf(async () => openSafetensors(await scratchFile(deep)));
    expect(error.facts.received).toContain('nested');
    const named = fileBytes('{"[[[\\"[[{{":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}');
    const source = await openSafetensors(await scratchFile(named));
    await source.close();
    expect([...source.tensors.keys()]).toEqual(['[[["[[{{']);
  });

  test('header bytes that are not UTF-8 are refused', async () => {
    const bytes = fileBytes('{"aa":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}');
    bytes[10] = 0xff;
    const error = await refusalOf(async () => openSafetensors(await scratchFile(bytes)));
    expect(error.code).toBe('SAFETENSORS_HEADER');
  });

  test('a header length beyond reason is refused before anything of that size is allocated', async () => {
    for (const length of [BigInt(largestHeader) + 1n, 2n ** 53n, 2n ** 64n - 1n, 0n, 1n]) {
      const bytes = Buffer.alloc(64, '{');
      bytes.writeBigUInt64LE(length);
      const error = await refusalOf(async () => openSafetensors(await scratchFile(bytes)));
      expect(error.code).toBe('SAFETENSORS_HEADER');
    }
  });

  test('a tensor called __proto__ is a tensor, and no prototype changes', async () => {
    const header = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"polluted":true}}';
    const source = await openSafetensors(await scratchFile(fileBytes(header, Uint8Array.of(5))));
    expect([...source.tensors.keys()]).toEqual(['__proto__']);
    expect(await source.read('__proto__')).toEqual(Uint8Array.of(5));
    await source.close();
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  test('sides of -0 and a product of 0 are zero', async () => {
    const header = '{"a":{"dtype":"F32","shape":[-0,9007199254740991],"data_offsets":[0,-0]}}';
    const source = await openSafetensors(await scratchFile(fileBytes(header)));
    await source.close();
    expect(source.tensors.get('a')).toMatchObject({ shape: [0, 2 ** 53 - 1], begin: 0, bytes: 0 });
  });
});

describe('indices of shards', () => {
  async function shards(): Promise<{ directory: string; index: string }> {
    const directory = await scratchDirectory();
    await writeShards(directory, 'model', arrays, { maxBytes: 1 });
    return { directory, index: join(directory, 'model.safetensors.index.json') };
  }

  test('an index never reaches outside its directory', async () => {
    const { directory, index } = await shards();
    await mkdir(join(directory, 'sub'));
    for (const file of [
      '../x.safetensors',
      '/etc/x.safetensors',
      'sub/x.safetensors',
      'a\\x.safetensors',
      'passwd',
      1,
    ]) {
      await writeFile(index, JSON.stringify({ weight_map: { a: file } }));
      expect((await refusalOf(() => openIndex(index))).code).toBe('SAFETENSORS_INDEX');
    }
  });

  test('an index that is no index is refused', async () => {
    const { index } = await shards();
    for (const text of ['', 'null', '[]', '{}', '{"weight_map":[]}']) {
      await writeFile(index, text);
      expect((await refusalOf(() => openIndex(index))).code).toBe('SAFETENSORS_INDEX');
    }
  });

  test('a missing shard and a tensor in the wrong shard are named', async () => {
    const { directory, index } = await shards();
    const map = JSON.parse(await readFile(index, 'utf8')).weight_map;
    await writeFile(index, JSON.stringify({ weight_map: { ...map, bias: map.weights } }));
    expect((await refusalOf(() => openShards(directory, 'model'))).code).toBe('TENSOR_MISSING');
    await writeFile(index, JSON.stringify({ weight_map: map }));
    await rm(join(directory, map.bias));
    const error = await refusalOf(() => openShards(directory, 'model'));
    expect(error.facts).toMatchObject({ code: 'FILE_MISSING', file: join(directory, map.bias) });
  });
});
