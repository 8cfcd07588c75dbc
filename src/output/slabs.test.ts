import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { overSlabs, slabLabels } from './slabs.js';

describe('slabLabels', () => {
  it('is a whole number of chunks, within the labels rounded up, whatever the shape', () => {
    fc.assert(
      fc.property(
        fc.record({
          labels: fc.integer({ min: 0, max: 1e7 }),
          chunk: fc.integer({ min: 1, max: 1000 }),
          threads: fc.integer({ min: 1, max: 64 }),
          flopsPerLabel: fc.integer({ min: 0, max: 1e9 }),
          slow: fc.boolean(),
        }),
        (shape) => {
          const slab = slabLabels(shape);
          expect(slab % shape.chunk).toBe(0);
          expect(slab).toBeGreaterThan(0);
          expect(slab).toBeLessThanOrEqual(
            Math.max(shape.chunk, Math.ceil(shape.labels / shape.chunk) * shape.chunk),
          );
        },
      ),
      { seed: 1 },
    );
  });

  it('is smaller where the work is slower, and gives every thread as many chunks', () => {
    const shape = { labels: 1e6, chunk: 128, threads: 2, flopsPerLabel: 12_288 };
    const [fast, slow] = [slabLabels({ ...shape, slow: false }), slabLabels({ ...shape, slow: true })];
    expect(slow).toBeLessThan(fast);
    expect([fast % 256, slow % 256]).toEqual([0, 0]);
  });
});

describe('overSlabs', () => {
  it('visits every label once, in order, and adds up', async () => {
    const seen: [number, number][] = [];
    const total = await overSlabs(10, 4, (begin, end) => {
      seen.push([begin, end]);
      return end - begin;
    });
    expect(seen).toEqual([
      [0, 4],
      [4, 8],
      [8, 10],
    ]);
    expect(total).toBe(10);
  });

  it('calls once with nothing when there are no labels, so that outputs are cleared', async () => {
    const seen: [number, number][] = [];
    await overSlabs(0, 4, (begin, end) => seen.push([begin, end]));
    expect(seen).toEqual([[0, 0]]);
  });

  it('lets the event loop turn while long work goes on', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const busy = () => {
      const until = performance.now() + 60;
      while (performance.now() < until);
      return 0;
    };
    await overSlabs(4, 1, busy);
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(0);
  });
});
