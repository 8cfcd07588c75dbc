/** Life after the first training: every kind of output layer goes on, gets labels and loses labels. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CsrBuilder } from '../data/builder.js';
import { DatasetDirectory, writeDatasetDirectory } from '../data/cache.js';
import { CsrDataset } from '../data/dataset.js';
import { plantedDataset } from '../data/planted.js';
import { selectKernels } from '../kernels/index.js';
import { type LoadedModel, loadClassifier } from '../model/model-io.js';
import { removeLabels } from '../model/remove-labels.js';
import { modelArrays } from '../model/state.js';
import { Device } from '../tensor/device.js';
import { parseConfig, type TrainConfigInput } from './config.js';
import type { TrainEvent } from './events.js';
import { startFrom, withStart } from './start.js';
import { train } from './train.js';

const shape = { features: 120, labels: 40, seed: 3 };
const kernels = selectKernels({ backend: 'reference' });
const nameOf = (label: number) => `label ${label}`;
/** Held out first: every fifth label. */
const later = Array.from({ length: shape.labels }, (_, l) => l).filter((l) => l % 5 === 2);
const first = Array.from({ length: shape.labels }, (_, l) => l).filter((l) => l % 5 !== 2);
let home: string;
let all: CsrDataset;
let test: CsrDataset;

/** The rows of a dataset with some of its labels, numbered anew. */
function withLabels(dataset: CsrDataset, labels: readonly number[]): CsrDataset {
  const number = new Map(labels.map((label, l) => [label, l]));
  const builder = new CsrBuilder({ features: dataset.features, labels: labels.length });
  for (let row = 0; row < dataset.rows; row++) {
    const ids = dataset.labelIds.subarray(dataset.labelIndptr[row], dataset.labelIndptr[row + 1]);
    const own = [...ids].flatMap((label) => number.get(label) ?? []);
    const [from, to] = [dataset.indptr[row], dataset.indptr[row + 1]];
    if (own.length > 0)
      builder.row([...dataset.indices.subarray(from, to)], [...dataset.values.subarray(from, to)], own);
  }
  return new CsrDataset({ ...builder.finish(), labelNames: labels.map(nameOf) });
}

async function store(name: string, labels: readonly number[]): Promise<string> {
  const path = join(home, name);
  await writeDatasetDirectory(path, {
    ...{ name, origin: 'made', licence: 'none' },
    ...{ train: withLabels(all, labels), test: withLabels(test, labels) },
  });
  return path;
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-continue-'));
  all = plantedDataset({ ...shape, rows: 400 });
  test = plantedDataset({ ...shape, rows: 60, split: 'test' });
  await store('first', first);
  // The old labels come first, as `espalier data --like` numbers them.
  await store('more', [...first, ...later]);
});
afterAll(() => rm(home, { recursive: true, force: true }));

type Output = NonNullable<TrainConfigInput['model']>['output'];
const topology = { kind: 'set', every: 10 } as const;
const kinds: Record<string, { output: Output; loss?: 'taylorSoftmax' }> = {
  dense: { output: { kind: 'dense' } },
  'dense in bfloat16': { output: { kind: 'dense', precision: 'bf16' } },
  'fan-in': { output: { kind: 'fan-in', fanIn: 10, topology } },
  'fan-in from gradients': {
    output: { kind: 'fan-in', fanIn: 10, topology: { kind: 'static', start: 'gradient' } },
  },
  'grouped, ragged': { output: { kind: 'grouped', fanIn: 10, group: 5, topology } },
  'grouped with a dense head': { output: { kind: 'grouped', fanIn: 8, group: 5, head: 0.2, topology } },
  bottleneck: { output: { kind: 'bottleneck', width: 12 } },
  factored: { output: { kind: 'factored' }, loss: 'taylorSoftmax' },
};

const config = (out: string, { output, loss }: (typeof kinds)[string], data = 'first'): TrainConfigInput => ({
  ...{ data: join(home, data), out: join(home, out), backend: 'reference', batch: 32, epochs: 5 },
  optimizer: { kind: 'adam', rate: 2e-2 },
  outputOptimizer: loss === undefined ? { kind: 'adam', rate: 2e-2 } : { kind: 'sgd', rate: 3 },
  model: { encoder: { embedding: 24, dropout: 0.1 }, output, ...(loss === undefined ? {} : { loss }) },
});

