/** A worker thread as the main thread sees it: one batch at a time, and an end that is always noticed. */
import { Worker } from 'node:worker_threads';
import { type ErrorFacts, EspalierError } from '../errors.js';
import type { LabelFacts } from '../model/explain.js';
import type { SharedModel } from '../model/shared-model.js';
import type { Lane } from './batcher.js';
import type { FromWorker, JobAnswer, PredictJob, ToWorker } from './messages.js';
import { refusalOf } from './problems.js';

/** Where the compiled worker lies: a thread cannot run TypeScript. */
export const workerFile = new URL('./worker.js', import.meta.url);

/** A model that a lane answers with: what it takes to word the answer. */
export interface Answered<M> {
  readonly answer: JobAnswer;
  readonly by: M;
}

interface Asked {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

/** To the client, this is 503: nothing is wrong with the request. */
export function workerLost(problem: string, cause: Error | null = null): EspalierError {
  return new EspalierError({ code: 'WORKER_LOST', kind: 'system', op: 'serve', problem, cause });
}

/** One thread: requests by number, and what becomes of them when the thread ends. */
class Thread {
  readonly #worker: Worker;
  readonly #asked = new Map<number, Asked>();
  #next = 1;
  #closing = false;
  #ended = false;
  /** Resolves when the thread has ended, with what ended it unless `close` did. */
  readonly ended: Promise<Error | null>;

  constructor(file: URL) {
    this.#worker = new Worker(file, { execArgv: [] });
    let fault: Error | null = null;
    this.#worker.on('message', (message: FromWorker) => this.#told(message));
    this.#worker.on('error', (error) => {
      fault = error;
    });
    this.ended = new Promise((resolve) => {
      this.#worker.on('exit', (code) => {
        this.#ended = true;
        const how = this.#closing ? 'was stopped' : `ended by itself (exit code ${code})`;
        const why = workerLost(`a worker thread ${how}`, fault);
        for (const { reject } of this.#asked.values()) reject(why);
        this.#asked.clear();
        resolve(this.#closing ? null : (fault ?? why));
      });
    });
  }

  /** Request 0 is the one for which there is no number: checking, loading and adopting. */
  ask<T>(message: ToWorker, id = 0): Promise<T> {
    if (this.#ended) return Promise.reject(workerLost('a worker thread has ended'));
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#worker.postMessage(message);
    });
  }

  number(): number {
    return this.#next++;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#worker.terminate();
  }

  async kill(): Promise<void> {
    await this.#worker.terminate();
  }

  #told(message: FromWorker): void {
    const id = 'id' in message ? message.id : 0;
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    if (asked === undefined) return;
    if (message.type === 'failed' || message.type === 'refused')
      asked.reject(new EspalierError(message.facts));
    else if (message.type === 'answer') asked.resolve(message.answers as never);
    else asked.resolve(message as never);
  }
}

/** Loads a model in a thread of its own, so that nobody waits for it; throws what `shareModel` throws. */
export async function loadInThread(path: string, file: URL): Promise<SharedModel> {
  const thread = new Thread(file);
  try {
    const { model } = await thread.ask<{ model: SharedModel }>({ type: 'load', path });
    return model;
  } finally {
    await thread.close();
  }
}

export class WorkerLane<M> implements Lane<PredictJob, Answered<M>> {
  readonly #thread: Thread;
  readonly #by: M;

  /** `by` goes out with every answer. */
  constructor(by: M, file: URL) {
    this.#thread = new Thread(file);
    this.#by = by;
  }

  get ended(): Promise<Error | null> {
    return this.#thread.ended;
  }

  /** Throws what `checkModel` throws. */
  async check(path: string): Promise<void> {
    await this.#thread.ask({ type: 'check', path });
  }

  adopt(model: SharedModel, threads: number): Promise<{ readonly kernels: string }> {
    return this.#thread.ask({ type: 'adopt', model, threads });
  }

  async run(jobs: readonly PredictJob[]): Promise<(Answered<M> | Error)[]> {
    const id = this.#thread.number();
    const answers = await this.#thread.ask<readonly (JobAnswer | ErrorFacts)[]>(
      { type: 'batch', id, jobs },
      id,
    );
    return answers.map((answer) =>
      'labels' in answer ? { answer, by: this.#by } : refusalOf(answer as ErrorFacts),
    );
  }

  describeLabel(label: number, top: number): Promise<LabelFacts> {
    const id = this.#thread.number();
    return this.#thread.ask({ type: 'label', id, label, top }, id);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }

  /** Ends the thread as a fault would: its end comes as a surprise. */
  kill(): Promise<void> {
    return this.#thread.kill();
  }
}
