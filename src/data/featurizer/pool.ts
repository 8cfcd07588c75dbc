/**
 * Threads that count terms and featurize blocks of rows. Which thread takes which block does not matter: counts are
 * added up, and results come back to whoever asked.
 */
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { EspalierError } from '../../errors.js';
import type { FeatureBlock, Featurizer, FittedCounts } from './featurizer.js';
import type { FeaturizerOptions } from './options.js';
import type { RowBlock } from './row-block.js';
import { FeatureWork, type Task, type ThreadCounts } from './work.js';

type Result = ThreadCounts | FeatureBlock | null;

interface Thread {
  /** Tasks handed over and not answered. */
  pending: number;
  run(task: Task): Promise<Result>;
  close(): Promise<void>;
}

/** Blocks under way per thread: one at work, one waiting. */
const DEPTH = 2;

export class FeaturePool {
  readonly #threads: readonly Thread[];
  #counting: Promise<unknown>[] = [];

  private constructor(threads: readonly Thread[]) {
    this.#threads = threads;
  }

  /** @param threads 0: one for each core; 1: this thread */
  static open(threads = 0): FeaturePool {
    const count = threads === 0 ? availableParallelism() : threads;
    const file = workerFile();
    if (count === 1 || file === null) return new FeaturePool([localThread()]);
    return new FeaturePool(Array.from({ length: count }, () => workerThread(file)));
  }

  get size(): number {
    return this.#threads.length;
  }

  /** Blocks worth having under way. */
  get depth(): number {
    return DEPTH * this.#threads.length;
  }

  /** Begins to count terms in `memory` bytes for all threads together, with spill files in `directory`. */
  async beginCounting(options: FeaturizerOptions, memory: number, directory: string): Promise<void> {
    const task: Task = { kind: 'begin', options, memory: memory / this.#threads.length, spill: directory };
    await Promise.all(this.#threads.map((thread) => thread.run(task)));
  }

  /** Counts the terms of a block, which goes over to a thread; waits while all have enough to do. */
  async count(block: RowBlock): Promise<void> {
    const done = this.#least().run({ kind: 'count', block });
    // A failure is thrown where the promise is awaited, which may be blocks later.
    done.catch(() => {});
    this.#counting.push(done);
    if (this.#counting.length >= this.depth) await this.#counting.shift();
  }

  async counts(): Promise<FittedCounts> {
    await Promise.all(this.#counting);
    this.#counting = [];
    const all = (await Promise.all(
      this.#threads.map((thread) => thread.run({ kind: 'counts' })),
    )) as ThreadCounts[];
    const buckets = all[0].buckets === null ? null : new Uint32Array(all[0].buckets.length);
    for (const { buckets: part } of all)
      part?.forEach((df, b) => {
        if (buckets !== null) buckets[b] += df;
      });
    return {
      documents: all.reduce((sum, { documents }) => sum + documents, 0),
      words: all.reduce((sum, { words }) => sum + words, 0),
      runs: all.flatMap(({ runs }) => runs),
      buckets,
    };
  }

  async load(featurizer: Featurizer): Promise<void> {
    const shared = featurizer.share();
    await Promise.all(this.#threads.map((thread) => thread.run({ kind: 'load', featurizer: shared })));
  }

  /** Features of a block, which goes over to a thread; at most `depth` calls should be under way. */
  async featurize(block: RowBlock): Promise<FeatureBlock> {
    return (await this.#least().run({ kind: 'featurize', block })) as FeatureBlock;
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.close()));
  }

  #least(): Thread {
    return this.#threads.reduce((best, thread) => (thread.pending < best.pending ? thread : best));
  }
}

/** The compiled worker; from sources, as tests run, that of the last build. null: there is none. */
function workerFile(): string | null {
  const here = fileURLToPath(new URL('./worker.js', import.meta.url));
  for (const file of [here, here.replace(/([\\/])src([\\/])data/, '$1dist$2data')])
    if (existsSync(file)) return file;
  return null;
}

function localThread(): Thread {
  const work = new FeatureWork('main');
  return { pending: 0, run: async (task) => work.do(task), close: async () => {} };
}

function workerThread(file: string): Thread {
  const worker = new Worker(file);
  // Answers come in the order of tasks.
  const waiting: { resolve(result: Result): void; reject(error: unknown): void }[] = [];
  let failure: unknown;
  const fail = (cause: unknown) => {
    failure ??= new EspalierError({
      code: 'FEATURE_THREAD',
      kind: 'system',
      op: 'FeaturePool',
      problem: `a thread that featurizes stopped (${cause instanceof Error ? cause.message : String(cause)})`,
      hint: 'with --threads 1 the work is done without threads',
      cause,
    });
    for (const { reject } of waiting.splice(0)) reject(failure);
    thread.pending = 0;
  };
  worker.on('message', (result: Result) => {
    thread.pending--;
    waiting.shift()?.resolve(result);
  });
  worker.on('error', fail);
  worker.on('exit', (code) => fail(`exit code ${code}`));
  const thread: Thread = {
    pending: 0,
    run: (task) =>
      new Promise((resolve, reject) => {
        if (failure !== undefined) {
          reject(failure);
          return;
        }
        thread.pending++;
        waiting.push({ resolve, reject });
        const block = 'block' in task ? task.block : null;
        const moved = block === null ? [] : [block.bytes.buffer, block.offsets.buffer, block.numbers.buffer];
        worker.postMessage(task, moved as ArrayBuffer[]);
      }),
    async close() {
      failure ??= 'closed';
      await worker.terminate();
    },
  };
  return thread;
}
