import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { runsFrom } from './places.js';

/** Groups of 0 to 5 slots, and a permutation of labels over the slots. */
const layouts = fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 1, maxLength: 9 }).chain((sizes) => {
  const labels = sizes.reduce((sum, n) => sum + n, 0);
  const order = Array.from({ length: labels }, (_, l) => l);
  return fc.record({
    sizes: fc.constant(sizes),
    labelOf: fc.shuffledSubarray(order, { minLength: labels }),
    from: fc.integer({ min: 0, max: labels }),
  });
});

describe('runsFrom', () => {
  it('holds every slot of a label from `from` on once and no other, each run within a group or of whole ones, in order', () => {
    fc.assert(
      fc.property(layouts, ({ sizes, labelOf, from }) => {
        const starts = Uint32Array.of(0, ...sizes);
        for (let g = 0; g < sizes.length; g++) starts[g + 1] += starts[g];
        const seen: number[] = [];
        for (const run of runsFrom(from, Uint32Array.from(labelOf), starts)) {
          expect(run.starts).toHaveLength(run.groups + 1);
          if (run.groups > 1)
            expect(run.starts).toEqual(starts.subarray(run.group, run.group + run.groups + 1));
          for (let g = 0; g < run.groups; g++) {
            expect(run.starts[g]).toBeGreaterThanOrEqual(starts[run.group + g]);
            expect(run.starts[g + 1]).toBeLessThanOrEqual(starts[run.group + g + 1]);
            for (let slot = run.starts[g]; slot < run.starts[g + 1]; slot++) seen.push(slot);
          }
        }
        const slots = labelOf.flatMap((label, slot) => (label >= from ? [slot] : []));
        expect(seen).toEqual(slots);
      }),
      { numRuns: 300, seed: 4 },
    );
  });

  it('takes whole groups that stand together at once', () => {
    const runs = runsFrom(2, Uint32Array.of(0, 1, 2, 3, 4, 5, 6), Uint32Array.of(0, 3, 5, 7));
    expect(runs).toEqual([
      { group: 0, groups: 1, starts: Uint32Array.of(2, 3) },
      { group: 1, groups: 2, starts: Uint32Array.of(3, 5, 7) },
    ]);
  });
});
