import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import {
  CharacterModel,
  LayerNorm,
  LeNet5,
  LeNet300100,
  type Module,
  ResMLP,
  Sequential,
  SmallResNet,
  SmallVGG,
} from '../../nn/index.js';
import { Device } from '../../tensor/device.js';
import { chooseForms, loadSparse, saveSparse, sparseNetwork } from './index.js';
import { inference } from './network.js';

const kernels = selectKernels();
const input = [1, 28, 28];
let scratch = '';
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'espalier-sparse-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));

const models: Record<string, (device: Device, stream: RandomStream) => Module> = {
  'LeNet-300-100': (device, stream) => new LeNet300100(device, { stream }),
  'LeNet-5': (device, stream) => new LeNet5(device, { stream }),
  'small ResNet': (device, stream) => new SmallResNet(device, { stream, width: 4 }),
  'small VGG': (device, stream) => new SmallVGG(device, { stream, widths: [4, 6] }),
  ResMLP: (device, stream) =>
    new ResMLP(device, {
      ...{ stream, channels: 1, height: 28, width: 28, classes: 10, patch: 7, dim: 24, depth: 2 },
    }),
};

/** A network with 19 of 20 weights 0 and running moments that are not those of the start. */
function pruned(name: string, device: Device): Module {
  const stream = RandomStream.named(3, name);
  const learner = models[name](device, stream);
  for (const [, parameter] of learner.namedParameters()) {
    if (parameter.shape.length < 2) continue;
    for (let i = 0; i < parameter.size; i++) if (stream.below(20) > 0) parameter.data[i] = 0;
  }
  for (const [, buffer] of learner.namedBuffers()) {
    for (let i = 0; i < buffer.size; i++) buffer.data[i] = 0.2 + stream.uniform();
  }
  return learner;
}

function dense(device: Device, learner: Module, x: Float32Array, batch: number): Float32Array {
  device.arena.reset();
  const images = device.temporary('data', [batch, ...input]);
  images.data.set(x);
  return Float32Array.from(learner.forward(images, inference(device)).data);
}

const images = (batch: number) =>
  Float32Array.from({ length: batch * 784 }, (_, i) => Math.sin(i * 0.37) + Math.cos(i * 0.011));

function expectSame(actual: ArrayLike<number>, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  const size = Math.max(...expected.map(Math.abs));
  const worst = Math.max(...Array.from(expected, (v, i) => Math.abs(v - actual[i])));
  expect(worst).toBeLessThanOrEqual(2e-5 * size);
}

describe.each(Object.keys(models))('%s', (name) => {
  const device = new Device(kernels);
  const learner = pruned(name, device);

  it('answers as the masked dense network to rounding, in either form, for few examples and for many', () => {
    const network = sparseNetwork(kernels, learner, { input });
    for (const batch of [1, 3, 20]) {
      const expected = dense(device, learner, images(batch), batch);
      expectSame(network.logits(images(batch), batch), expected);
      for (const { forms } of network.weighted()) Object.assign(forms, { few: 'dense', many: 'dense' });
      expectSame(network.logits(images(batch), batch), expected);
      for (const { forms } of network.weighted()) Object.assign(forms, { few: 'sparse', many: 'sparse' });
    }
  });

  it('comes back from its file bit for bit, with the forms that were chosen', async () => {
    const network = sparseNetwork(kernels, learner, { input });
    network.weighted()[0].forms.few = 'dense';
    const path = join(scratch, `${name}.safetensors`);
    await saveSparse(path, network);
    const back = await loadSparse(path, kernels);
    expect(back.program.steps).toEqual(network.program.steps);
    expect(back.weighted().map(({ forms }) => forms)).toEqual(network.weighted().map(({ forms }) => forms));
    expect(back.logits(images(9), 9)).toEqual(network.logits(images(9), 9));
  });
});

