/** Fixed masks: what a masked weight never has, a gradient, nothing sees. */
import { describe, expect, it } from 'vitest';
import { float64Device, parameter } from '../../autograd/gradcheck.testing.js';
import { Optimizer } from '../../optim/optimizer.js';
import { FixedMask } from './mask.js';

const adam = { kind: 'adam', rate: 0.1 } as const;
const setGradient = (p: ReturnType<typeof parameter>, values: readonly number[]) => {
  p.zeroGrad();
  p.grad!.data.set(values);
  p.hasGradient = true;
};

function masked(bits: number) {
  const device = float64Device();
  const p = parameter(device, [2, 2], [1, 2, 3, 4]);
  const optimizer = new Optimizer(device, [['p', p]], adam);
  const mask = new FixedMask(device, p);
  mask.set(Uint32Array.of(bits), optimizer.momentsOf(p));
  p.parametrization = mask;
  return { p, optimizer };
}

describe('a masked parameter', () => {
  it('has a gradient norm of the weights that are left: a masked gradient is exactly 0, NaN or not', () => {
    const { p, optimizer } = masked(0b0101);
    setGradient(p, [3, 1e6, -4, Number.NaN]);
    expect(optimizer.gradientNorm()).toBe(5);
    expect([...p.grad!.data]).toEqual([3, 0, -4, 0]);
  });

  it('is clipped as if the masked weights were not there', () => {
    const clip = 1;
    const step = (gradient: readonly number[]) => {
      const { p, optimizer } = masked(0b0101);
      setGradient(p, gradient);
      const norm = optimizer.gradientNorm();
      optimizer.step(0.1, norm > clip ? clip / norm : 1);
      return { weights: [...p.data], first: [...(optimizer.momentsOf(p).m ?? [])] };
    };
    expect(step([3, 100, -4, 100])).toEqual(step([3, 0, -4, 0]));
    // What the test is for: the gradients that do count are clipped.
    expect(step([3, 0, -4, 0]).first).not.toEqual(step([0.3, 0, -0.4, 0]).first);
  });

  it('with all bits set has the norm of the plain one', () => {
    const { p, optimizer } = masked(0b1111);
    setGradient(p, [1, 2, 3, 4]);
    expect(optimizer.gradientNorm()).toBe(Math.sqrt(30));
  });
});
