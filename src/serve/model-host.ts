/**
 * The model that is served, and its successor. A model is loaded by a thread of its own and answered with by workers
 * of its own: when the pointer moves, the new ones are made ready while the old ones answer; then they change places
 * between two batches. A new model that is broken changes nothing but the report.
 */
import { basename } from 'node:path';
import { EspalierError } from '../errors.js';
import type { LabelFacts } from '../model/explain.js';
import { LabelTable } from '../model/label-table.js';
import type { SharedModel } from '../model/shared-model.js';
import { both } from '../promises.js';
import { resolveModel } from '../store/index.js';
import { Batcher, type BatcherOptions } from './batcher.js';
import type { PredictJob } from './messages.js';
import { type Answered, loadInThread, WorkerLane, workerLost } from './worker-lane.js';

/** A model in service: everything that answers need of it. */
export interface Generation {
  readonly model: SharedModel;
  readonly labels: LabelTable;
  readonly kernels: string;
  readonly loadedAt: Date;
  readonly lanes: Set<WorkerLane<Generation>>;
}

export interface ReloadReport {
  readonly ok: boolean;
  readonly at: string;
  readonly model: string | null;
  readonly code: string | null;
  readonly problem: string | null;
}

export interface HostLog {
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

export interface HostOptions {
  /** A run directory, its pointer, or a model directory. */
  readonly path: string;
  readonly workers: number;
  /** Of the kernels, per worker. */
  readonly threads: number;
  /** How often to look whether the pointer has moved. */
  readonly pollMs: number;
  /** Compare checksums of the first model too; those of later ones always are. */
  readonly verify: boolean;
  readonly workerFile: URL;
  readonly batching: BatcherOptions;
  readonly log: HostLog;
}

// A broken model stays broken, but what broke it (a full disk, a permission) may pass.
const retryBrokenMs = 30_000;

export class ModelHost {
  readonly batcher: Batcher<PredictJob, Answered<Generation>>;
  readonly #options: HostOptions;
  #current!: Generation;
  #lastReload: ReloadReport | null = null;
  readonly reloads = { ok: 0, failed: 0 };
  #workerDeaths = 0;
  #broken = { directory: '', until: 0 };
  #poll: NodeJS.Timeout | undefined;
  #changing: Promise<void> = Promise.resolve();
  #closed = false;
  /** Workers that could not adopt the model: stopped, and still to be replaced. */
  readonly #retired = new WeakSet<WorkerLane<Generation>>();

  private constructor(options: HostOptions) {
    this.#options = options;
    this.batcher = new Batcher(options.batching);
  }

