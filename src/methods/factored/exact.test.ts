import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { referenceKernels } from '../../kernels/reference/index.js';
import { Device } from '../../tensor/device.js';
import { type SphericalLoss, sphericalSoftmax, squaredError, taylorSoftmax, zLoss } from './losses.js';
import { hidden, problem, relative, twins } from './problem.testing.js';
import { stepSpectrum } from './spectrum.js';

/** Rates at which a thousand steps change the weights many times over. */
const losses: { loss: SphericalLoss; rate: number }[] = [
  { loss: squaredError, rate: 0.3 },
  { loss: sphericalSoftmax({ epsilon: 0.1 }), rate: 0.03 },
  { loss: taylorSoftmax, rate: 0.2 },
  { loss: zLoss({ alpha: 0.5, beta: 3 }), rate: 0.02 },
];

const inputs = 6;
const labels = 60;
const device = new Device(referenceKernels('float64'));

interface Run {
  readonly loss: SphericalLoss;
  readonly batch: number;
  readonly perRow: number;
  readonly steps: number;
  readonly rate: (step: number) => number;
  readonly weightDecay?: number;
  readonly allowUnstable?: boolean;
  readonly length?: number;
  readonly band?: number;
  /** Hidden vectors along the axes in turn: all directions shrink alike. */
  readonly isotropic?: boolean;
}

/** Both forms on the same batches; the worst relative difference of losses, dh and, in the end, weights. */
async function compare({ loss, batch, perRow, steps, rate, length, isotropic, ...rest }: Run) {
  const optimizer = { kind: 'sgd', rate: 1, weightDecay: rest.weightDecay ?? 0 } as const;
  const { layer, twin } = twins(device, { inputs, labels, loss, optimizer, ...rest });
  const draws = RandomStream.named(7, `exact/${loss.name}/${batch}/${perRow}`);
  const start = twin.plainWeights().slice();
  let worst = 0;
  for (let t = 0; t < steps; t++) {
    const one = problem(draws, { batch, inputs, labels, perRow, length });
    if (isotropic) for (let i = 0; i < one.h.length; i++) one.h[i] = Number(i % (inputs + 1) === 0);
    const a = await layer.step(hidden(device, inputs, one), one.targets, { rate: rate(t) });
    const dh = a.dh!.data.slice();
    const b = await twin.step(hidden(device, inputs, one), one.targets, { rate: rate(t) });
    worst = Math.max(worst, relative([a.loss], [b.loss]), relative(dh, b.dh!.data));
  }
  const weights = relative(layer.plainWeights(), twin.plainWeights());
  const moved = relative(twin.plainWeights(), start);
  return { worst: Math.max(worst, weights), moved, stability: layer.stability };
}

describe.each(losses)('$loss.name equals naive SGD on W for 1,000 steps', ({ loss, rate }) => {
  it.each([
    { batch: 1, perRow: 1 },
    { batch: 1, perRow: 3 },
    { batch: 1, perRow: 17 },
    { batch: 24, perRow: 1 },
    { batch: 24, perRow: 3 },
    { batch: 24, perRow: 17 },
    { batch: 128, perRow: 1 },
    { batch: 128, perRow: 3 },
    { batch: 128, perRow: 17 },
  ])(
    'm = $batch, K = $perRow',
    async ({ batch, perRow }) => {
      const { worst, moved } = await compare({ loss, batch, perRow, steps: 1000, rate: () => rate });
      expect(moved).toBeGreaterThan(0.02);
      expect(worst).toBeLessThan(1e-9);
      // The slow twin inverts 128 x 128 a thousand times: ten seconds, more on a busy machine.
    },
    300_000,
  );

  it('with a schedule of the rate and weight decay', async () => {
    const schedule = (t: number) => rate * (0.1 + 0.9 * Math.cos(t / 700) ** 2);
    const { worst, moved } = await compare({
      loss,
      batch: 24,
      perRow: 3,
      steps: 1000,
      rate: schedule,
      weightDecay: 0.05,
    });
    expect(moved).toBeGreaterThan(0.1);
    expect(worst).toBeLessThan(1e-9);
  });
});

