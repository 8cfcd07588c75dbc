/** What the tests of saved activations share: small networks, and one pass forward and back under a policy. */
import { float64Device, gradientOf } from '../../autograd/gradcheck.testing.js';
import { Tape } from '../../autograd/tape.js';
import { RandomStream } from '../../kernels/random.js';
import { GELU, LayerNorm, Linear, ReLU, Sequential } from '../../nn/index.js';
import type { Module } from '../../nn/module.js';
import { squaredError } from '../../ops/losses.js';
import type { Device } from '../../tensor/device.js';
import type { SavedOptionsInput } from './options.js';
import { SavedActivations } from './saved-activations.js';

export const stream = (name: string) => RandomStream.named(5, name);
export const normal = (n: number, name: string) => {
  const draws = stream(name);
  return Float64Array.from({ length: n }, () => draws.normal());
};

export const rows = 70;
export const width = 40;

export function mlp(device: Device, activation: 'relu' | 'gelu', normed = false): Sequential {
  const weights = stream('weights');
  const linear = (from: number, to: number) => new Linear(device, from, to, { stream: weights });
  const act = () => (activation === 'relu' ? new ReLU() : new GELU());
  return new Sequential(
    linear(width, 96),
    ...(normed ? [new LayerNorm(device, 96)] : []),
    act(),
    linear(96, 64),
    act(),
    linear(64, 10),
  );
}

export interface Pass {
  readonly gradients: Map<string, Float64Array>;
  readonly dx: Float64Array | null;
  readonly policy: SavedActivations | null;
  readonly device: Device;
}

/** Forward and backward with the input a learnt tensor, so that dx is seen too. */
export function pass(
  make: (device: Device) => Module,
  options: SavedOptionsInput | null,
  { device = float64Device(), x = [rows, width], step = 0, policy = given(options) }: Partial<Step> = {},
): Pass {
  const model = make(device);
  device.arena.reset();
  policy?.begin(step);
  const tape = new Tape(device, { saved: policy ?? undefined });
  const input = device.fromArray(
    x,
    device.dry
      ? []
      : normal(
          x.reduce((a, b) => a * b),
          'x',
        ),
  );
  input.requiresGrad = true;
  let dx: Float64Array | null = null;
  const y = model.forward(input, { tape, training: true, dropoutStream: stream('dropout') });
  const targets = device.fromArray(y.shape, device.dry ? [] : normal(y.size, 'y'), 'data');
  const loss = tape.pass(y, (z) => tape.run(squaredError, { z, targets }));
  const gradient = tape.backwardTo(input, loss);
  dx = gradient === null ? null : Float64Array.from(gradient.data);
  const gradients = new Map<string, Float64Array>();
  for (const [name, p] of model.namedParameters()) if (!device.dry) gradients.set(name, gradientOf(p)!);
  return { gradients, dx, policy, device };
}

export interface Step {
  device: Device;
  x: number[];
  step: number;
  policy: SavedActivations | null;
}

export const given = (options: SavedOptionsInput | null) =>
  options === null ? null : new SavedActivations(options);

export const bias = (name: string) => name.endsWith('bias');
