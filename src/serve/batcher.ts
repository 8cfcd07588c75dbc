/**
 * Micro-batching: jobs wait in one queue, and whoever is free takes as many as fit one batch. Nothing waits for
 * company: while the lanes are busy, batches grow by themselves. Three things bound the time of a job: the length of
 * the queue, the deadline, and the caller who has gone.
 */
import { Refusal } from './problems.js';

/** One request: `rows` inputs that are answered together. */
export interface Job {
  readonly rows: number;
}

/** Where batches are worked on, one at a time. */
export interface Lane<J extends Job, A> {
  /** One answer per job, in order; an `Error` refuses that job alone. A rejection refuses them all. */
  run(jobs: readonly J[]): Promise<readonly (A | Error)[]>;
}

export interface BatcherOptions {
  readonly batchRows: number;
  readonly queueRows: number;
  readonly timeoutMs: number;
  /** Milliseconds, for tests; default `performance.now`. */
  readonly now?: () => number;
  /** Told of every batch: rows, the longest wait in it, and the time of the work, in seconds. */
  readonly onBatch?: (rows: number, waited: number, worked: number) => void;
}

interface Waiting<J, A> {
  readonly job: J;
  readonly since: number;
  readonly resolve: (answer: A) => void;
  readonly reject: (error: Error) => void;
  done: boolean;
}

export class Batcher<J extends Job, A> {
  readonly #options: BatcherOptions;
  readonly #now: () => number;
  readonly #idle = new Set<Lane<J, A>>();
  readonly #busy = new Map<Lane<J, A>, Promise<void>>();
  readonly #leaving = new Set<Lane<J, A>>();
  #queue: Waiting<J, A>[] = [];
  #head = 0;
  #queuedRows = 0;
  #rowsInWork = 0;
  /** Rows answered per millisecond, smoothed. */
  #rate = 1;
  #pumping = false;

  constructor(options: BatcherOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get queuedRows(): number {
    return this.#queuedRows;
  }

  get lanes(): number {
    return this.#idle.size + this.#busy.size;
  }

  /** Rows that are waiting or being worked on. */
  get pendingRows(): number {
    return this.#queuedRows + this.#rowsInWork;
  }

  /** Seconds until the queue of now is worked off, as far as one can tell. */
  get backlogSeconds(): number {
    return this.pendingRows / this.#rate / 1000;
  }

  /** Whether a job of so many rows would be taken now. An empty queue takes any. */
  accepts(rows: number): boolean {
    return this.#queuedRows === 0 || this.#queuedRows + rows <= this.#options.queueRows;
  }

  overloaded(): Refusal {
    return new Refusal(503, 'OVERLOADED', 'the server has as much work as it can finish in time', {
      retryAfter: this.backlogSeconds,
      hint: 'try again after the time of Retry-After',
    });
  }

  /** Queues a job; refused at once when the queue is full, later when the deadline passes first. */
  submit(job: J, signal?: AbortSignal): Promise<A> {
    if (!this.accepts(job.rows)) return Promise.reject(this.overloaded());
    return new Promise<A>((resolve, reject) => {
      const timer = setTimeout(() => this.#give(waiting, this.#late()), this.#options.timeoutMs);
      const gone = () => this.#give(waiting, new Refusal(499, 'CLIENT_GONE', 'the client has gone'));
      const end = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', gone);
      };
      const waiting: Waiting<J, A> = {
        job,
        since: this.#now(),
        resolve: (answer) => {
          end();
          resolve(answer);
        },
        reject: (error) => {
          end();
          reject(error);
        },
        done: false,
      };
      if (signal?.aborted) {
        end();
        reject(new Refusal(499, 'CLIENT_GONE', 'the client has gone'));
        return;
      }
      signal?.addEventListener('abort', gone, { once: true });
      this.#queue.push(waiting);
      this.#queuedRows += job.rows;
      this.#soon();
    });
  }

  attach(lane: Lane<J, A>): void {
    this.#idle.add(lane);
    this.#soon();
  }

  /** Takes a lane out; resolves when its last batch is answered. */
  async detach(lane: Lane<J, A>): Promise<void> {
    this.#idle.delete(lane);
    const work = this.#busy.get(lane);
    if (work === undefined) return;
    this.#leaving.add(lane);
    await work;
  }

  #late(): Refusal {
    return new Refusal(503, 'DEADLINE', `no answer within ${this.#options.timeoutMs} ms`, {
      retryAfter: this.backlogSeconds,
      hint: 'the server is overloaded, or the request asks for too much at once',
    });
  }

  #give(waiting: Waiting<J, A>, answer: A | Error): void {
    if (waiting.done) return;
    waiting.done = true;
    if (answer instanceof Error) waiting.reject(answer);
    else waiting.resolve(answer);
  }

  /** Requests that the event loop reads in one turn go into one batch. */
  #soon(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    for (const lane of this.#idle) {
      const batch = this.#take();
      if (batch.length === 0) return;
      this.#idle.delete(lane);
      this.#busy.set(lane, this.#work(lane, batch));
    }
  }

  #take(): Waiting<J, A>[] {
    const batch: Waiting<J, A>[] = [];
    let rows = 0;
    while (this.#head < this.#queue.length) {
      const next = this.#queue[this.#head];
      if (!next.done && batch.length > 0 && rows + next.job.rows > this.#options.batchRows) break;
      this.#head++;
      this.#queuedRows -= next.job.rows;
      if (next.done) continue;
      batch.push(next);
      rows += next.job.rows;
    }
    if (this.#head > 256 && 2 * this.#head > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return batch;
  }

  async #work(lane: Lane<J, A>, batch: readonly Waiting<J, A>[]): Promise<void> {
    const start = this.#now();
    const rows = batch.reduce((sum, { job }) => sum + job.rows, 0);
    this.#rowsInWork += rows;
    try {
      const answers = await lane.run(batch.map(({ job }) => job));
      for (const [i, waiting] of batch.entries()) this.#give(waiting, answers[i]);
    } catch (error) {
      for (const waiting of batch) this.#give(waiting, error as Error);
    }
    this.#rowsInWork -= rows;
    const worked = this.#now() - start;
    const lanes = Math.max(1, this.lanes);
    this.#rate += 0.2 * ((lanes * rows) / Math.max(0.01, worked) - this.#rate);
    this.#options.onBatch?.(rows, (start - batch[0].since) / 1000, worked / 1000);
    this.#busy.delete(lane);
    if (this.#leaving.delete(lane)) return;
    this.#idle.add(lane);
    this.#pump();
  }
}
