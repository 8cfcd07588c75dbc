import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { EspalierError } from '../errors.js';
import { parseIdx, readIdx } from './idx.js';
import { holdOutImages, imageDataset, pixelMoments, readMnist } from './images.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-idx-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** An IDX file of bytes 0, 1, 2, ... */
function idx(shape: readonly number[], type = 8): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [i, side] of shape.entries()) header.writeUInt32BE(side, 4 + 4 * i);
  const n = shape.reduce((a, b) => a * b, 1);
  return Buffer.concat([header, Buffer.from(Array.from({ length: n }, (_, i) => i % 256))]);
}

describe('readIdx', () => {
  it('reads what was written, plain and gzipped', async () => {
    for (const bytes of [idx([2, 3, 4]), gzipSync(idx([2, 3, 4]))]) {
      const file = join(scratch, `a-${bytes.length}`);
      writeFileSync(file, bytes);
      const { shape, data } = await readIdx(file);
      expect(shape).toEqual([2, 3, 4]);
      expect(Array.from(data)).toEqual(Array.from({ length: 24 }, (_, i) => i));
    }
  });

  const hostile: [string, Uint8Array, RegExp][] = [
    ['an empty file', new Uint8Array(0), /IDX_DAMAGED/],
    ['another format', Buffer.from('PK\x03\x04 and so on'), /IDX_DAMAGED/],
    ['no dimensions', Buffer.of(0, 0, 8, 0, 1), /IDX_DAMAGED/],
    ['more dimensions than bytes', Buffer.of(0, 0, 8, 3, 0, 0, 0, 1), /IDX_DAMAGED/],
    ['200 dimensions', Buffer.concat([Buffer.of(0, 0, 8, 200), Buffer.alloc(800)]), /IDX_DAMAGED/],
    ['an unknown type', idx([2], 7), /IDX_DAMAGED/],
    ['floats', idx([2], 13), /32-bit floats.*IDX_TYPE/],
    ['too few bytes', idx([2, 3]).subarray(0, 15), /IDX_DAMAGED/],
    ['too many bytes', Buffer.concat([idx([2, 3]), Buffer.of(1)]), /IDX_DAMAGED/],
    [
      'sizes whose product passes 2^64',
      Buffer.concat([Buffer.of(0, 0, 8, 3), Buffer.alloc(12, 0xff)]),
      /IDX_TOO_LARGE/,
    ],
    ['a gzip file that was cut', gzipSync(idx([50, 50])).subarray(0, 60), /IDX_DAMAGED/],
  ];
  it.each(hostile)('refuses %s', (_name, bytes, error) => {
    expect(() => parseIdx(bytes)).toThrow(error);
  });

  it('does not unpack more than it is allowed to', () => {
    const bomb = gzipSync(Buffer.alloc(1 << 20));
    expect(() => parseIdx(bomb, { maxBytes: 1000 })).toThrow(/IDX_TOO_LARGE/);
  });

  it('answers any bytes with an array or an error of its own', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), fc.boolean(), (bytes, begins) => {
        if (begins) bytes.set([0, 0, 8].slice(0, bytes.length));
        try {
          const { shape, data } = parseIdx(bytes);
          expect(data.length).toBe(shape.reduce((a, b) => a * b, 1));
        } catch (error) {
          expect(error).toBeInstanceOf(EspalierError);
        }
      }),
      { numRuns: 500, seed: 1 },
    );
  });
});

describe('image datasets', () => {
  const make = (rows: number) => imageDataset('t', parseIdx(idx([rows, 2, 3])), parseIdx(idx([rows])), 256);

  it('refuse labels of another number', () => {
    expect(() => imageDataset('t', parseIdx(idx([3, 2, 2])), parseIdx(idx([4])), 10)).toThrow(/IMAGES_SHAPE/);
    expect(() => imageDataset('t', parseIdx(idx([4, 2, 2])), parseIdx(idx([4])), 3)).toThrow(/IMAGES_SHAPE/);
  });

  it('set a validation part aside that shares no image with the rest and depends on the seed alone', () => {
    const all = make(20);
    const { train, validation } = holdOutImages(all, 5, 3);
    expect([train.rows, validation.rows]).toEqual([15, 5]);
    expect([...train.labels, ...validation.labels].sort((a, b) => a - b)).toEqual(Array.from(all.labels));
    expect(holdOutImages(all, 5, 3).validation.labels).toEqual(validation.labels);
    expect(holdOutImages(all, 5, 4).validation.labels).not.toEqual(validation.labels);
    for (const [i, label] of validation.labels.entries()) expect(validation.pixels[6 * i]).toBe(6 * label);
    expect(() => holdOutImages(all, 20, 1)).toThrow(/VALIDATION_SIZE/);
  });

  it('know the moments of their pixels', () => {
    const { mean, deviation } = pixelMoments(make(1));
    expect(mean[0]).toBeCloseTo(2.5 / 255, 14);
    expect(deviation[0]).toBeCloseTo(Math.sqrt(35 / 12) / 255, 14);
  });

  it('name the file that a directory lacks', async () => {
    await expect(readMnist(scratch)).rejects.toThrow(/IMAGES_MISSING/);
  });

  it.skipIf(!existsSync('../shared/data/mnist'))('read MNIST: 60,000 and 10,000 digits', async () => {
    const { train, test } = await readMnist('../shared/data/mnist');
    expect([train.rows, test.rows, train.classes, train.height]).toEqual([60_000, 10_000, 10, 28]);
    expect(pixelMoments(train).mean[0]).toBeCloseTo(0.1307, 4);
    expect(pixelMoments(train).deviation[0]).toBeCloseTo(0.3081, 4);
  });
});
