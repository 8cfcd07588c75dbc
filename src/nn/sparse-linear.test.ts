import { describe, expect, it } from 'vitest';
import { float64Device, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { selectKernels } from '../kernels/index.js';
import { RandomStream } from '../kernels/random.js';
import { linear } from '../ops/linear.js';
import { Device } from '../tensor/device.js';
import { SparseLinear, sparseBytes, sparseRows } from './sparse-linear.js';

describe('SparseLinear', () => {
  it.each([
    ['reference/float64', float64Device(), 1e-13],
    ['the best kernels', new Device(selectKernels()), 1e-5],
  ] as const)('equals the masked dense layer to rounding, on %s', (_name, device, tolerance) => {
    for (const [batch, inputs, outputs] of [
      [1, 300, 100],
      [64, 33, 10],
      [7, 5, 1],
    ]) {
      const weight = parameter(device, [outputs, inputs], `w${inputs}`);
      for (let i = 0; i < weight.size; i++) if (i % 13 !== 0) weight.data[i] = 0;
      const bias = parameter(device, [outputs], 'b');
      const x = parameter(device, [batch, inputs], 'x');
      const sparse = sparseRows(outputs, inputs, weight.data);
      for (const activation of ['none', 'relu'] as const) {
        device.arena.reset();
        const tape = new Tape(device, { recording: false });
        const dense = tape.run(linear, { x, weight, bias, activation });
        const context = { tape, training: false, dropoutStream: RandomStream.named(1, 'none') };
        const y = new SparseLinear(device, sparse, bias.data, activation).forward(x, context);
        expect(y.shape).toEqual(dense.shape);
        for (const [i, value] of dense.data.entries()) {
          expect(Math.abs(y.data[i] - value)).toBeLessThanOrEqual(tolerance * (1 + Math.abs(value)));
        }
      }
    }
  });

  it('stores what is not 0, and knows its size', () => {
    const rows = sparseRows(2, 3, Float32Array.of(0, 5, 0, -1, 0, 2));
    expect([...rows.indptr, ...rows.indices, ...rows.values]).toEqual([0, 1, 3, 1, 0, 2, 5, -1, 2]);
    expect(sparseBytes(rows)).toBe(12 + 6 + 12);
  });
});
