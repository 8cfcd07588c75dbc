/**
 * Pages of a Parquet file are decoded in a thread of their own, which is ended where it takes too long or too much: their
 * runs and bit widths are numbers that the decoder believes, and a damaged one keeps it counting without an end.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type DecodeTask, decodeRows } from './parquet-decode.js';

/** Of few bytes and of many: what the thread may hold. */
const HEAP_MIB = { small: 64, large: 2048 } as const;
type Size = keyof typeof HEAP_MIB;
const SMALL = 2 ** 20;
/** Ticks of a tenth of a second: a process that is stopped for a while loses none. */
const TICK_MS = 100;
const START_TICKS = 300;
const TICKS = 8;
const TICKS_PER_MIB = 20;
/** For 2^17 values: a long run of one value unpacks to many out of no bytes. */
const TICKS_PER_VALUES = 2;
/** Bytes that a file's own account is believed for, for each one that is there. */
const BELIEVED = 8;
/** How long a thread waits for the next file before it ends. */
const IDLE_MS = 5_000;

interface Answer {
  readonly ready?: true;
  readonly rows?: unknown[][];
  readonly fault?: string;
}

class DecodingThread {
  readonly #worker: Worker;
  /** Gone: it takes no more. */
  ended = false;
  #settle: ((answer: Answer) => void) | null = null;

  constructor(file: string, size: Size) {
    this.#worker = new Worker(file, {
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB[size], maxYoungGenerationSizeMb: 16 },
      execArgv: [],
    });
    const gone = (fault: string) => {
      this.ended = true;
      this.#answer({ fault });
    };
    this.#worker.on('message', (answer: Answer) => this.#answer(answer));
    this.#worker.on('error', (error: NodeJS.ErrnoException) =>
      gone(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? 'its pages unpack to too much' : error.message),
    );
    this.#worker.on('exit', () => gone('its decoder ended'));
  }

  #answer(answer: Answer): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(answer);
  }

  /** The next answer, or an end after so many ticks. */
  async #next(ticks: number): Promise<Answer> {
    if (this.ended) return { fault: 'its decoder ended' };
    this.#worker.ref();
    let left = ticks;
    const timer = setInterval(() => {
      if (--left > 0) return;
      this.#answer({ fault: 'its pages cannot be decoded in a reasonable time' });
      this.end();
    }, TICK_MS);
    try {
      return await new Promise<Answer>((resolve) => {
        this.#settle = resolve;
      });
    } finally {
      clearInterval(timer);
      // A process that has nothing else to do may end.
      this.#worker.unref();
    }
  }

  end(): void {
    this.ended = true;
    void this.#worker.terminate();
  }

  started(): Promise<Answer> {
    return this.#next(START_TICKS);
  }

  async run(task: DecodeTask, ticks: number): Promise<Answer> {
    if (!this.ended) this.#worker.postMessage(task);
    return this.#next(ticks);
  }
}

/** One of each size may wait for work: starting one takes longer than decoding a small file. */
const idle = new Map<Size, DecodingThread>();

function take(size: Size): DecodingThread | undefined {
  const thread = idle.get(size);
  idle.delete(size);
  return thread?.ended ? undefined : thread;
}

function giveBack(size: Size, thread: DecodingThread): void {
  if (thread.ended) return;
  if (idle.has(size)) {
    thread.end();
    return;
  }
  idle.set(size, thread);
  setTimeout(() => {
    if (idle.get(size) !== thread) return;
    idle.delete(size);
    thread.end();
  }, IDLE_MS).unref();
}

/** What decoding some rows of a row group may take. */
export interface DecodeLimits {
  /** Bytes that the rows unpack to, by the file's own account, with what values take beside them. */
  readonly bytes: number;
  /** Bytes of the columns of the whole group, which is read from its beginning: as they are, and by the file's account. */
  readonly packed: number;
  readonly unpacked: number;
  readonly values: number;
}

/** What `decodeRows` returns, or an error where that would not come to an end. */
export async function decodeApart(task: DecodeTask, limits: DecodeLimits): Promise<unknown[][]> {
  const file = workerFile();
  if (file === null) return decodeRows(task);
  const size = limits.bytes < SMALL ? 'small' : 'large';
  let thread = take(size);
  if (thread === undefined) {
    thread = new DecodingThread(file, size);
    const { fault } = await thread.started();
    if (fault !== undefined) throw new Error(fault);
  }
  const { rows, fault } = await thread.run(task, patience(limits));
  giveBack(size, thread);
  if (rows === undefined) throw new Error(fault);
  return rows;
}

/** Ticks that decoding may take: a small file with great claims gets few. */
export function patience({ packed, unpacked, values }: DecodeLimits): number {
  const bytes = Math.min(unpacked, BELIEVED * packed);
  return TICKS + Math.ceil((TICKS_PER_MIB * bytes) / 2 ** 20 + (TICKS_PER_VALUES * values) / 2 ** 17);
}

/** The compiled worker; from sources, as tests run, that of the last build. null: there is none. */
function workerFile(): string | null {
  const here = fileURLToPath(new URL('./parquet-worker.js', import.meta.url));
  for (const file of [here, here.replace(/([\\/])src([\\/])data/, '$1dist$2data')])
    if (existsSync(file)) return file;
  return null;
}