describe.each(['lstm', 'gru', 'rnn'] as const)('a character model of %s', (kind) => {
  const [symbols, steps] = [17, 6];
  const text = (rows: number) => ({
    ...{ rows, nnz: rows, width: symbols, values: null },
    indptr: Int32Array.from({ length: rows + 1 }, (_, i) => i),
    indices: Uint32Array.from({ length: rows }, (_, i) => (i * 7) % symbols),
  });

  it.each([3, 12])(
    'answers as the masked dense network, call after call, and from its file: %s streams',
    async (batch) => {
      const device = new Device(kernels);
      const stream = RandomStream.named(4, kind);
      const about = { symbols, batch, carry: batch, hidden: 20, embedding: 8, layers: 2, kind, stream };
      const learner = new CharacterModel(device, about);
      for (const [name, parameter] of learner.namedParameters()) {
        if (parameter.shape.length < 2 || name.startsWith('embedding')) continue;
        for (let i = 0; i < parameter.size; i++) if (stream.below(4) > 0) parameter.data[i] = 0;
      }
      const network = sparseNetwork(kernels, learner, { input: [] });
      expect(network.weighted().map(({ step }) => step.name)).toEqual([
        ...['layers.0.inputWeight', 'layers.0.stateWeight', 'layers.1.inputWeight', 'layers.1.stateWeight'],
        'head',
      ]);
      const path = join(scratch, `${kind}-${batch}.safetensors`);
      await saveSparse(path, network);
      const back = await loadSparse(path, kernels);
      // States go on from the first call to the second.
      for (let call = 0; call < 2; call++) {
        const pass = (module: Pick<CharacterModel, 'forward'>) => {
          const own = new Device(kernels);
          return Float32Array.from(module.forward(text(steps * batch), inference(own)).data);
        };
        const expected = pass(learner);
        expectSame(pass(network), expected);
        expectSame(pass(back), expected);
      }
      expect(network.states()).toHaveLength(kind === 'lstm' ? 4 : 2);
    },
  );
});

describe('sparse networks', () => {
  it('are more than ten times smaller than dense ones where 19 of 20 weights are gone, indices included', async () => {
    for (const name of ['LeNet-300-100', 'LeNet-5']) {
      const learner = pruned(name, new Device(kernels));
      const path = join(scratch, 'small.safetensors');
      await saveSparse(path, sparseNetwork(kernels, learner, { input }));
      const dense = 4 * learner.parameters().reduce((sum, { size }) => sum + size, 0);
      expect((await stat(path)).size).toBeLessThan(dense / 10);
    }
  });

  it('choose a form for every layer by measured time and answer the same', () => {
    const device = new Device(kernels);
    const learner = pruned('LeNet-5', device);
    const network = sparseNetwork(kernels, learner, { input });
    chooseForms(network, new Device(kernels), 1);
    expectSame(network.logits(images(4), 4), dense(device, learner, images(4), 4));
  });

  it('refuse layers without a sparse form, and inputs of a wrong size', () => {
    const device = new Device(kernels);
    const odd = new Sequential(new LayerNorm(device, 28));
    expect(() => sparseNetwork(kernels, odd, { input })).toThrow(/EXPORT_UNSUPPORTED/);
    const network = sparseNetwork(kernels, pruned('LeNet-300-100', device), { input });
    expect(() => network.logits(images(1), 2)).toThrow(/INPUT_SHAPE/);
  });

  it('refuse files that are damaged', async () => {
    const device = new Device(kernels);
    const network = sparseNetwork(kernels, pruned('LeNet-300-100', device), { input });
    const path = join(scratch, 'damaged.safetensors');
    const indices = network.program.weights.get('second')?.weight.indices as Uint32Array;
    const kept = indices[5];
    indices[5] = 300;
    await saveSparse(path, network);
    indices[5] = kept;
    await expect(loadSparse(path, kernels)).rejects.toThrow(/SPARSE_FILE/);
    await saveSparse(path, network);
    const bytes = await readFile(path);
    await writeFile(path, Buffer.from(bytes.toString('latin1').replace('linear', 'linexr'), 'latin1'));
    await expect(loadSparse(path, kernels)).rejects.toThrow(/SPARSE_FILE/);
  });
});