/** Logits of some labels for the first rows of the test. */
async function logits({ classifier }: Pick<LoadedModel, 'classifier'>, labels: readonly number[]) {
  const { device } = classifier;
  const rows = test.indptr[20];
  device.arena.reset();
  const h = classifier.infer({
    ...{ rows: 20, nnz: rows, width: test.features, indptr: Int32Array.from(test.indptr.subarray(0, 21)) },
    ...{ indices: test.indices.subarray(0, rows), values: test.values.subarray(0, rows) },
  });
  const z = Array.from((await classifier.output.scores(h, Uint32Array.from(labels))).data);
  device.arena.reset();
  return z;
}

/** Of the test rows that have labels below `from`.. only: share whose best label is right. */
async function precision(run: string, isAsked: (label: number) => boolean): Promise<number> {
  const model = await loadClassifier(join(home, run), kernels);
  const data = await (await DatasetDirectory.open(join(home, 'more'))).load('test');
  let [rows, hits] = [0, 0];
  for (let row = 0; row < data.rows; row++) {
    const truth = [...data.labelIds.subarray(data.labelIndptr[row], data.labelIndptr[row + 1])];
    if (!truth.some(isAsked)) continue;
    const [from, to] = [data.indptr[row], data.indptr[row + 1]];
    model.classifier.device.arena.reset();
    const h = model.classifier.infer({
      ...{ rows: 1, nnz: to - from, width: data.features, indptr: Int32Array.of(0, to - from) },
      ...{ indices: data.indices.subarray(from, to), values: data.values.subarray(from, to) },
    });
    const best = await model.classifier.output.topK(h, 1);
    rows++;
    if (truth.includes(best.labels[0])) hits++;
  }
  return hits / rows;
}