  /** Loads the model and starts its workers; throws what loading throws. */
  static async start(options: HostOptions): Promise<ModelHost> {
    const host = new ModelHost(options);
    const { path, verify, pollMs } = options;
    host.#current = await host.#generation(await resolveModel(path), verify);
    for (const lane of host.#current.lanes) host.batcher.attach(lane);
    host.#poll = setInterval(() => void host.reload(), pollMs);
    host.#poll.unref();
    return host;
  }

  get current(): Generation {
    return this.#current;
  }

  get lastReload(): ReloadReport | null {
    return this.#lastReload;
  }

  /** Workers that ended by themselves and were replaced. */
  get workerDeaths(): number {
    return this.#workerDeaths;
  }

  /** Takes over the model that the pointer names, if it is another one; never rejects. `force` retries a broken one now. */
  reload(force = false): Promise<void> {
    this.#changing = this.#changing.then(() => this.#reload(force));
    return this.#changing;
  }

  describeLabel(generation: Generation, label: number, top: number): Promise<LabelFacts> {
    const [lane] = generation.lanes;
    if (lane === undefined) return Promise.reject(workerLost('no worker is there'));
    return lane.describeLabel(label, top);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#poll);
    await this.#changing;
    await Promise.all([...this.#current.lanes].map((lane) => lane.close()));
  }

  async #reload(force: boolean): Promise<void> {
    if (this.#closed) return;
    const { path, log } = this.#options;
    let directory = '';
    try {
      directory = await resolveModel(path);
      if (directory === this.#current.model.directory) {
        // A pointer that went back to the model in service is no longer broken.
        if (this.#lastReload?.ok === false) this.#broken = { directory: '', until: 0 };
        return;
      }
      if (!force && this.#broken.directory === directory && Date.now() < this.#broken.until) return;
      const started = performance.now();
      const next = await this.#generation(directory, true);
      const old = this.#current;
      this.#current = next;
      for (const lane of next.lanes) this.batcher.attach(lane);
      await Promise.all(
        [...old.lanes].map(async (lane) => {
          old.lanes.delete(lane);
          await this.batcher.detach(lane);
          await lane.close();
        }),
      );
      this.reloads.ok++;
      this.#report(null, next.model.id);
      const seconds = (performance.now() - started) / 1000;
      log.info({ model: next.model.id, before: old.model.id, seconds }, 'model replaced');
    } catch (error) {
      this.reloads.failed++;
      this.#broken = { directory, until: Date.now() + retryBrokenMs };
      this.#report(error, directory === '' ? null : basename(directory));
      const serving = this.#current.model.id;
      log.error({ err: error, serving }, 'the new model cannot be loaded: the old one goes on serving');
    }
  }

  #report(error: unknown, model: string | null): void {
    const at = new Date().toISOString();
    if (error === null) {
      this.#lastReload = { ok: true, at, model, code: null, problem: null };
      return;
    }
    const facts = error instanceof EspalierError ? error.facts : undefined;
    const problem = facts?.problem ?? 'unexpected: see the log';
    this.#lastReload = { ok: false, at, model, code: facts?.code ?? 'INTERNAL', problem };
  }

  /** Loads the model of an immutable directory and makes its workers ready, beside whatever is in service. */
  async #generation(directory: string, checksums: boolean): Promise<Generation> {
    const { workers, workerFile } = this.#options;
    const lanes = new Set<WorkerLane<Generation>>();
    const generation = { lanes } as { -readonly [K in keyof Generation]: Generation[K] };
    try {
      // Threads start while the model is being read, and one of them checks what another loads.
      for (let i = 0; i < workers; i++) lanes.add(new WorkerLane(generation, workerFile));
      const [first] = lanes;
      const checked = checksums ? first.check(directory) : Promise.resolve();
      [, generation.model] = await both(checked, loadInThread(directory, workerFile));
      generation.labels = new LabelTable(generation.model.labels);
      const ready = await Promise.all(
        [...lanes].map((lane) => lane.adopt(generation.model, this.#options.threads)),
      );
      generation.kernels = ready[0].kernels;
      generation.loadedAt = new Date();
      for (const lane of lanes) void this.#watch(generation, lane);
      return generation;
    } catch (error) {
      await Promise.all([...lanes].map((lane) => lane.close()));
      throw error;
    }
  }

  /** Replaces a worker that ends by itself, later each time. */
  async #watch(generation: Generation, first: WorkerLane<Generation>): Promise<void> {
    let lane = first;
    for (let deaths = 0; ; deaths++) {
      const why = await lane.ended;
      const stopped = why === null && !this.#retired.has(lane);
      if (stopped || this.#closed || !generation.lanes.delete(lane)) return;
      await this.batcher.detach(lane);
      this.#workerDeaths++;
      const wait = Math.min(5_000, 50 * 2 ** deaths);
      this.#options.log.error({ err: why, wait }, 'a worker ended by itself and is replaced');
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (this.#closed || this.#current !== generation) return;
      lane = new WorkerLane(generation, this.#options.workerFile);
      generation.lanes.add(lane);
      try {
        await lane.adopt(generation.model, this.#options.threads);
        if (generation.lanes.has(lane)) this.batcher.attach(lane);
      } catch {
        this.#retired.add(lane);
        await lane.close();
      }
    }
  }
}
