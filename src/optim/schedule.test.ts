import { describe, expect, it } from 'vitest';
import { rateFactor, type ScheduleSpec } from './schedule.js';

const values = (spec: ScheduleSpec, total: number) =>
  Array.from({ length: total }, (_, step) => rateFactor(spec, step, total));

describe('rateFactor', () => {
  it('constant is 1', () => {
    expect(values({ kind: 'constant' }, 3)).toEqual([1, 1, 1]);
  });

  it('linear falls evenly to the floor', () => {
    expect(values({ kind: 'linear' }, 4)).toEqual([1, 0.75, 0.5, 0.25]);
    expect(rateFactor({ kind: 'linear', floor: 0.2 }, 4, 4)).toBeCloseTo(0.2, 15);
    expect(rateFactor({ kind: 'linear', floor: 0.2 }, 2, 4)).toBeCloseTo(0.6, 15);
  });

  it('cosine starts at 1, is half way in the middle, and ends at the floor', () => {
    const spec: ScheduleSpec = { kind: 'cosine', floor: 0.1 };
    expect(rateFactor(spec, 0, 100)).toBe(1);
    expect(rateFactor(spec, 50, 100)).toBeCloseTo(0.55, 12);
    expect(rateFactor(spec, 100, 100)).toBeCloseTo(0.1, 12);
    expect(rateFactor({ kind: 'cosine' }, 25, 100)).toBeCloseTo(0.5 + Math.SQRT1_2 / 2, 12);
  });

  it('warm-up rises linearly, never 0, and hands over at 1', () => {
    const spec: ScheduleSpec = { kind: 'cosine', warmup: 0.4 };
    expect(values(spec, 10).slice(0, 5)).toEqual([0.25, 0.5, 0.75, 1, 1]);
    expect(rateFactor({ kind: 'constant', warmup: 0.5 }, 0, 4)).toBe(0.5);
  });

  it.each<ScheduleSpec>([
    { kind: 'constant', warmup: 0.3 },
    { kind: 'linear', warmup: 0.1, floor: 0.01 },
    { kind: 'cosine', warmup: 0.25 },
  ])('$kind stays in [0, 1], never rises after the warm-up, and holds beyond the end', (spec) => {
    const all = values(spec, 40);
    expect(all.every((x) => x >= 0 && x <= 1)).toBe(true);
    const after = all.slice(Math.round(spec.warmup! * 40));
    expect(after.every((x, i) => i === 0 || x <= after[i - 1])).toBe(true);
    expect(rateFactor(spec, 60, 40)).toBeCloseTo(rateFactor(spec, 40, 40), 15);
  });

  it('survives runs of no step and of one step', () => {
    expect(rateFactor({ kind: 'cosine', warmup: 0.1 }, 0, 0)).toBe(1);
    expect(rateFactor({ kind: 'linear', warmup: 1 }, 0, 1)).toBe(1);
  });
});
