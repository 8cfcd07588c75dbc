/**
 * Batches of images made ahead of time by a thread of its own: the same bits in the same order as without it. The
 * batches lie in shared memory, in a few slots that are filled in turn; whoever trains waits for the next one where it
 * is not ready, and that time is counted.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { EspalierError } from '../errors.js';
import type { Floats } from '../kernels/face.js';
import type { BatchPlanOptions } from './batches.js';
import type { Augmentation, PixelScale } from './image-batches.js';
import type { ImageDataset } from './images.js';

export interface PrefetchOptions {
  /** Its bytes should lie in shared memory, see `sharedImages`: the thread reads the same ones. */
  readonly dataset: ImageDataset;
  readonly order: BatchPlanOptions;
  readonly augment?: Augmentation;
  readonly seed: number;
  readonly scale: PixelScale;
  /** As `Kernels.name` says: the thread uses the same ones. */
  readonly kernels: string;
  /** [batch, C, H, W] of shared memory each: as many batches are made ahead. */
  readonly slots: readonly Floats[];
}

/** What a slot waits for. */
export const SLOT = { idle: 0, wanted: 1, ready: 2, failed: 3 } as const;

/** What the thread is given. */
export interface PrefetchJob extends PrefetchOptions {
  /** [slots]: one of SLOT each. */
  readonly states: Int32Array;
  /** [slots]: the step whose batch is wanted. */
  readonly steps: Int32Array;
  /** [slots][batch] */
  readonly labels: readonly Uint32Array[];
  /** UTF-8 of what went wrong; the first byte is its length. */
  readonly message: Uint8Array;
}

export interface ReadyBatch {
  readonly images: Floats;
  readonly labels: Uint32Array;
}

const shared = (bytes: number) => new SharedArrayBuffer(bytes);
/** A thread that answers nothing for so long is dead. */
const PATIENCE_MS = 300_000;

export class ImagePrefetcher {
  readonly #job: PrefetchJob;
  readonly #worker: Worker;
  /** The slot that is taken next. */
  #next = 0;
  #waitedMs = 0;

  /** null where there is no compiled thread to run, as in a checkout that was not built. */
  static open(options: PrefetchOptions): ImagePrefetcher | null {
    const file = workerFile();
    return file === null ? null : new ImagePrefetcher(options, file);
  }

  private constructor(options: PrefetchOptions, file: string) {
    const { slots, order } = options;
    this.#job = {
      ...options,
      states: new Int32Array(shared(4 * slots.length)),
      steps: new Int32Array(shared(4 * slots.length)).fill(-1),
      labels: slots.map(() => new Uint32Array(shared(4 * order.batch))),
      message: new Uint8Array(shared(256)),
    };
    this.#worker = new Worker(file, { workerData: this.#job });
    this.#worker.on('error', () => {});
    // A process that has nothing else to do may end.
    this.#worker.unref();
  }

  /** Milliseconds spent waiting for batches so far. */
  get waitedMs(): number {
    return this.#waitedMs;
  }

  /**
   * The batch of a step; it holds until `give`. Steps in a row are ready ahead of time, any other starts anew.
   * @throws EspalierError `PREFETCH_FAILED`
   */
  take(step: number): ReadyBatch {
    const { steps, slots, labels } = this.#job;
    if (steps[this.#next] !== step) this.#startAt(step);
    this.#await(this.#next);
    return { images: slots[this.#next], labels: labels[this.#next] };
  }

  /** The batch of the last `take` was read: its slot is for a later one. */
  give(): void {
    const { steps, slots } = this.#job;
    this.#want(this.#next, steps[this.#next] + slots.length);
    this.#next = (this.#next + 1) % slots.length;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  /** The thread goes through the slots in turn: what is under way is let go first, in its order. */
  #startAt(step: number): void {
    const { states, slots } = this.#job;
    for (let i = 0; i < slots.length; i++) {
      const slot = (this.#next + i) % slots.length;
      if (states[slot] !== SLOT.idle) this.#await(slot);
    }
    for (let i = 0; i < slots.length; i++) this.#want((this.#next + i) % slots.length, step + i);
  }

  #want(slot: number, step: number): void {
    const { states, steps } = this.#job;
    steps[slot] = step;
    Atomics.store(states, slot, SLOT.wanted);
    Atomics.notify(states, slot);
  }

  #await(slot: number): void {
    const { states, message } = this.#job;
    const since = performance.now();
    while (Atomics.load(states, slot) === SLOT.wanted) {
      if (performance.now() - since > PATIENCE_MS) throw failed('it has not answered for minutes');
      Atomics.wait(states, slot, SLOT.wanted, 1000);
    }
    this.#waitedMs += performance.now() - since;
    if (Atomics.load(states, slot) === SLOT.failed)
      throw failed(new TextDecoder().decode(message.slice(1, 1 + message[0])));
  }
}

/** The dataset with its bytes in shared memory, where they are not there yet. */
export function sharedImages(dataset: ImageDataset): ImageDataset {
  const inShared = (bytes: Uint8Array) => {
    if (bytes.buffer instanceof SharedArrayBuffer) return bytes;
    const copy = new Uint8Array(shared(bytes.length));
    copy.set(bytes);
    return copy;
  };
  return { ...dataset, pixels: inShared(dataset.pixels), labels: inShared(dataset.labels) };
}

/** The compiled worker; from sources, as tests run, that of the last build. */
function workerFile(): string | null {
  const here = fileURLToPath(new URL('./prefetch-worker.js', import.meta.url));
  for (const file of [here, here.replace(/([\\/])src([\\/])data/, '$1dist$2data')])
    if (existsSync(file)) return file;
  return null;
}

function failed(problem: string): EspalierError {
  return new EspalierError({
    code: 'PREFETCH_FAILED',
    kind: 'system',
    op: 'prefetch',
    problem: `the thread that makes batches ahead failed: ${problem}`,
    hint: 'train with prefetch: 0',
  });
}