describe.each(Object.entries(kinds))('output %s', (name, kind) => {
  const run = (what: string) => `${name} ${what}`;
  const more = (out: string): TrainConfigInput => ({
    ...{
      data: join(home, 'more'),
      out: join(home, out),
      epochs: 2,
      start: { model: join(home, run('first')) },
    },
  });
  const n = first.length;
  const old = first.map((_, l) => l);

  beforeAll(async () => {
    await train(config(run('first'), kind));
  });

  it('gets labels: those that were there have the same logits bit for bit before the first step', async () => {
    const before = await loadClassifier(join(home, run('first')), kernels);
    const rows = await (await DatasetDirectory.open(join(home, 'more'))).load('train');
    const given = parseConfig(await withStart(more(run('unused'))));
    const device = new Device(kernels);
    const { classifier, fresh, report } = await startFrom(
      given,
      given.start as never,
      device,
      { rows },
      null,
    );
    expect(report.labels).toEqual({ kept: n, added: 8, dropped: 0, addedWithoutRows: 0 });
    expect(Array.from(fresh)).toEqual(later.map((_, l) => n + l));
    expect(await logits({ classifier }, old)).toEqual(await logits(before, old));
  });

  it('learns new labels and keeps the old; stopped and resumed it ends with the same bits', async () => {
    const events: TrainEvent[] = [];
    const whole = await train(more(run('whole')), { onEvent: (e) => events.push(e) });
    expect(whole.config.model).toMatchObject({ encoder: { embedding: 24, dropout: 0.1 } });
    expect(events.find((e) => e.event === 'continued')).toMatchObject({ mode: 'continue', fittedRows: null });
    // What was learnt is no start: a layer that chose its connections has them.
    expect(events.filter((e) => e.event === 'rewire' && e.step === 0)).toEqual([]);
    const isOld = (label: number) => label < n;
    expect(await precision(run('whole'), isOld)).toBeGreaterThan(0.6);
    expect(await precision(run('whole'), (label) => !isOld(label))).toBeGreaterThan(0.5);
    const stop = new AbortController();
    const onEvent = (e: TrainEvent) => {
      if (e.event === 'start') stop.abort();
    };
    const halves = more(run('halves'));
    await train(halves, { signal: stop.signal, onEvent });
    await train(halves, { resume: true });
    const arrays = async (of: string) => {
      const { classifier } = await loadClassifier(join(home, of), kernels);
      return modelArrays(classifier).map(({ name: array, data }) => [array, Array.from(data)]);
    };
    expect(await arrays(run('halves'))).toEqual(await arrays(run('whole')));
  });

  it('learns new labels alone, where it can: encoder, old labels and connections stay, bit by bit', async () => {
    const { data, start, ...input } = more(run('new alone'));
    const alone = { ...input, data, epochs: 4, start: { ...start, learn: 'new' } } as TrainConfigInput;
    const able = [
      'dense',
      'dense in bfloat16',
      'fan-in',
      'fan-in from gradients',
      'grouped, ragged',
      'bottleneck',
    ];
    if (!able.includes(name)) {
      await expect(train(alone)).rejects.toMatchObject({ code: 'START_LEARN' });
      return;
    }
    const [before, { classifier }] = [
      await loadClassifier(join(home, run('first')), kernels),
      await train(alone),
    ];
    expect(await logits({ classifier }, old)).toEqual(await logits(before, old));
    const encoder = (of: typeof classifier) =>
      modelArrays(of).flatMap(({ name, data }) => (name.startsWith('encoder.') ? [...data] : []));
    expect(encoder(classifier)).toEqual(encoder(before.classifier));
    for (const label of old) {
      expect(classifier.output.connections(label)).toEqual(before.classifier.output.connections(label));
    }
    expect(await precision(run('new alone'), (label) => label >= n)).toBeGreaterThan(0.5);
  });

  it('loses labels: the others have the same logits, also after saving, loading and getting new ones', async () => {
    const before = await loadClassifier(join(home, run('first')), kernels);
    const gone = old.filter((l) => l % 3 === 0);
    const kept = old.filter((l) => l % 3 !== 0);
    const out = join(home, run('fewer'));
    const { removed, left } = await removeLabels(
      join(home, run('first')),
      gone.map((l) => nameOf(first[l])),
      out,
      kernels,
    );
    expect([removed, left]).toEqual([gone.length, kept.length]);
    const after = await loadClassifier(out, kernels);
    expect(after.labelNames).toEqual(kept.map((l) => nameOf(first[l])));
    const places = kept.map((_, l) => l);
    expect(await logits(after, places)).toEqual(await logits(before, kept));
    // Those that left come back as new ones, and the layer trains.
    const again = await train({ ...more(run('again')), epochs: 0.2, start: { model: out } });
    expect(again.classifier.output.labels).toBe(shape.labels);
    await loadClassifier(join(home, run('again')), kernels);
    await expect(removeLabels(out, ['label 1x'], out, kernels)).rejects.toMatchObject({
      code: 'LABEL_UNKNOWN',
      facts: { hint: expect.stringContaining('label 1') },
    });
  });
});

describe('a head', () => {
  it('that loses all its labels leaves the tail as the whole layer', async () => {
    await train({ ...config('headed', kinds['grouped with a dense head']), epochs: 0.2 });
    const { classifier, labelNames } = await loadClassifier(join(home, 'headed'), kernels);
    const head = modelArrays(classifier).find(({ name }) => name === 'output.head.labels');
    const names = Array.from(head?.data ?? [], (l) => labelNames[l]);
    expect(names).toHaveLength(6);
    await removeLabels(join(home, 'headed'), names, join(home, 'beheaded'), kernels);
    const { spec } = await loadClassifier(join(home, 'beheaded'), kernels);
    expect(spec.output).toMatchObject({ kind: 'grouped', head: 0 });
  });
});

