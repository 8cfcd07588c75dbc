import { describe, expect, it } from 'vitest';
import { float64Device, gradcheck } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { RandomStream } from '../kernels/random.js';
import type { ForwardContext } from './module.js';
import { Patches, ResMLP } from './res-mlp.js';

const context = (tape: Tape): ForwardContext => ({
  tape,
  training: true,
  dropoutStream: RandomStream.named(1, 'dropout'),
});
const options = { channels: 2, height: 4, width: 6, classes: 3, patch: 2, dim: 5, depth: 2, expansion: 2 };
const images = Float64Array.from({ length: 2 * 2 * 4 * 6 }, (_, i) => Math.sin(i));

describe('ResMLP', () => {
  it('has the right gradients in every parameter', () => {
    const d = float64Device();
    const model = new ResMLP(d, { ...options, stream: RandomStream.named(3, 'init') });
    gradcheck(d, model.parameters(), (tape) =>
      model.forward(d.fromArray([2, 2, 4, 6], images), context(tape)),
    );
  });

  it('has the parameters of the paper: per layer 2 Aff, 2 scales, 3 linear layers', () => {
    const d = float64Device();
    const model = new ResMLP(d, { ...options, stream: RandomStream.named(3, 'init') });
    const count = model.parameters().reduce((n, p) => n + p.size, 0);
    const layer = 2 * 10 + 2 * 5 + (36 + 6) + (50 + 10) + (50 + 5);
    expect(count).toBe(8 * 5 + 5 + 2 * layer + 10 + 15 + 3);
  });

  it('sees the same image in whatever order the patches come, once the cross-patch layer is uniform', () => {
    const d = float64Device();
    const model = new ResMLP(d, { ...options, depth: 1, stream: RandomStream.named(3, 'init') });
    for (const [name, p] of model.namedParameters()) if (p.shape.join() === '6,6') p.data.fill(name.length);
    for (const p of model.parameters()) if (p.shape.join() === '6') p.data.fill(0.25);
    const swapped = images.slice();
    // Exchanges the left and the right third of every row of pixels.
    for (let row = 0; row < swapped.length; row += 6) {
      swapped.set(images.subarray(row + 4, row + 6), row);
      swapped.set(images.subarray(row, row + 2), row + 4);
    }
    const logits = (x: Float64Array) =>
      Array.from(model.forward(d.fromArray([2, 2, 4, 6], x), context(new Tape(d))).data);
    const [one, other] = [logits(images), logits(swapped)];
    for (const [i, z] of one.entries()) expect(other[i]).toBeCloseTo(z, 12);
  });

  it('refuses patches that do not tile', () => {
    const stream = RandomStream.named(3, 'init');
    expect(() => new ResMLP(float64Device(), { ...options, patch: 3, stream })).toThrow(/PATCH_SIZE/);
  });
});

describe('Patches', () => {
  it('makes rows of channel, row and column within the patch', () => {
    const d = float64Device();
    const x = d.fromArray(
      [1, 2, 2, 4],
      Array.from({ length: 16 }, (_, i) => i),
    );
    const y = new Patches(2).forward(x, context(new Tape(d)));
    expect(y.shape).toEqual([1, 2, 8]);
    expect(Array.from(y.data)).toEqual([0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15]);
  });
});
