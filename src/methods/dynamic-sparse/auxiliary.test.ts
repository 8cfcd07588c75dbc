import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { Device } from '../../tensor/device.js';
import { AuxiliaryHead, auxiliaryWeight } from './auxiliary.js';

const device = () => new Device(referenceKernels('float64'));
const head = (d: Device, clusterOf: Uint32Array, clusters: number, positives = 100) =>
  new AuxiliaryHead(d, {
    inputs: 4,
    clusters,
    labels: clusterOf.length,
    clusterOf,
    positives,
    optimizer: { kind: 'adam', rate: 1 },
    stream: RandomStream.named(1, 'head'),
  });

describe('auxiliaryWeight', () => {
  it('falls from lambda0 along half a cosine, and is exactly 0 from the cutoff on', () => {
    expect(auxiliaryWeight(0.4, 8, 0)).toBe(0.4);
    expect(auxiliaryWeight(0.4, 8, 4)).toBeCloseTo(0.2, 12);
    expect(auxiliaryWeight(0.4, 8, 7.999)).toBeGreaterThan(0);
    expect([8, 8.5, 100].map((epoch) => auxiliaryWeight(0.4, 8, epoch))).toEqual([0, 0, 0]);
  });
});

describe('AuxiliaryHead', () => {
  it('learns each pair of a cluster and a row once, sorted', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 5 }), { minLength: 12, maxLength: 12 }),
        fc.uniqueArray(fc.tuple(fc.nat(11), fc.nat(6)), { maxLength: 40, selector: ([l, r]) => 7 * l + r }),
        (clusterOf, pairs) => {
          const sorted = [...pairs].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
          const targets = head(device(), Uint32Array.from(clusterOf), 6).targets(
            {
              count: sorted.length,
              label: Uint32Array.from(sorted, ([l]) => l),
              row: Uint32Array.from(sorted, ([, r]) => r),
            },
            7,
          );
          const expected = [...new Set(pairs.map(([l, r]) => 7 * clusterOf[l] + r))].sort((a, b) => a - b);
          const actual = Array.from(
            { length: targets.count },
            (_, i) => 7 * targets.label[i] + targets.row[i],
          );
          expect(actual).toEqual(expected);
        },
      ),
    );
  });

  it('counts all its memory as auxiliary, and gives all of it back', () => {
    const wet = device();
    const dry = wet.dryTwin();
    const made = [wet, dry].map((d) => head(d, Uint32Array.of(0, 1, 2), 3));
    const { auxiliary, ...others } = wet.ledger.live();
    // 3 x (4 + 1) weights with two moments, 3 cluster ids, 100 positives.
    expect(auxiliary).toBe(8 * 15 * 3 + 4 * 3 + 100 * (8 + 4 + 4));
    expect(Object.values(others).every((bytes) => bytes === 0)).toBe(true);
    expect(dry.ledger.live()).toEqual(wet.ledger.live());
    for (const one of made) one.release();
    expect([wet.ledger.liveBytes, dry.ledger.liveBytes]).toEqual([0, 0]);
  });

  it('refuses clusters that do not exist, made or loaded', () => {
    expect(() => head(device(), Uint32Array.of(0, 3), 3)).toThrow(/CLUSTER_RANGE/);
    const sound = head(device(), Uint32Array.of(0, 1), 3);
    sound.state().find(({ name }) => name === 'clusterOf')!.data[1] = 7;
    expect(() => sound.loaded()).toThrow(/label 1 is in a cluster that does not exist/);
  });
});
