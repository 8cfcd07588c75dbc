import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { parseConfig, type TrainConfigInput } from './config.js';
import { planTraining } from './plan.js';
import { train } from './train.js';

const kernels = selectKernels({ backend: 'reference' });
const rows = plantedDataset({ rows: 300, features: 500, labels: 3000, seed: 3 });
const data = { rows, validation: null };
let home: string;

const config = (more: Partial<TrainConfigInput> = {}): TrainConfigInput => ({
  data: join(home, 'data'),
  out: join(home, 'none'),
  backend: 'reference',
  batch: 32,
  epochs: 0.2,
  model: { encoder: { embedding: 64 }, output: { kind: 'fan-in', fanIn: 32 } },
  ...more,
});

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-plan-'));
  await writeDatasetDirectory(join(home, 'data'), {
    name: 'planted',
    origin: 'made',
    licence: 'none',
    train: rows,
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

describe('planTraining', () => {
  const outputs = {
    dense: { kind: 'dense' },
    set: { kind: 'fan-in', fanIn: 32 },
    rigl: { kind: 'fan-in', fanIn: 32, topology: { kind: 'rigl' } },
    grouped: { kind: 'grouped', fanIn: 32, group: 16, head: 0.05 },
    bottleneck: { kind: 'bottleneck', width: 16 },
    factored: { kind: 'factored' },
    'sampled dense': { kind: 'dense', samples: 100 },
    'sampled fan-in': { kind: 'fan-in', fanIn: 32, samples: 100 },
    'sampled bottleneck': { kind: 'bottleneck', width: 16, samples: 100 },
  } as const;
  it.each(Object.entries(outputs))(
    'plans the accounted peak of the run that follows: %s',
    async (name, output) => {
      const loss = name.startsWith('sampled') ? ({ loss: 'softmax' } as const) : {};
      const own = config({ out: join(home, name), model: { encoder: { embedding: 64 }, output, ...loss } });
      const { lines } = await planTraining(parseConfig(own), kernels, data, { calibrate: false });
      const { memory } = await train(own);
      expect(memory.accountedPeak).toBeLessThanOrEqual(lines[0].totalBytes);
      // A factored layer plans the room of a reset, which a short run does not come to.
      const share = name === 'factored' ? 0.8 : 0.9;
      expect(memory.accountedPeak).toBeGreaterThan(share * lines[0].totalBytes);
      expect(lines[0].peakRss).toBeGreaterThan(lines[0].totalBytes);
    },
  );

  it('prices the rivals beside the configured layer, and its settings make what it prices', async () => {
    const { lines } = await planTraining(parseConfig(config()), kernels, data, { calibrate: false });
    expect(lines.map(({ name }) => name)).toEqual([
      'fan-in 32',
      'dense',
      'fan-in 32 compact',
      'grouped 32 by 32',
      'bottleneck 32',
      'factored',
    ]);
    const dense = lines[1];
    const own = config({
      out: join(home, 'as-planned'),
      model: { encoder: { embedding: 64, activation: 'none', dropout: 0.2 }, output: { kind: 'dense' } },
    });
    const kept = ['model.encoder.activation=none', 'model.encoder.dropout=0.2'];
    expect(dense.settings).toEqual(['model.output.kind=dense', ...kept]);
    const again = await planTraining(parseConfig(own), kernels, data, { calibrate: false });
    expect(again.lines[0].totalBytes).toBe(dense.totalBytes);
    expect(again.lines[0].flopsPerExample).toBe(dense.flopsPerExample);
  });

  it('counts 6 operations per weight and example', async () => {
    const { lines } = await planTraining(parseConfig(config()), kernels, data, { calibrate: false });
    const bag = 6 * (rows.nnz / rows.rows) * 64;
    expect(lines[0].flopsPerExample).toBeCloseTo(6 * 3000 * 32 + bag, 6);
  });

  it('calibrated minutes are positive and grow with the labels', async () => {
    const wide = plantedDataset({ rows: 60, features: 500, labels: 24_000, seed: 3 });
    const narrow = plantedDataset({ rows: 60, features: 500, labels: 1000, seed: 3 });
    const own = parseConfig(config({ model: { encoder: { embedding: 16 }, output: { kind: 'dense' } } }));
    const few = await planTraining(own, kernels, { rows: narrow, validation: null });
    const many = await planTraining(own, kernels, { rows: wide, validation: null });
    expect(few.lines[0].minutes).toBeGreaterThan(0);
    expect(many.lines[0].minutes ?? 0).toBeGreaterThan(4 * (few.lines[0].minutes ?? 0));
  });

  it('within a memory bound takes the first that fits, the configured one where it does', async () => {
    const plan = (maxMemory: number) =>
      planTraining(parseConfig(config()), kernels, data, { calibrate: false, maxMemory, baseRss: 50e6 });
    const roomy = await plan(1e12);
    expect(roomy.fitting?.chosen?.name).toBe('fan-in 32');
    const { peakRss, bytes } = roomy.lines[0];
    // Half of the output layer's weights can go by precision alone; three quarters take connections as well.
    const own = 4 * 3000 * 32;
    const tight = await plan(peakRss - Math.floor(own / 4));
    expect(tight.fitting?.chosen?.settings).toContain('model.output.precision=bf16');
    expect(tight.fitting?.chosen?.settings).toContain('model.output.fanIn=32');
    const tighter = await plan(peakRss - Math.floor(0.6 * own) - bytes.optimizer / 4);
    expect(tighter.fitting?.chosen?.settings.join()).toMatch(/fanIn=(16|8).*precision=bf16/);
    expect(tighter.fitting?.tried.map(({ name }) => name).slice(0, 4)).toEqual([
      ...[
        'fan-in 32',
        'fan-in 32, chunk 32',
        'fan-in 32 compact, chunk 32',
        'fan-in 32 compact bf16, chunk 32',
      ],
    ]);
    const impossible = await plan(1e6);
    expect(impossible.fitting?.chosen).toBeNull();
    expect(impossible.fitting?.tried.length).toBeGreaterThan(3);
  });

  it('compares a layer that draws labels with others that do, and shrinks it by its connections', async () => {
    const names = async (output: NonNullable<TrainConfigInput['model']>['output']) => {
      const own = config({ model: { encoder: { embedding: 64 }, loss: 'softmax', output } });
      const { lines, fitting, advice } = await planTraining(parseConfig(own), kernels, data, {
        ...{ calibrate: false, maxMemory: 1e6, baseRss: 50e6 },
      });
      return [lines, fitting?.tried ?? []]
        .map((list) => list.map(({ name }) => name))
        .concat([advice.choice]);
    };
    const [fanIn, dense] = ['fan-in 32, 100 sampled', 'dense, 100 sampled'];
    const others = ['grouped 32 by 32', 'bottleneck 32, 100 sampled', 'factored'];
    const smaller = ['fan-in 16, 100 sampled', 'fan-in 8, 100 sampled'];
    expect(await names({ kind: 'fan-in', fanIn: 32, samples: 100 })).toEqual([
      ...[
        [fanIn, dense, ...others],
        [fanIn, ...smaller],
      ],
      fanIn,
    ]);
    expect(await names({ kind: 'dense', samples: 100 })).toEqual([
      ...[
        [dense, fanIn, ...others],
        [dense, fanIn, ...smaller],
      ],
      fanIn,
    ]);
  });

  it('advises by the ratio of labels to hidden units, and by the loss', async () => {
    const choice = async (more: Partial<TrainConfigInput>) =>
      (await planTraining(parseConfig(config(more)), kernels, data, { calibrate: false })).advice.choice;
    expect(await choice({})).toBe('fan-in 32');
    expect(await choice({ model: { encoder: { embedding: 512 } } })).toBe('dense');
    expect(await choice({ model: { encoder: { embedding: 64 }, output: { kind: 'factored' } } })).toBe(
      'factored',
    );
  });
});
