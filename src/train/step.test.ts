import { describe, expect, it } from 'vitest';
import { gradientOf } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { AuxiliaryHead } from '../methods/dynamic-sparse/auxiliary.js';
import { Classifier } from '../model/classifier.js';
import { type ModelSpec, modelSpec } from '../model/spec.js';
import { modelArrays } from '../model/state.js';
import { Optimizer } from '../optim/optimizer.js';
import type { OptimizerSpec } from '../optim/rules.js';
import { Device } from '../tensor/device.js';
import { type StepRates, trainStep } from './step.js';

const sgd: OptimizerSpec = { kind: 'sgd', rate: 1 };
const clusterOf = Uint32Array.of(0, 0, 1, 1, 2, 2, 3, 3, 0);
const features = {
  rows: 3,
  nnz: 6,
  width: 6,
  indptr: Int32Array.of(0, 2, 5, 6),
  indices: Uint32Array.of(0, 2, 1, 2, 5, 3),
  values: Float64Array.of(0.5, 1, -0.7, 0.2, 0.9, 1),
};
const positives = { count: 5, label: Uint32Array.of(0, 1, 2, 6, 8), row: Uint32Array.of(0, 0, 1, 2, 2) };

const specs: [string, ModelSpec['output']][] = [
  ['no intermediate layer', { fanIn: 3 }],
  ['an intermediate layer with relu', { fanIn: 3, intermediate: { width: 7 } }],
  [
    'a linear intermediate layer',
    { fanIn: 3, intermediate: { width: 7, activation: 'none', start: 'identity' } },
  ],
  ['an intermediate layer with gelu', { fanIn: 3, intermediate: { width: 7, activation: 'gelu' } }],
].map(([name, output]) => {
  const made = modelSpec.parse({ encoder: { embedding: 5, dropout: 0, activation: 'gelu' }, output });
  return [name as string, made.output];
});

function setUp(output: ModelSpec['output']) {
  const device = new Device(referenceKernels('float64'));
  const spec = { ...modelSpec.parse({ encoder: { embedding: 5, dropout: 0, activation: 'gelu' } }), output };
  const shape = { features: 6, labels: 9 };
  const classifier = new Classifier(device, shape, spec, { seed: 4, outputOptimizer: sgd });
  const optimizer = new Optimizer(device, classifier.namedParameters(), sgd);
  const head = new AuxiliaryHead(device, {
    inputs: 5,
    clusters: 4,
    labels: 9,
    clusterOf,
    positives: 5,
    optimizer: sgd,
    stream: RandomStream.named(4, 'head'),
  });
  const objective = async (lambda: number): Promise<number> => {
    const tape = new Tape(device);
    const h = classifier.encode(features, tape, false);
    const main = await classifier.output.evaluate(classifier.widen(h, tape, false), positives);
    const side = await head.output.evaluate(h, head.targets(positives, 3));
    device.arena.reset();
    return (1 - lambda) * main + lambda * side;
  };
  const arrays = () =>
    [...modelArrays(classifier), ...head.state()]
      .filter(({ data }) => data instanceof Float64Array)
      .map(({ data }) => data);
  return { classifier, optimizer, head, objective, arrays };
}

const still: StepRates = { encoder: 0, output: 0, auxiliary: 0, lambda: 0.3, clip: null };

describe('trainStep', () => {
  it.each(specs)('takes the gradient of (1 - lambda) main + lambda auxiliary: %s', async (_name, output) => {
    for (const clip of [null, 1e9]) {
      const { classifier, optimizer, head, objective } = setUp(output);
      const { auxiliary } = await trainStep(
        classifier,
        optimizer,
        { features, positives },
        { ...still, clip },
        head,
      );
      expect(auxiliary).toMatchObject({ lambda: 0.3 });
      const gradients = [...classifier.namedParameters()].map(([, p]) => [p, gradientOf(p)] as const);
      for (const [parameter, gradient] of gradients) {
        for (let i = 0; i < parameter.size; i++) {
          const before = parameter.data[i];
          const delta = 1e-6;
          parameter.data[i] = before + delta;
          const above = await objective(0.3);
          parameter.data[i] = before - delta;
          const below = await objective(0.3);
          parameter.data[i] = before;
          expect(gradient?.[i] ?? 0).toBeCloseTo((above - below) / (2 * delta), 6);
        }
      }
    }
  });

  it.each(specs)('clips the norm of everything that moves, the head with it: %s', async (_name, output) => {
    const { classifier, optimizer, head, arrays } = setUp(output);
    const before = arrays().map((a) => a.slice());
    const rates = { encoder: 1, output: 1, auxiliary: 1, lambda: 0.3, clip: 0.01 };
    await trainStep(classifier, optimizer, { features, positives }, rates, head);
    let squares = 0;
    for (const [a, array] of arrays().entries())
      for (const [i, x] of array.entries()) squares += (x - before[a][i]) ** 2;
    expect(Math.sqrt(squares)).toBeCloseTo(0.01, 12);
  });

  it('measures the two gradients that meet at the encoder, and the encoder alone', async () => {
    const { classifier, optimizer, head } = setUp(specs[1][1]);
    const batch = { features, positives };
    const both = await trainStep(classifier, optimizer, batch, still, head);
    const alone = await trainStep(classifier, optimizer, batch, { ...still, lambda: 0 }, head);
    expect(alone.auxiliary).toBeNull();
    expect(both.auxiliary?.mainNorm).toBeGreaterThan(0);
    expect(alone.gradientNorm).toBeGreaterThan(alone.encoderNorm);
    // At weight 1/2 both losses have the same weight: norms are proportional to the weights.
    const half = await trainStep(classifier, optimizer, batch, { ...still, lambda: 0.5 }, head);
    expect(half.auxiliary?.auxiliaryNorm).toBeCloseTo(((both.auxiliary?.auxiliaryNorm ?? 0) * 0.5) / 0.3, 9);
    expect(half.auxiliary?.mainNorm).toBeCloseTo(((both.auxiliary?.mainNorm ?? 0) * 0.5) / 0.7, 9);
  });
});
