/** `tune`: which settings suit a dataset, within minutes, judged on its validation rows. */
import { join } from 'node:path';
import { DatasetDirectory } from '../../data/cache.js';
import type { CsrDataset } from '../../data/dataset.js';
import { labelRows, withLabelRows } from '../../data/label-rows.js';
import { EspalierError } from '../../errors.js';
import { makeDirectory, withFileErrors, writeFileAtomic } from '../../files.js';
import { selectKernels } from '../../kernels/index.js';
import { chooseOutput } from '../auto-output.js';
import type { TrainConfigInput } from '../config.js';
import { availableMemory } from '../memory-limit.js';
import { leavesOutputOpen, provisional } from '../open-output.js';
import { describe } from '../output-choices.js';
import { validationRows } from '../train.js';
import { type DrawMaterial, Draws } from './draws.js';
import { choose, frontierOf } from './frontier.js';
import { nextTrial, type Place } from './halving.js';
import { Journal, type TrialRecord } from './journal.js';
import { parseTune, refuse, type TuneInput, type TuneSpec } from './options.js';
import { frontierPicture } from './picture.js';
import { type Rung, Samples } from './subsample.js';
import { runTrial, type TrialProgress } from './trial.js';

export type TuneEvent =
  | {
      readonly event: 'start';
      readonly rungs: readonly Rung[];
      readonly resumed: number;
      readonly spent: number;
    }
  | ({
      readonly event: 'progress';
      readonly trial: number;
      readonly output: string;
      readonly rung: number;
      /** Of the budget, with earlier calls. */
      readonly seconds: number;
    } & Place &
      TrialProgress)
  | { readonly event: 'trial'; readonly record: TrialRecord };

export interface TuneOptions {
  readonly onEvent?: (event: TuneEvent) => void;
  /** Ends the search after the running step; the trial that runs is lost. */
  readonly signal?: AbortSignal;
  /** Milliseconds that only grow; the budget is counted by it. Default `performance.now`. */
  readonly now?: () => number;
}

export interface TuneResult {
  /** In the order of trying. */
  readonly trials: readonly TrialRecord[];
  /** What no other is better than in P@1, memory and seconds per epoch together. */
  readonly frontier: readonly TrialRecord[];
  readonly chosen: TrialRecord;
  /** The default settings on as many rows as the chosen ones, where the budget reached so far. */
  readonly control: TrialRecord | null;
  readonly rungs: readonly Rung[];
  readonly validationRows: number;
  /** Spent, over all calls. */
  readonly seconds: number;
  /** What `train` takes, but for `out`. */
  readonly config: Omit<TrainConfigInput, 'out'>;
  readonly files: { readonly config: string; readonly picture: string; readonly trials: string };
}

/**
 * Searches settings of training on a dataset's validation rows: random draws around the defaults, on samples of the rows at
 * first, the better third on three times as many (successive halving: Jamieson & Talwalkar 2016; Li et al. 2018), until the
 * minutes are over. Test rows are never read. Called again with the same `out` it goes on where it was; it ends with
 * `chosen.json`, settings that `train` takes as they are, and `frontier.svg`.
 *
 * @throws EspalierError `TUNE_*` and `CONFIG_*` of kind usage, `DATASET_*`; `TUNE_BUDGET` where the minutes ended before
 *   anything was scored
 * @example
 * const { config, chosen } = await tune({ data: 'data/wn', out: 'tune/wn', minutes: 20 });
 * await train({ ...config, out: 'runs/wn' });
 */
export async function tune(input: TuneInput, options: TuneOptions = {}): Promise<TuneResult> {
  const { now = () => performance.now(), signal, onEvent } = options;
  const began = now();
  const spec = parseTune(input);
  const given = { ...spec.config, data: spec.data, out: 'none' } as TrainConfigInput;
  const checked = provisional(given);
  const directory = await DatasetDirectory.open(spec.data);
  const kernels = selectKernels({ backend: checked.backend, threads: checked.threads || undefined });
  const ofLabels = checked.labelRows ? await labelRows(directory) : null;
  const training = withLabelRows(await directory.load('train'), ofLabels);
  const { rows, examples = rows } = training;
  const validation = await validationRows(directory, checked);
  if (validation === null)
    throw refuse('TUNE_VALIDATION', 'the dataset has no validation rows to judge trials on', {
      hint: '`espalier data --from FILE` sets some aside',
    });
  const room = spec.maxMemory ?? examples.bytes + validation.bytes + availableMemory();
  const base = leavesOutputOpen(given)
    ? (await chooseOutput(given, kernels, { ...training, validation }, { maxMemory: room, baseRss: 0 }))
        .config
    : checked;
  await withFileErrors('tune', spec.out, () => makeDirectory(spec.out));
  const { fingerprint } = directory;
  const { seed, leastRows, maxMemory = null } = spec;
  const journal = await Journal.open(
    spec.out,
    { format: 'espalier-search', version: 1, fingerprint, seed, leastRows, maxMemory, settings: spec.config },
    room,
  );
  try {
    const search = new Search(spec, { given, base, kernels, ...training, ofLabels, validation }, journal);
    onEvent?.({
      ...{ event: 'start', rungs: search.samples.rungs },
      ...{ resumed: search.complete.length, spent: search.spent },
    });
    await search.run({ began, now, signal, onEvent });
    return await search.finish();
  } finally {
    journal.close();
  }
}

interface Clock extends TuneOptions {
  readonly began: number;
  readonly now: () => number;
}

interface Material extends DrawMaterial {
  /** Rows of labels, behind those of every sample; null: none. */
  readonly ofLabels: CsrDataset | null;
}

