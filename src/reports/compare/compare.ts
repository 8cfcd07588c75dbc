/** Runs side by side on the same rows: accuracy with paired intervals, cost, speed, and what that means in words. */
import { basename, resolve } from 'node:path';
import type { DatasetDirectory, Split } from '../../data/cache.js';
import { labelBuckets, labelFrequencies } from '../../data/statistics.js';
import { EspalierError } from '../../errors.js';
import type { Kernels } from '../../kernels/face.js';
import { type LoadedModel, loadClassifier } from '../../model/model-io.js';
import { checkFits, scoreDataset } from '../../model/score.js';
import { modelBytes } from '../run.js';
import { readRun } from '../run-set.js';
import { bootstrap, type Compared } from './bootstrap.js';
import { figureNames, RowOutcomes } from './outcomes.js';
import { measureSpeed, type Speed } from './speed.js';
import { type BreakEven, breakEvenOf, inWords } from './words.js';

export interface CompareOptions {
  readonly runs: readonly string[];
  readonly data: DatasetDirectory;
  readonly split: Split;
  readonly kernels: Kernels;
  /** Of the machine, in any currency. */
  readonly pricePerHour?: number;
  readonly seed?: number;
  readonly onProgress?: (text: string) => void;
}

export interface ComparedRun {
  readonly name: string;
  readonly directory: string;
  readonly model: string;
  readonly output: string;
  /** By name: `P@1`, `tail found@5`; shares in [0, 1]. */
  readonly accuracy: Readonly<Record<string, Compared>>;
  /** At work, over all processes; null where there is no log. */
  readonly trainingSeconds: number | null;
  readonly peakBytes: number | null;
  readonly peakRssBytes: number | null;
  readonly modelBytes: number;
  readonly weights: number;
  readonly speed: Speed;
  /** To the first run; empty for the first run itself. */
  readonly words: {
    readonly gained: readonly string[];
    readonly lost: readonly string[];
    readonly alike: readonly string[];
  };
  readonly breakEven: BreakEven | null;
}

export interface Comparison {
  readonly data: string;
  readonly split: string;
  readonly rows: number;
  readonly labels: number;
  readonly kernels: string;
  readonly threads: number;
  readonly seed: number;
  /** Resamples behind the intervals. */
  readonly draws: number;
  readonly pricePerHour: number | null;
  /** Labels with at most so many training rows are tail, torso. */
  readonly borders: { readonly tailAtMost: number; readonly torsoAtMost: number };
  readonly runs: readonly ComparedRun[];
}

const mostRuns = 8;

/**
 * Scores and times the models of all runs on a split; the first run is what the others are compared to.
 *
 * @throws EspalierError `COMPARE_RUNS`, `EVALUATE_MISMATCH`, and what loading a model throws
 */
export async function compareRuns(options: CompareOptions): Promise<Comparison> {
  const { data, split, kernels, seed = 1, onProgress = () => {} } = options;
  checkCount(options.runs);
  const rows = await data.load(split);
  const trained = split === 'trainAll' ? rows : await data.load('trainAll');
  const buckets = labelBuckets(labelFrequencies(trained));
  const names = namesOf(options.runs);
  const models: LoadedModel[] = [];
  const outcomes: RowOutcomes[] = [];
  for (const [i, run] of options.runs.entries()) {
    const model = await loadClassifier(run, kernels);
    checkFits({ code: 'EVALUATE_MISMATCH', op: 'compare' }, model, data);
    const outcome = new RowOutcomes(rows.rows, buckets);
    const show = (done: number, of: number) => onProgress(`${names[i]}: scored ${done} of ${of} rows`);
    const how = { batch: 256, k: 5, ranking: model, onProgress: show };
    await scoreDataset(model.classifier, rows, outcome, how);
    models.push(model);
    outcomes.push(outcome);
  }
  onProgress('intervals');
  const { draws, runs: accuracy } = bootstrap(
    outcomes.map((outcome) => outcome.ratios()),
    seed,
  );
  onProgress('latency and throughput, in turns');
  const speeds = await measureSpeed(models, rows);
  const plain: Omit<ComparedRun, 'words' | 'breakEven'>[] = [];
  for (const [i, run] of options.runs.entries()) {
    const { summary, bytes } = await factsOf(run);
    plain.push({
      ...{ name: names[i], directory: resolve(run), model: basename(models[i].directory) },
      output: outputOf(models[i]),
      accuracy: Object.fromEntries(figureNames.map((name, f) => [name, accuracy[i][f]])),
      trainingSeconds: summary?.seconds ?? null,
      peakBytes: summary?.peakBytes ?? null,
      peakRssBytes: summary?.peakRssBytes ?? null,
      modelBytes: bytes,
      weights: models[i].classifier.weightCount,
      speed: speeds[i],
    });
  }
  const price = options.pricePerHour ?? null;
  return {
    ...{ data: data.info.name, split, rows: rows.rows, labels: rows.labels },
    ...{ kernels: kernels.name, threads: kernels.threads, seed, draws, pricePerHour: price },
    borders: { tailAtMost: buckets.tailAtMost, torsoAtMost: buckets.torsoAtMost },
    runs: plain.map((run, i) => ({
      ...run,
      words: i === 0 ? { gained: [], lost: [], alike: [] } : inWords(run, plain[0]),
      breakEven: i === 0 ? null : breakEvenOf(run, plain[0], price),
    })),
  };
}

async function factsOf(run: string) {
  const summary = await readRun(run).catch(() => null);
  // A model directory has no log: nothing is known of its training.
  return { summary: summary?.status === 'waiting' ? null : summary, bytes: await modelBytes(run) };
}

/** The shortest ends of the paths that tell all runs apart. */
function namesOf(runs: readonly string[]): string[] {
  const parts = runs.map((run) => resolve(run).split(/[\\/]/).filter(Boolean));
  for (let length = 1; ; length++) {
    const names = parts.map((part) => part.slice(-length).join('/'));
    if (new Set(names).size === names.length || length > Math.max(...parts.map((p) => p.length)))
      return names;
  }
}

function outputOf({ spec: { output } }: LoadedModel): string {
  const size = 'fanIn' in output ? output.fanIn : 'width' in output ? output.width : null;
  return size === null ? output.kind : `${output.kind} ${size}`;
}

function checkCount(runs: readonly string[]): void {
  if (runs.length >= 1 && runs.length <= mostRuns) return;
  throw new EspalierError({
    code: 'COMPARE_RUNS',
    kind: 'usage',
    op: 'compare',
    problem: 'so many runs do not stand side by side',
    expected: `1 to ${mostRuns}`,
    received: String(runs.length),
  });
}