describe('what does not go together', () => {
  beforeAll(async () => {
    await train({ ...config('base', kinds.dense), epochs: 0.2 });
    await store('fewer', first.slice(3));
    await writeDatasetDirectory(join(home, 'wider'), {
      ...{ name: 'wider', origin: 'made', licence: 'none' },
      train: plantedDataset({ ...shape, features: 130, rows: 50 }),
    });
  });
  const start = (more: object) => ({ start: { model: join(home, 'base'), ...more } });
  const on = (data: string, out: string): TrainConfigInput => ({
    ...{ data: join(home, data), out: join(home, out), epochs: 0.1 },
  });

  it('is refused: labels that are missing, unless they may go; other features; other layers', async () => {
    await expect(train({ ...on('fewer', 'refused'), ...start({}) })).rejects.toMatchObject({
      code: 'START_LABELS',
      facts: { problem: expect.stringContaining('label 0') },
    });
    await expect(train({ ...on('wider', 'refused too'), ...start({}) })).rejects.toMatchObject({
      code: 'START_FEATURES',
    });
    const same = { ...on('first', 'nothing new'), ...start({ learn: 'new' }) };
    await expect(train(same)).rejects.toMatchObject({ code: 'START_LEARN' });
    const shared = { ...on('more', 'shared alone'), ...start({ mode: 'share', learn: 'new' }) };
    await expect(train(shared)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await store('between', [later[0], ...first, ...later.slice(1)]);
    const between = { ...on('between', 'between two'), ...start({ learn: 'new' }) };
    await expect(train(between)).rejects.toMatchObject({
      code: 'START_LEARN',
      facts: { hint: expect.stringContaining('--like') },
    });
    const other = { ...on('more', 'refused again'), ...start({}), model: { encoder: { embedding: 16 } } };
    await expect(train(other)).rejects.toMatchObject({ code: 'START_MODEL' });
    const dropped = await train({ ...on('fewer', 'dropped'), ...start({ missingLabels: 'drop' }) });
    expect(dropped.classifier.output.labels).toBe(first.length - 3);
  });

  it('may share: the encoder alone where the output layer is another, labels by name where it is not', async () => {
    const shared: TrainEvent[] = [];
    const { output } = kinds['fan-in'];
    const onEvent = (e: TrainEvent) => {
      if (e.event === 'continued') shared.push(e);
    };
    const input = { ...config('shared', { output }, 'fewer'), epochs: 0.1, ...start({ mode: 'share' }) };
    await train(input, { onEvent });
    await train({ ...input, ...config('same', kinds.dense, 'fewer'), epochs: 0.1 }, { onEvent });
    expect(shared).toMatchObject([{ labels: { kept: 0 } }, { labels: { kept: first.length - 3, added: 0 } }]);
    // Whose encoder is not what is default for the other kind of layer.
    expect(parseConfig(input).model.encoder.activation).toBe('none');
    const { spec } = await loadClassifier(join(home, 'shared'), kernels);
    expect(spec.encoder.activation).toBe('relu');
  });
});

it('what a continued run says that it will hold counts the moment at which its labels joined', async () => {
  // Rows of labels are nearly all there is: beside them, the old rows are what is largest.
  const wide = { features: 20, seed: 4, rows: 60 };
  const data = async (name: string, labels: number) => {
    const rows = plantedDataset({ ...wide, labels });
    const labelNames = Array.from({ length: labels }, (_, l) => nameOf(l));
    await writeDatasetDirectory(join(home, name), {
      ...{ name, origin: 'made', licence: 'none', train: new CsrDataset({ ...rows, labelNames }) },
    });
  };
  await data('wide', 3000);
  await data('wider still', 3010);
  const base = { ...config('wide', kinds.dense, 'wide'), batch: 4, epochs: 0.1 };
  await train(base);
  const events: TrainEvent[] = [];
  const { memory } = await train(
    { data: join(home, 'wider still'), out: join(home, 'joined'), epochs: 0.1, start: { model: base.out } },
    { onEvent: (e) => events.push(e) },
  );
  const began = events.find((e) => e.event === 'start');
  const planned = began?.event === 'start' ? began.plannedBytes : 0;
  expect(memory.accountedPeak).toBeLessThanOrEqual(planned);
  // What the test is for: two copies of the rows stood side by side.
  expect(memory.accountedPeak).toBeGreaterThan(3010 * 25 * 4 * (1 + 2) + 3000 * 24 * 4);
});
