import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { backends } from '../../output/backends.testing.js';
import { Device } from '../../tensor/device.js';
import { FactoredOutput } from './factored-output.js';
import { Factors } from './factors.js';
import { zLoss } from './losses.js';
import { relative } from './problem.testing.js';
import { TakenCounts } from './taken.js';

const reference = () => new Device(backends.find(({ exact }) => exact)!.kernels!);

describe('taken counts', () => {
  it('are those of a map, whatever is set, over many seeds', () => {
    for (let seed = 0; seed < 50; seed++) {
      const draws = RandomStream.named(seed, 'taken');
      const most = 1 + draws.below(40);
      const [table, map] = [new TakenCounts(reference(), most), new Map<number, number>()];
      const range = draws.uniform() < 0.5 ? 100 : 2 ** 31;
      for (let i = 0; i < 200; i++) {
        const row = draws.below(range);
        if (!map.has(row) && !table.fits(1)) break;
        const count = draws.below(33);
        table.set(row, count);
        map.set(row, count);
        expect(table.get(draws.below(range)) === 0 || map.size > 0).toBe(true);
      }
      for (const [row, count] of map) expect(table.get(row)).toBe(count);
      for (let row = 0; row < 100; row++) expect(table.get(row)).toBe(map.get(row) ?? 0);
      expect(map.size).toBeGreaterThanOrEqual(Math.min(most, 1));
      expect(table.recount(32)).toBe(true);
      table.clear();
      for (const row of map.keys()) expect(table.get(row)).toBe(0);
    }
  });

  it('hold the number of rows that was asked for', () => {
    for (const most of [1, 2, 3, 64, 65]) {
      const table = new TakenCounts(reference(), most);
      for (let row = 0; row < most; row++) {
        expect(table.fits(1)).toBe(true);
        table.set(7 * row, 1);
      }
    }
  });

  it('that no table can have saved are found, and a full one is no endless search', () => {
    const make = (spoil: (table: TakenCounts) => void) => {
      const table = new TakenCounts(reference(), 8);
      for (let row = 0; row < 6; row++) table.set(row, 2);
      spoil(table);
      return table.recount(2);
    };
    expect(make(() => {})).toBe(true);
    expect(make(({ counts }) => counts.fill(3))).toBe(false);
    expect(make(({ rows }) => rows.fill(9))).toBe(false);
    expect(make(({ rows }) => rows.reverse())).toBe(false);
    expect(make(({ rows, counts }) => counts.fill(1, rows.indexOf(0), rows.indexOf(0) + 1))).toBe(false);
  });
});

describe('changes that wait', () => {
  const d = 5;
  const labels = 30_000;

  it('give the rows that changes at once give, also when more rows are named than the table holds', async () => {
    const device = reference();
    const draws = RandomStream.named(3, 'waiting');
    const small = (n: number) => Float64Array.from({ length: n }, () => 0.4 * (draws.uniform() - 0.5));
    const factors = new Factors(device, labels, d);
    factors.draw(draws, 1);
    const expected = Float64Array.from(factors.V);
    let overflowed = 0;
    for (let round = 0; round < 60; round++) {
      device.arena.reset();
      const named = new Set(Array.from({ length: 200 }, () => draws.below(labels)));
      const label = Uint32Array.from(named).sort();
      const before = factors.waiting.rank;
      await factors.settle(label.length, label);
      if (factors.waiting.rank < before) overflowed++;
      // A row that has settled takes further updates of its own.
      for (const row of label) {
        expect(
          relative(factors.V.subarray(row * d, row * d + d), expected.subarray(row * d, row * d + d)),
        ).toBeLessThan(1e-12);
        factors.V[row * d] += 0.25;
        expected[row * d] += 0.25;
      }
      if (round % 7 !== 3) continue;
      const rank = 1 + (round % 2);
      const [left, right] = [small(rank * d), small(rank * d)];
      await factors.change(rank, left, right);
      for (let row = 0; row < labels; row++) {
        const v = Float64Array.from(expected.subarray(row * d, row * d + d));
        for (let r = 0; r < rank; r++) {
          const part = v.reduce((sum, x, j) => sum + x * left[r * d + j], 0);
          for (let j = 0; j < d; j++) expected[row * d + j] += part * right[r * d + j];
        }
      }
    }
    expect(overflowed).toBeGreaterThan(0);
    const scratch = factors.settledScratch(labels);
    expect(relative(factors.settled(0, labels, scratch), expected)).toBeLessThan(1e-12);
    factors.settleAllNow();
    expect(relative(factors.V, expected)).toBeLessThan(1e-12);
  });

  it('take no memory that grows with the number of labels: V alone does, by 4 bytes a weight', async () => {
    const bytes = async (labels: number) => {
      const device = new Device(backends.find(({ exact, kernels }) => !exact && kernels !== null)!.kernels!);
      const optimizer = { kind: 'sgd', rate: 1 } as const;
      const stream = RandomStream.named(1, 'output');
      const layer = new FactoredOutput(device, { inputs: 8, labels, loss: zLoss(), optimizer, stream });
      return (await layer.plan({ batch: 16, positives: 16 * 5 })).totalBytes;
    };
    const [small, large] = [await bytes(200_000), await bytes(400_000)];
    expect(large - small).toBe(4 * 8 * 200_000);
  });
});
