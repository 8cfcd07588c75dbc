import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { writeDatasetDirectory } from '../data/cache.js';
import { plantedDataset } from '../data/planted.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { Classifier } from '../model/classifier.js';
import { modelSpec } from '../model/spec.js';
import { type LogRecord, RunLog, readRunLog } from '../store/index.js';
import { Device } from '../tensor/device.js';
import type { TrainEvent } from './events.js';
import { RunRecorder } from './recorder.js';
import { takeSnapshot } from './snapshot.js';
import { train } from './train.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-recorder-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function recordsOf(path: string): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for await (const record of readRunLog(path)) records.push(record);
  return records;
}

it('the log of long runs is small: progress grows rarer, and means stay those of all steps', async () => {
  const path = join(home, 'day/log.jsonl');
  const log = RunLog.open(path);
  const clock = vi.spyOn(performance, 'now');
  let now = 0;
  clock.mockImplementation(() => now);
  try {
    const recorder = new RunRecorder(log, { out: home, from: 0, tensorboard: false });
    const facts = { steps: 36_000, epoch: 1, epochs: 1, rate: 1, encoderNorm: 1, auxiliary: null };
    for (let i = 1; i <= 36_000; i++) {
      now = 200 * i;
      const event: TrainEvent = {
        ...{ ...facts, event: 'progress', step: 3 * i, loss: i, lossSteps: 3 },
        ...{ examplesPerSecond: 1, etaSeconds: 1, rssBytes: 1 },
      };
      recorder.write(event);
    }
    recorder.flush();
  } finally {
    clock.mockRestore();
    log.close();
  }
  const records = await recordsOf(path);
  expect(records.length).toBeGreaterThan(5_000);
  expect(records.length).toBeLessThan(9_000);
  let [before, sum] = [0, 0];
  for (const { step, loss, lossSteps } of records) {
    expect(lossSteps).toBe(step - before);
    sum += (step - before) * (loss as number);
    before = step;
  }
  expect(before).toBe(3 * 36_000);
  expect(sum / before).toBeCloseTo((36_000 + 1) / 2, 3);
});

it('a run logs memory, snapshots and scores by frequency some fifty times at most, and for TensorBoard as asked', async () => {
  const shape = { features: 60, labels: 30, seed: 3 };
  const data = join(home, 'data');
  await writeDatasetDirectory(data, {
    ...{ name: 'planted', origin: 'made', licence: 'none' },
    train: plantedDataset({ ...shape, rows: 320 }),
    validation: plantedDataset({ ...shape, rows: 60, split: 'validation' }),
  });
  const out = join(home, 'run');
  await train({
    ...{ data, out, backend: 'reference', batch: 16, epochs: 6, tensorboard: true },
    model: {
      encoder: { embedding: 16 },
      output: { kind: 'fan-in', fanIn: 6, topology: { kind: 'set', every: 10 } },
    },
  });
  const records = await recordsOf(join(out, 'log.jsonl'));
  const of = (event: string) => records.filter((record) => record.event === event);
  expect(of('snapshot').map(({ step }) => step)).toEqual(Array.from({ length: 41 }, (_, i) => 3 * i));
  expect(of('memory')).toHaveLength(41);
  const [{ buckets, precision }] = of('validation') as unknown as Extract<
    TrainEvent,
    { event: 'validation' }
  >[];
  const contributions = Object.values(buckets ?? {}).map((byK) => byK['1'].contribution);
  expect(contributions.reduce((a, b) => a + b, 0)).toBeCloseTo(precision['1'], 9);
  const [file] = await readdir(join(out, 'tensorboard'));
  const text = (await readFile(join(out, 'tensorboard', file))).toString('latin1');
  for (const tag of [
    'train/loss',
    'validation/P@1',
    'weights/output.weights',
    'memory/weights',
    'topology/in_degree',
  ])
    expect(text).toContain(tag);
});

it.each([
  ['fan-in', { kind: 'fan-in', fanIn: 6 }],
  ['grouped', { kind: 'grouped', fanIn: 8, group: 4, order: 'random' }],
  ['head and tail', { kind: 'grouped', fanIn: 8, group: 4, head: 5 }],
  ['dense', { kind: 'dense' }],
  ['dense bf16', { kind: 'dense', precision: 'bf16' }],
])('a snapshot counts the labels of every hidden unit (%s)', (_, output) => {
  const spec = modelSpec.parse({ encoder: { embedding: 24 }, output: { startScale: 1, ...output } });
  const classifier = new Classifier(
    new Device(referenceKernels('float32')),
    { features: 20, labels: 37 },
    spec,
    {
      seed: 1,
      outputOptimizer: { kind: 'sgd', rate: 1 },
    },
  );
  const { weights, inDegree } = takeSnapshot(classifier);
  for (const { shares, rms } of weights) {
    expect(shares.reduce((a, b) => a + b, 0)).toBeCloseTo(1, 2);
    expect(rms).toBeGreaterThan(0);
    expect(rms).toBeLessThan(2);
  }
  if (output.kind === 'dense') {
    expect(inDegree).toBeNull();
    return;
  }
  const degrees = new Float64Array(24);
  const head = 'head' in output ? 5 : 0;
  const order =
    head === 0
      ? null
      : new Set(classifier.output.state().model.find(({ name }) => name === 'head.labels')?.data);
  for (let label = 0; label < 37; label++) {
    if (order?.has(label)) continue;
    for (const unit of classifier.output.connections(label).inputs) degrees[unit]++;
  }
  const sorted = degrees.toSorted();
  expect(inDegree).toMatchObject({ units: 24, from: sorted[0], median: sorted[12] });
  expect(inDegree?.mean).toBeCloseTo(sorted.reduce((a, b) => a + b, 0) / 24, 9);
});