class Search {
  readonly samples: Samples;
  readonly #spec: TuneSpec;
  readonly #material: Material;
  readonly #journal: Journal;
  readonly #draws: Draws;
  /** As the journal has them. */
  readonly #records: TrialRecord[];

  constructor(spec: TuneSpec, material: Material, journal: Journal) {
    this.#spec = spec;
    this.#material = material;
    this.#journal = journal;
    this.#records = [...journal.records];
    this.samples = new Samples(material.rows, material.validation, spec);
    this.#draws = new Draws(material, { seed: spec.seed, bound: journal.head.bound });
  }

  /** Seconds of the budget that are gone. */
  get spent(): number {
    return this.#records.reduce((sum, { seconds }) => sum + seconds, 0);
  }

  /** Trials that are not to be tried again: one that the budget cut may be, with more of it. */
  get complete(): TrialRecord[] {
    return this.#records.filter(({ status }) => status !== 'cut');
  }

  async run({ began, now, signal, onEvent }: Clock): Promise<void> {
    const { minutes, trials = Infinity } = this.#spec;
    const before = this.spent;
    const deadline = began + 1000 * (60 * minutes - before);
    let last = began;
    const over = () => signal?.aborted === true || now() >= deadline;
    while (!over() && this.complete.length < trials) {
      const done = this.complete;
      const outcomes = done.map(({ draw, rung, score }) => ({ draw, rung, score: score?.p1.value ?? null }));
      const place = nextTrial(outcomes, this.samples.rungs.length);
      const fresh = place.rung === 0 && place.draw > 0;
      const { draw, passedOver } = fresh ? await this.#draws.next(place.draw) : { ...place, passedOver: 0 };
      if (over()) return;
      const { config, settings, bytes } = await this.#draws.get(draw);
      const output = describe(config.model.output);
      const trial = done.length;
      const rows = this.samples.rowsOf(place.rung);
      const about = {
        trial,
        draw,
        rung: place.rung,
        rows: rows.rows,
        output,
        settings,
        bytes,
        passedOver,
        config,
      };
      const rest = await attempt(draw === 0, () =>
        runTrial(
          config,
          this.#material.kernels,
          { ...withLabelRows(rows, this.#material.ofLabels), validation: this.#material.validation },
          {
            stop: {
              get aborted() {
                return over();
              },
            },
            onProgress: (progress) =>
              onEvent?.({
                ...{ event: 'progress', trial, draw, rung: place.rung, output, ...progress },
                seconds: before + (now() - began) / 1000,
              }),
          },
        ),
      );
      // A trial that was stopped from outside is lost, so that it is tried whole when the search goes on.
      if (signal?.aborted === true && rest.status === 'cut') return;
      const at = now();
      const { examplesPerSecond } = rest;
      const all = this.#material.rows.rows;
      const record: TrialRecord = {
        ...about,
        ...rest,
        secondsPerEpoch: examplesPerSecond === null ? null : all / examplesPerSecond,
        seconds: (at - last) / 1000,
      };
      last = at;
      this.#journal.add(record);
      this.#records.push(record);
      onEvent?.({ event: 'trial', record });
    }
  }

  /** Writes what was found. */
  async finish(): Promise<TuneResult> {
    const { out, objective, minutes } = this.#spec;
    // Of trials that were cut only the last can tell anything that was not tried again.
    const trials = this.#records.filter(
      ({ status }, i) => status !== 'cut' || i === this.#records.length - 1,
    );
    const chosen = choose(trials, objective);
    if (chosen === null) throw nothingScored(this.#records, minutes);
    const frontier = frontierOf(trials);
    const control = trials.find(
      ({ draw, rung, score }) => draw === 0 && rung === chosen.rung && score !== null,
    );
    const { out: _, ...config } = chosen.config;
    const files = {
      config: join(out, 'chosen.json'),
      picture: join(out, 'frontier.svg'),
      trials: join(out, 'trials.jsonl'),
    };
    await writeFileAtomic(files.config, `${JSON.stringify(config, null, 2)}\n`);
    await writeFileAtomic(files.picture, frontierPicture(trials, frontier, chosen));
    return {
      ...{ trials, frontier, chosen, control: control ?? null, rungs: this.samples.rungs, config, files },
      validationRows: this.#material.validation.rows,
      seconds: this.spent,
    };
  }
}

type Ended = Pick<TrialRecord, 'status' | 'score' | 'examplesPerSecond' | 'problem'>;

/** What a trial came to; a draw may diverge or find no room, the default settings may not. */
async function attempt(isDefault: boolean, run: () => ReturnType<typeof runTrial>): Promise<Ended> {
  try {
    const { finished, score, examplesPerSecond } = await run();
    return { status: finished ? 'done' : 'cut', score, examplesPerSecond, problem: null };
  } catch (error) {
    const noRoom = error instanceof RangeError && /array buffer allocation failed/i.test(error.message);
    if (isDefault || !(error instanceof EspalierError || noRoom)) throw error;
    return { status: 'failed', score: null, examplesPerSecond: null, problem: (error as Error).message };
  }
}

function nothingScored(records: readonly TrialRecord[], minutes: number): EspalierError {
  return refuse('TUNE_BUDGET', 'the budget was over before anything was scored', {
    expected: 'time for at least one epoch of the fewest rows and one scoring',
    received: `${minutes} minutes, ${records.length} trial(s)`,
    hint: 'give more --budget: the search goes on where it is; or fewer rows at first with --least-rows',
  });
}
