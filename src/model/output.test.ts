import { describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { GroupedFanInOutput } from '../methods/grouped/grouped-output.js';
import { HeadTailOutput } from '../output/head-tail.js';
import { Device } from '../tensor/device.js';
import { makeOutput } from './output.js';
import { type OutputSpec, outputSpec } from './spec.js';

const labels = 12;
/** Labels 0, 3, 6, 9 are alike, then 1, 4, 7, 10, then 2, 5, 8, 11. */
const order = Uint32Array.from({ length: labels }, (_, i) => 3 * (i % 4) + Math.floor(i / 4));
const shares = Float64Array.from({ length: labels }, (_, l) => (l < 3 ? 0.5 : 0.01));

function make(spec: Partial<OutputSpec>) {
  const device = new Device(referenceKernels('float64'));
  const common = {
    inputs: 8,
    labels,
    loss: 'bce' as const,
    optimizer: { kind: 'sgd', rate: 1, momentum: 0, nesterov: false, weightDecay: 0 } as const,
    stream: RandomStream.named(1, 'output'),
  };
  const full = outputSpec.parse({ kind: 'grouped', fanIn: 3, group: 4, ...spec });
  return makeOutput(device, full, common, RandomStream.named(1, 'rewire'), { shares, order });
}
const inputsOf = (layer: ReturnType<typeof make>, label: number) =>
  Array.from(layer.connections(label).inputs).join();

describe('groups by clusters', () => {
  it('labels that stand together in the order share their inputs', () => {
    const layer = make({ order: 'clusters' } as Partial<OutputSpec>);
    expect(layer).toBeInstanceOf(GroupedFanInOutput);
    for (const first of [0, 1, 2]) {
      for (const label of [first, first + 3, first + 6, first + 9]) {
        expect(inputsOf(layer, label)).toBe(inputsOf(layer, first));
      }
    }
    expect(new Set([0, 1, 2].map((label) => inputsOf(layer, label))).size).toBe(3);
  });

  it('beside a dense head, the tail keeps the order of what is left', () => {
    const layer = make({ order: 'clusters', head: 3, group: 3 } as Partial<OutputSpec>);
    expect(layer).toBeInstanceOf(HeadTailOutput);
    for (const label of [0, 1, 2]) expect(layer.connections(label).inputs).toHaveLength(8);
    for (const first of [3, 4, 5]) {
      for (const label of [first, first + 3, first + 6]) {
        expect(inputsOf(layer, label)).toBe(inputsOf(layer, first));
      }
    }
  });
});
