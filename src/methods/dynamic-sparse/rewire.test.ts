import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { checkTopology, defaultSet, type PruneRule, type Topology } from './options.js';
import { type RewireTarget, rewire, rewireProgress } from './rewire.js';
import { drawColumns } from './topology.js';

interface Shape {
  readonly labels: number;
  readonly fanIn: number;
  readonly inputs: number;
  readonly shared?: number;
}

/** A layer with weights in few magnitudes (ties!) and moments that are nowhere 0. */
function layer(
  { labels, fanIn, inputs, shared = 0 }: Shape,
  draws: RandomStream,
  Floats = Float64Array,
): RewireTarget {
  const n = labels * fanIn;
  const columns = new Uint16Array(n);
  drawColumns(columns, fanIn, inputs, 0, labels, draws, shared);
  const target = {
    labels,
    fanIn,
    inputs,
    shared,
    columns,
    weights: new Floats(n),
    moments: { m: new Floats(n), v: new Floats(n) },
  };
  perturb(target, draws);
  return target;
}

/** Training in between: every weight and moment becomes something other than 0. */
function perturb({ weights, moments }: RewireTarget, draws: RandomStream) {
  for (let s = 0; s < weights.length; s++) {
    weights[s] =
      (draws.below(2) === 0 ? 1 : -1) * (draws.below(2) === 0 ? 0.1 * (1 + draws.below(5)) : draws.uniform());
    moments.m![s] = 1 + draws.uniform();
    moments.v![s] = 1 + draws.uniform();
  }
}

const copyOf = ({ columns, weights, moments }: RewireTarget) => ({
  columns: columns.slice(),
  weights: weights.slice(),
  m: moments.m!.slice(),
  v: moments.v!.slice(),
});

/** The slots that must go, by plain sorting: smallest magnitude first, ties in order of slots. */
function doomed(
  { labels, fanIn, weights, shared = 0 }: RewireTarget,
  rule: PruneRule,
  progress: number,
): Set<number> {
  const cosine = 0.5 * (1 + Math.cos(Math.PI * progress));
  const magnitude = (slot: number) => Math.fround(Math.abs(weights[slot]));
  const smallest = (slots: number[], count: number) =>
    slots.toSorted((a, b) => magnitude(a) - magnitude(b) || a - b).slice(0, count);
  const rows = Array.from({ length: labels }, (_, l) =>
    Array.from({ length: fanIn - shared }, (_, k) => l * fanIn + shared + k),
  );
  const slots = rows.flat();
  if (rule.mode === 'threshold') {
    const tau = 1e-4 + (rule.tau - 1e-4) * cosine;
    return new Set(slots.filter((s) => Math.abs(weights[s]) < tau));
  }
  const fraction = rule.fraction * (rule.anneal === 'cosine' ? cosine : 1);
  if (rule.scope === 'layer') return new Set(smallest(slots, Math.floor(fraction * slots.length)));
  return new Set(rows.flatMap((row) => smallest(row, Math.floor(fraction * row.length))));
}

const share = fc.oneof(fc.constantFrom(0, 0.15, 0.5, 1), fc.double({ min: 0, max: 1, noNaN: true }));
const rules: fc.Arbitrary<PruneRule> = fc.oneof(
  fc.record({
    mode: fc.constant('fraction' as const),
    fraction: share,
    scope: fc.constantFrom('label' as const, 'layer' as const),
    anneal: fc.constantFrom('constant' as const, 'cosine' as const),
  }),
  fc.record({
    mode: fc.constant('threshold' as const),
    tau: fc.double({ min: 1e-4, max: 1.2, noNaN: true }),
  }),
);
const shapes: fc.Arbitrary<Shape> = fc.integer({ min: 1, max: 24 }).chain((inputs) =>
  fc.integer({ min: 1, max: inputs }).chain((fanIn) =>
    fc.record({
      labels: fc.integer({ min: 1, max: 12 }),
      fanIn: fc.constant(fanIn),
      inputs: fc.constant(inputs),
      shared: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: fanIn - 1 })),
    }),
  ),
);

