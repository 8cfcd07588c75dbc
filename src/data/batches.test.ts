import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arbitraryDataset, datasetOf, rowRecords } from './arbitrary.testing.js';
import { Batch, BatchPlan, type BatchPosition, batchShape, fillBatch } from './batches.js';

describe('BatchPlan', () => {
  it('hands out every row once per epoch, in an order that seed and epoch decide', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(99),
        (rows, batch, seed) => {
          const plan = new BatchPlan({ rows, batch, seed });
          const epoch = (of: BatchPlan, e: number) =>
            Array.from({ length: of.stepsPerEpoch }, (_, step) => [...of.rowIds({ epoch: e, step })]);
          const first = epoch(plan, 0);
          expect(first.flat().sort((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
          expect(first.slice(0, -1).every((ids) => ids.length === batch)).toBe(true);
          epoch(plan, 3);
          expect(epoch(plan, 0)).toEqual(first);
          expect(epoch(new BatchPlan({ rows, batch, seed }), 0)).toEqual(first);
        },
      ),
    );
  });

  it('resumes in the middle of an epoch with the rows that would have come', () => {
    const options = { rows: 23, batch: 5, seed: 7 };
    const straight = new BatchPlan(options);
    const seen: [BatchPosition, number[]][] = [];
    let position: BatchPosition = { epoch: 0, step: 0 };
    for (let i = 0; i < 12; i++, position = straight.next(position)) {
      seen.push([position, [...straight.rowIds(position)]]);
    }
    for (const [at, rows] of seen.slice(4)) expect([...new BatchPlan(options).rowIds(at)]).toEqual(rows);
    expect(seen.at(-1)?.[0]).toEqual({ epoch: 2, step: 1 });
  });

  it('epochs and seeds differ; without shuffling rows keep their order', () => {
    const plan = new BatchPlan({ rows: 50, batch: 50, seed: 1 });
    const first = [...plan.rowIds({ epoch: 0, step: 0 })];
    expect([...plan.rowIds({ epoch: 1, step: 0 })]).not.toEqual(first);
    const other = new BatchPlan({ rows: 50, batch: 50, seed: 2 });
    expect([...other.rowIds({ epoch: 0, step: 0 })]).not.toEqual(first);
    const still = new BatchPlan({ rows: 5, batch: 2, seed: 1, shuffle: false });
    expect([...still.rowIds({ epoch: 9, step: 2 })]).toEqual([4]);
    expect(new BatchPlan({ rows: 5, batch: 2, seed: 1, dropLast: true }).stepsPerEpoch).toBe(2);
  });

  it('refuses what it cannot do', () => {
    const plan = new BatchPlan({ rows: 5, batch: 2, seed: 1 });
    const code = (c: string) => expect.objectContaining({ code: c });
    expect(() => plan.rowIds({ epoch: 0, step: 3 })).toThrow(code('BATCH_POSITION'));
    expect(() => plan.rowIds({ epoch: -1, step: 0 })).toThrow(code('BATCH_POSITION'));
    expect(() => new BatchPlan({ rows: 0, batch: 2, seed: 1 })).toThrow(code('BATCH_NO_ROWS'));
    expect(() => new BatchPlan({ rows: 3, batch: 4, seed: 1, dropLast: true })).toThrow(
      code('BATCH_NO_ROWS'),
    );
    expect(() => new BatchPlan({ rows: 3, batch: 0, seed: 1 })).toThrow(code('BATCH_SIZE'));
  });
});

describe('fillBatch', () => {
  // 5,000,000 labels: three passes of the radix sort; 1: none.
  it.each([1, 9, 5_000_000])(
    'copies rows, and positives sorted by label, then row, of %d labels',
    (labels) => {
      fc.assert(
        fc.property(
          arbitraryDataset(labels).filter(({ rows }) => rows > 0),
          fc.nat(1000),
          (dataset, seed) => {
            const batchRows = 4;
            const plan = new BatchPlan({ rows: dataset.rows, batch: batchRows, seed });
            const batch = new Batch(batchShape(dataset, batchRows));
            const rows = rowRecords(dataset);
            for (let step = 0; step < plan.stepsPerEpoch; step++) {
              const ids = plan.rowIds({ epoch: 0, step });
              fillBatch(dataset, ids, batch);
              const { features, positives } = batch;
              expect([features.rows, features.width]).toEqual([ids.length, dataset.features]);
              ids.forEach((id, b) => {
                const [begin, end] = [features.indptr[b], features.indptr[b + 1]];
                expect([...features.indices.subarray(begin, end)]).toEqual(rows[id].features);
                expect([...features.values.subarray(begin, end)]).toEqual(rows[id].values);
              });
              expect(features.nnz).toBe(features.indptr[ids.length]);
              const wanted = [...ids].flatMap((id, b) => rows[id].labels.map((label) => [label, b]));
              wanted.sort(([l, b], [m, c]) => l - m || b - c);
              const found = Array.from({ length: positives.count }, (_, e) => [
                positives.label[e],
                positives.row[e],
              ]);
              expect(found).toEqual(wanted);
            }
          },
        ),
        { numRuns: 60 },
      );
    },
  );

  const dataset = datasetOf(
    [
      { features: [0, 1], values: [1, 2], labels: [0] },
      { features: [2], values: [3], labels: [0, 1] },
    ],
    3,
    2,
  );

  it('fills float64 values for the reference backend', () => {
    const shape = batchShape(dataset, 2);
    expect(shape).toEqual({ rows: 2, nnz: 3, positives: 3, width: 3, labels: 2 });
    const values = new Float64Array(3);
    const batch = new Batch(shape, {
      indptr: new Int32Array(3),
      indices: new Uint32Array(3),
      values,
      label: new Uint32Array(3),
      row: new Uint32Array(3),
      scratch: new Uint32Array(6),
    });
    fillBatch(dataset, Uint32Array.of(1, 0), batch);
    expect([...values]).toEqual([3, 1, 2]);
  });

  it('refuses rows that are not there or do not fit, and short buffers', () => {
    const batch = new Batch(batchShape(dataset, 2));
    const code = (c: string) => expect.objectContaining({ code: c });
    expect(() => fillBatch(dataset, Uint32Array.of(2), batch)).toThrow(code('BATCH_ROW'));
    expect(() => fillBatch(dataset, Uint32Array.of(0, 1, 0), batch)).toThrow(code('BATCH_SHAPE'));
    expect(() => fillBatch(dataset, Uint32Array.of(0, 0), batch)).toThrow(code('BATCH_SHAPE'));
    const wider = datasetOf([], 4, 2);
    expect(() => fillBatch(wider, new Uint32Array(0), batch)).toThrow(code('BATCH_SHAPE'));
    const buffers = { ...batch.features, ...batch.positives, scratch: new Uint32Array(5) };
    expect(() => new Batch(batch.shape, buffers)).toThrow(code('BATCH_BUFFER'));
  });
});