describe('steps that make U singular, or nearly', () => {
  // m = 1, |h| = 1, loss (o - t)^2: W h is multiplied by 1 - 2 rate |h|^2, that is by 0 at rate 1/2.
  it.each([0, 1e-12, -1e-7, 1e-4, 0.03])('one factor of %d at every step, m = 1', async (factor) => {
    const rate = (1 - factor) / 2;
    const { worst, stability } = await compare({
      loss: squaredError,
      batch: 1,
      perRow: 3,
      steps: 200,
      rate: () => rate,
    });
    expect(worst).toBeLessThan(1e-9);
    expect(stability.singular.count).toBe(200);
    expect(stability.singular.directions).toBe(200);
  });

  it.each([
    { name: 'the largest', pick: -1 },
    { name: 'the smallest', pick: 0 },
  ])('$name eigenvalue of the batch at every third step, m = 24', async ({ pick }) => {
    const draws = RandomStream.named(3, 'singular');
    const optimizer = { kind: 'sgd', rate: 1 } as const;
    const { layer, twin } = twins(device, {
      inputs,
      labels,
      loss: squaredError,
      optimizer,
      allowUnstable: true,
    });
    let worst = 0;
    for (let t = 0; t < 60; t++) {
      const one = problem(draws, { batch: 24, inputs, labels, perRow: 3 });
      let rate = 0.2;
      if (t % 3 === 0) {
        const { values } = stepSpectrum(24, gramOf(one.h, inputs), new Float64Array(24).fill(1 / 24));
        // A rate that overshoots in other directions grows W: a few such steps, and small ones.
        rate = Math.min(3, 1 / (2 * values.at(pick)!));
      }
      const a = await layer.step(hidden(device, inputs, one), one.targets, { rate });
      const dh = a.dh!.data.slice();
      const b = await twin.step(hidden(device, inputs, one), one.targets, { rate });
      worst = Math.max(worst, relative([a.loss], [b.loss]), relative(dh, b.dh!.data));
    }
    worst = Math.max(worst, relative(layer.plainWeights(), twin.plainWeights()));
    expect(worst).toBeLessThan(1e-9);
    if (pick === -1) expect(layer.stability.singular.count).toBeGreaterThanOrEqual(20);
  });

  it('a batch of one example many times over, singular in its only direction', async () => {
    const draws = RandomStream.named(3, 'copies');
    const optimizer = { kind: 'sgd', rate: 1 } as const;
    const { layer, twin } = twins(device, { inputs, labels, loss: squaredError, optimizer });
    for (let t = 0; t < 20; t++) {
      const one = problem(draws, { batch: 5, inputs, labels, perRow: 2 });
      for (let j = 1; j < 5; j++) one.h.copyWithin(j * inputs, 0, inputs);
      await layer.step(hidden(device, inputs, one), one.targets, { rate: 0.5 });
      await twin.step(hidden(device, inputs, one), one.targets, { rate: 0.5 });
    }
    expect(relative(layer.plainWeights(), twin.plainWeights())).toBeLessThan(1e-9);
    expect(layer.stability.singular.count).toBe(20);
  });

  it('rates between half and all of the stable range, where W h changes its sign', async () => {
    const run = { loss: squaredError, batch: 1, perRow: 3, steps: 500, rate: () => 0.9 };
    const { worst } = await compare(run);
    expect(worst).toBeLessThan(1e-9);
  });
});

describe('the guard', () => {
  it('keeps U inside of its band through passes over V, and stays exact', async () => {
    const run = { loss: squaredError, batch: 24, perRow: 3, steps: 1500, rate: () => 0.45 };
    const { worst, stability } = await compare({ ...run, band: 50 });
    expect(stability.moves.count).toBeGreaterThan(3);
    expect(stability.condition).toBeLessThan(1e3);
    expect(worst).toBeLessThan(1e-9);
  });

  it('takes a common factor out of U before floats end', async () => {
    // Every step halves U: 2^-40 after 40 steps, and V takes it over.
    const run = { loss: squaredError, batch: inputs, perRow: 1, steps: 300, rate: () => inputs / 4 };
    const { worst, stability } = await compare({ ...run, isotropic: true });
    expect(stability.rescalings.count).toBeGreaterThan(3);
    expect(stability.moves.count).toBe(0);
    expect(worst).toBeLessThan(1e-9);
  });

  it('starts anew with U = I where all else fails, and stays exact', async () => {
    const { layer, twin } = twins(device, {
      inputs,
      labels,
      loss: squaredError,
      optimizer: { kind: 'sgd', rate: 1 },
    });
    const mixing = layer.state().model.find(({ name }) => name === 'mixing')!.data;
    const draws = RandomStream.named(3, 'reset');
    for (let t = 0; t < 30; t++) {
      const one = problem(draws, { batch: 4, inputs, labels, perRow: 2 });
      await layer.step(hidden(device, inputs, one), one.targets, { rate: 0.3 });
      await twin.step(hidden(device, inputs, one), one.targets, { rate: 0.3 });
    }
    await layer.reset();
    expect(Array.from(mixing)).toEqual(
      Array.from({ length: inputs * inputs }, (_, i) => (i % (inputs + 1) === 0 ? 1 : 0)),
    );
    expect(relative(layer.plainWeights(), twin.plainWeights())).toBeLessThan(1e-10);
    expect(layer.stability.resets.count).toBe(1);
  });
});

function gramOf(h: Float64Array, d: number): Float64Array {
  const m = h.length / d;
  const gram = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < m; j++) {
      for (let l = 0; l < d; l++) gram[i * m + j] += h[i * d + l] * h[j * d + l];
    }
  }
  return gram;
}
