/** Runs whose batches have rows of labels beside their own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { Featurizer } from '../data/featurizer/index.js';
import { labelFrequencies } from '../data/statistics.js';
import { selectKernels } from '../kernels/index.js';
import { RandomStream } from '../kernels/random.js';
import { loadClassifier } from '../model/model-io.js';
import { predictTexts } from '../model/predict.js';
import { modelArrays } from '../model/state.js';
import { parseConfig, type TrainConfigInput } from './config.js';
import type { TrainEvent } from './events.js';
import { planTraining } from './plan.js';
import { train, trainingRows } from './train.js';
import { tune } from './tune/index.js';

const kernels = selectKernels({ backend: 'reference' });
/** Label l is called word l, and thing as all are; no row has the last labels or their words. */
const labels = 12;
const withoutRows = [10, 11];
const labelNames = Array.from({ length: labels }, (_, l) => `word${l} thing`);
let home: string;
let data: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-labelled-'));
  data = join(home, 'data');
  const random = RandomStream.named(7, 'texts');
  const word = () => `word${Math.floor(random.uniform() * withoutRows[0])}`;
  const texts = Array.from({ length: 240 }, (_, row) => `${word()} ${word()} and other${row}`);
  const featurizer = Featurizer.fit([...texts, ...labelNames], {
    text: ['text'],
    vocabulary: { minDocuments: 1 },
  });
  const split = (some: readonly string[]) => {
    const builder = new CsrBuilder({ features: featurizer.features, labels });
    for (const text of some) {
      const { indices, values } = featurizer.featurize([text]);
      const own = [...text.matchAll(/word(\d+)/g)].map(([, n]) => Number(n));
      builder.row(
        indices,
        values,
        [...new Set(own)].sort((a, b) => a - b),
      );
    }
    return builder.finish({ labelNames });
  };
  await writeDatasetDirectory(data, {
    ...{ name: 'words', origin: 'made', licence: 'none', featurizer },
    ...{ train: split(texts.slice(0, 200)), validation: split(texts.slice(200)) },
  });
});
afterAll(() => rm(home, { recursive: true, force: true }));

const config = (out: string, more: Partial<TrainConfigInput> = {}): TrainConfigInput => ({
  ...{ data, out: join(home, out), backend: 'reference', batch: 16, epochs: 8 },
  ...{ optimizer: { rate: 2e-2 }, outputOptimizer: { rate: 2e-2 }, labelRows: {} },
  model: {
    encoder: { embedding: 16, dropout: 0 },
    output: { kind: 'fan-in', fanIn: 8, topology: { kind: 'static', start: 'gradient' } },
  },
  ...more,
});
/** Nothing that depends on how often labels occur: no gradients choose connections, biases start at 0. */
const fromChance: Partial<TrainConfigInput> = {
  model: {
    encoder: { embedding: 16, dropout: 0 },
    biasStart: 'zero',
    output: { kind: 'fan-in', fanIn: 8, topology: { kind: 'set', every: 10 } },
  },
};
const weightsOf = async (run: string) =>
  modelArrays((await loadClassifier(join(home, run), kernels)).classifier).map(
    ({ name, data: array }) => [name, [...array]] as const,
  );

describe('rows of labels in training', () => {
  it('teach labels that no row has by what they are called', async () => {
    const best = async (run: string) => {
      const model = await loadClassifier(join(home, run), kernels);
      const answers = await predictTexts(
        model,
        withoutRows.map((l) => `word${l}`),
        1,
      );
      return answers.map(({ predictions }) => predictions[0].label);
    };
    const last = { epochs: 20, validation: { best: false } };
    await train(config('named', last));
    await train(config('plain', { ...last, labelRows: null }));
    expect(await best('named')).toEqual(withoutRows);
    expect(await best('plain')).not.toEqual(withoutRows);
  });

  it('are in batches only: frequencies, and the rows that trained, are those of the data', async () => {
    const events: TrainEvent[] = [];
    const result = await train(config('counted', { epochs: 1 }), { onEvent: (e) => events.push(e) });
    expect(events[0]).toMatchObject({ event: 'start', rows: 200, labelRows: labels });
    const rows = await (await DatasetDirectory.open(data)).load('train');
    expect(result.frequencies).toEqual(labelFrequencies(rows));
    expect(result.trainedRows).toBe(rows.rows);
    const { frequencies } = await loadClassifier(join(home, 'counted'), kernels);
    expect(frequencies?.rows).toBe(rows.rows);
    expect(result.steps).toBe(Math.ceil(rows.rows / 16));
  });

  it('that never come change nothing, bit for bit', async () => {
    await train(config('never', { ...fromChance, labelRows: { until: 1e-9 } }));
    await train(config('without', { ...fromChance, labelRows: null }));
    expect(await weightsOf('never')).toEqual(await weightsOf('without'));
    await train(config('some', { ...fromChance, labelRows: { until: 0.1 } }));
    expect(await weightsOf('some')).not.toEqual(await weightsOf('without'));
  });

  it('come as before in a run that was stopped and resumed', async () => {
    await train(config('whole'));
    const stop = new AbortController();
    const onEvent = (e: TrainEvent) => e.event === 'validation' && e.epoch >= 3 && stop.abort();
    const part = await train(config('halves'), { signal: stop.signal, onEvent });
    expect(part.finished).toBe(false);
    await train(config('halves'), { resume: true });
    expect(await weightsOf('halves')).toEqual(await weightsOf('whole'));
  });

  it('are planned: the accounted peak is no more than was said, and not far below', async () => {
    const run = async (out: string, more: Partial<TrainConfigInput>) => {
      const own = parseConfig(
        config(out, { model: { encoder: { embedding: 128 } }, validation: { rows: 0 }, ...more }),
      );
      const training = await trainingRows(await DatasetDirectory.open(data), own);
      const about = { ...training, validation: null };
      const [line] = (await planTraining(own, kernels, about)).lines;
      const { memory } = await train(own);
      expect(memory.accountedPeak).toBeLessThanOrEqual(line.totalBytes);
      expect(line.minutes).toBeGreaterThan(0);
      return { planned: line.totalBytes, nearness: memory.accountedPeak / line.totalBytes };
    };
    const beside = await run('planned', { labelRows: { share: 4 } });
    const alone = await run('planned-without', { labelRows: null });
    expect(beside.planned).toBeGreaterThan(alone.planned);
    expect(beside.nearness).toBeGreaterThan(0.9);
  });

  it('stand beside the samples that trials of a search train on', async () => {
    const given = { backend: 'reference', batch: 16, epochs: 1, labelRows: {} } as const;
    const search = { data, minutes: 60, trials: 2, leastRows: 60, maxMemory: 1e9 };
    const scores = async (out: string, settings: object) =>
      (await tune({ ...search, out: join(home, out), config: { ...given, ...settings } })).trials.map(
        ({ score }) => [score?.p1.value, score?.p3, score?.p5],
      );
    expect(await scores('search', {})).not.toEqual(await scores('search-without', { labelRows: null }));
  });
});