describe('rewire', () => {
  it.each([
    ['float32', Float32Array],
    ['float64', Float64Array],
  ])(
    'replaces exactly the slots that its rule names, keeps F different columns per row, and moves nothing else (%s)',
    (_name, Floats) => {
      fc.assert(
        fc.property(shapes, rules, fc.integer({ min: 0, max: 1e6 }), share, (shape, rule, seed, progress) => {
          const draws = RandomStream.named(seed, 'weights');
          const regrow = RandomStream.named(seed, 'regrow');
          const target = layer(shape, draws, Floats as typeof Float64Array);
          const { labels, fanIn, inputs, shared = 0 } = shape;
          const last = Array.from({ length: shared }, (_, k) => inputs - shared + k);
          for (let round = 0; round < 3; round++) {
            const before = copyOf(target);
            const expected = doomed(target, rule, progress);
            const { replaced } = rewire(target, rule, progress, regrow);
            expect(replaced).toBe(expected.size);
            for (let s = 0; s < labels * fanIn; s++) {
              const now = [target.weights[s], target.moments.m![s], target.moments.v![s]];
              if (expected.has(s)) expect(now).toEqual([0, 0, 0]);
              else {
                expect(now).toEqual([before.weights[s], before.m[s], before.v[s]]);
                expect(target.columns[s]).toBe(before.columns[s]);
              }
            }
            for (let l = 0; l < labels; l++) {
              const row = target.columns.subarray(l * fanIn, (l + 1) * fanIn);
              expect(new Set(row).size).toBe(fanIn);
              expect(Array.from(row.subarray(0, shared))).toEqual(last);
              expect(row.subarray(shared).every((c) => c < inputs - shared)).toBe(true);
            }
            perturb(target, draws);
          }
        }),
        { numRuns: 150, seed: 5 },
      );
    },
  );

  it.each([
    { scope: 'layer', replaced: Math.floor(0.15 * 30 * 7) },
    { scope: 'label', replaced: 30 * Math.floor(0.15 * 7) },
  ] as const)('fraction mode replaces $replaced connections of scope $scope', ({ scope, replaced }) => {
    const draws = RandomStream.named(1, 'weights');
    const target = layer({ labels: 30, fanIn: 7, inputs: 50 }, draws);
    const rule = { mode: 'fraction', fraction: 0.15, scope, anneal: 'constant' } as const;
    expect(rewire(target, rule, 0, draws).replaced).toBe(replaced);
  });

  it('prunes slots that were regrown and never learnt first', () => {
    const draws = RandomStream.named(1, 'weights');
    const target = layer({ labels: 20, fanIn: 5, inputs: 30 }, draws);
    const rule = { mode: 'fraction', fraction: 0.2, scope: 'layer', anneal: 'constant' } as const;
    rewire(target, rule, 0, draws);
    const zeros = Array.from(target.weights, (w, s) => (w === 0 ? s : -1)).filter((s) => s >= 0);
    const kept = copyOf(target);
    rewire(target, rule, 0, draws);
    for (let s = 0; s < 100; s++) {
      if (!zeros.includes(s)) expect(target.columns[s]).toBe(kept.columns[s]);
    }
  });

  it('anneals the threshold along a cosine from tau to 1e-4', () => {
    const draws = RandomStream.named(1, 'weights');
    const target = layer({ labels: 2, fanIn: 3, inputs: 5 }, draws);
    const threshold = (progress: number) =>
      rewire(target, { mode: 'threshold', tau: 0.01 }, progress, draws).threshold;
    expect(threshold(0)).toBeCloseTo(0.01, 15);
    expect(threshold(0.5)).toBeCloseTo((0.01 + 1e-4) / 2, 15);
    expect(threshold(1)).toBeCloseTo(1e-4, 15);
    expect(threshold(0.3)).toBeCloseTo(1e-4 + 0.0099 * 0.5 * (1 + Math.cos(0.3 * Math.PI)), 15);
  });

  it('regrows every free column equally often, the pruned one included', () => {
    const draws = RandomStream.named(2, 'regrowth');
    const counts = new Array<number>(12).fill(0);
    for (let i = 0; i < 9000; i++) {
      const target: RewireTarget = {
        labels: 1,
        fanIn: 4,
        inputs: 12,
        columns: Uint16Array.of(0, 3, 6, 9),
        weights: Float32Array.of(1e-6, 1, 1, 1),
        moments: { m: null, v: null },
      };
      rewire(target, { mode: 'threshold', tau: 0.01 }, 0, draws);
      counts[target.columns[0]]++;
    }
    expect([counts[3], counts[6], counts[9]]).toEqual([0, 0, 0]);
    const free = counts.filter((_, c) => ![3, 6, 9].includes(c));
    const statistic = free.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    expect(statistic).toBeLessThan(8 + 5 * Math.sqrt(16));
  });

  it('is a function of its stream', () => {
    const columns = [1, 1, 2].map((seed) => {
      const target = layer({ labels: 9, fanIn: 4, inputs: 40 }, RandomStream.named(1, 'weights'));
      rewire(target, defaultSet.prune, 0, RandomStream.named(seed, 'regrow'));
      return Array.from(target.columns);
    });
    expect(columns[1]).toEqual(columns[0]);
    expect(columns[2]).not.toEqual(columns[0]);
  });
});

describe('rewireProgress', () => {
  const set: Topology = { ...defaultSet, every: 10, until: 0.66 };

  it('comes every so many steps, and stops at the stop point', () => {
    const steps = Array.from({ length: 100 }, (_, i) => i + 1).filter(
      (s) => rewireProgress(set, s, 100) !== null,
    );
    expect(steps).toEqual([10, 20, 30, 40, 50, 60]);
    expect(rewireProgress({ ...set, until: 0.6 }, 60, 100)).toBeNull();
    expect(rewireProgress({ ...set, until: 0 }, 10, 100)).toBeNull();
  });

  it('runs from 0 towards 1 over the rewiring period', () => {
    expect(rewireProgress(set, 10, 100)).toBeCloseTo(10 / 66, 12);
    expect(rewireProgress(set, 60, 100)).toBeCloseTo(60 / 66, 12);
  });

  it('never comes for a static topology', () => {
    for (let step = 0; step < 50; step++) expect(rewireProgress({ kind: 'static' }, step, 50)).toBeNull();
  });
});

describe('checkTopology', () => {
  const set = (change: Partial<Extract<Topology, { kind: 'set' }>>): Topology => ({
    ...defaultSet,
    ...change,
  });
  const fraction = (f: number): PruneRule => ({
    mode: 'fraction',
    fraction: f,
    scope: 'layer',
    anneal: 'constant',
  });

  it('lets the defaults and the limits pass', () => {
    const fine = [{ kind: 'static' } as const, defaultSet, set({ prune: fraction(1), until: 1, every: 1 })];
    for (const topology of fine) expect(() => checkTopology(topology)).not.toThrow();
  });

  it.each([
    ['every 0', set({ every: 0 })],
    ['every 2.5', set({ every: 2.5 })],
    ['until 66', set({ until: 66 })],
    ['fraction 1.5', set({ prune: fraction(1.5) })],
    ['fraction NaN', set({ prune: fraction(Number.NaN) })],
    ['tau 0', set({ prune: { mode: 'threshold', tau: 0 } })],
  ])('refuses %s', (_name, topology) => {
    expect(() => checkTopology(topology)).toThrow(/TOPOLOGY_RANGE/);
  });
});
