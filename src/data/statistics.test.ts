import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arbitraryDataset, datasetOf, rowRecords } from './arbitrary.testing.js';
import {
  labelBuckets,
  labelFrequencies,
  largestBatchNnz,
  largestBatchPositives,
  largestRow,
  rowSizeHistogram,
} from './statistics.js';

describe('statistics', () => {
  it('label frequencies and row sizes count every pair once', () => {
    fc.assert(
      fc.property(arbitraryDataset(), (dataset) => {
        const frequencies = labelFrequencies(dataset);
        const rows = rowRecords(dataset);
        frequencies.forEach((f, l) => {
          expect(f).toBe(rows.filter(({ labels }) => labels.includes(l)).length);
        });
        const histogram = [...rowSizeHistogram(dataset.labelIndptr)];
        expect(histogram.reduce((sum, n) => sum + n, 0)).toBe(dataset.rows);
        expect(histogram.reduce((sum, n, size) => sum + n * size, 0)).toBe(dataset.positives);
        expect(largestRow(dataset.labelIndptr)).toBe(histogram.length - 1);
      }),
    );
  });

  it('the largest batch is the sum of the largest rows', () => {
    fc.assert(
      fc.property(arbitraryDataset(), fc.integer({ min: 1, max: 15 }), (dataset, batch) => {
        const largest = (sizes: number[]) =>
          sizes
            .sort((a, b) => b - a)
            .slice(0, batch)
            .reduce((sum, n) => sum + n, 0);
        const rows = rowRecords(dataset);
        expect(largestBatchNnz(dataset, batch)).toBe(largest(rows.map((r) => r.features.length)));
        expect(largestBatchPositives(dataset, batch)).toBe(largest(rows.map((r) => r.labels.length)));
      }),
    );
  });

  it('refuses batches of no rows', () => {
    const dataset = datasetOf([], 1, 1);
    expect(() => largestBatchNnz(dataset, 0)).toThrow(expect.objectContaining({ code: 'BATCH_SIZE' }));
  });
});

describe('label buckets', () => {
  it('aim at a third of the pairs each, keep equal frequencies together, and put unseen labels in the tail', () => {
    const buckets = labelBuckets(Uint32Array.of(9, 1, 3, 1, 0, 3, 1));
    expect(buckets).toMatchObject({
      tailAtMost: 1,
      torsoAtMost: 3,
      labels: [1, 2, 4],
      positives: [9, 6, 3],
    });
    expect([...buckets.of]).toEqual([0, 2, 1, 2, 2, 1, 2]);
  });

  it('tail holds at most a third of the pairs, tail and torso at most two thirds', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 30 }), (frequencies) => {
        const { positives, labels } = labelBuckets(Uint32Array.from(frequencies));
        const total = positives[0] + positives[1] + positives[2];
        expect(3 * positives[2]).toBeLessThanOrEqual(total);
        expect(3 * (positives[1] + positives[2])).toBeLessThanOrEqual(2 * total);
        expect(labels[0] + labels[1] + labels[2]).toBe(frequencies.length);
      }),
    );
  });

  it('takes borders from the caller and refuses crossed ones', () => {
    expect(labelBuckets(Uint32Array.of(1, 6, 60), { tailAtMost: 5, torsoAtMost: 50 }).labels).toEqual([
      1, 1, 1,
    ]);
    expect(() => labelBuckets(Uint32Array.of(1), { tailAtMost: 5, torsoAtMost: 4 })).toThrow(
      expect.objectContaining({ code: 'BUCKET_BORDERS' }),
    );
  });
});
