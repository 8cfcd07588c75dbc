/**
 * Event files of TensorBoard: records `length (8 bytes), masked CRC of it, data, masked CRC of the data` (TFRecord), each
 * an `Event` message. A record goes out in one write, so a killed process leaves whole records behind.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { ensure } from '../../errors.js';
import { fileError } from '../../files.js';
import { maskedCrc32c } from './crc32c.js';
import { Message } from './wire.js';

/** Equal bins of [from, to] with the share of values in each. */
export interface EventHistogram {
  readonly from: number;
  readonly to: number;
  readonly shares: readonly number[];
  /** How many values the shares are of. */
  readonly count: number;
}

export interface EventValues {
  /** By tag, e.g. `train/loss`; what is not finite is kept. */
  readonly scalars?: Readonly<Record<string, number>>;
  readonly histograms?: Readonly<Record<string, EventHistogram>>;
}

const op = 'EventFile';

/**
 * Writes one event file; TensorBoard reads it while it grows.
 *
 * @throws EspalierError `FILE_*` of kind system
 * @example
 * const events = EventFile.create('runs/a/tensorboard', { step: 0 });
 * events.write(1, { scalars: { 'train/loss': 0.7 } });
 */
export class EventFile {
  readonly path: string;
  readonly #fd: number;
  readonly #now: () => number;

  private constructor(path: string, fd: number, now: () => number) {
    this.path = path;
    this.#fd = fd;
    this.#now = now;
  }

  /**
   * A new file in `directory`, which may hold those of earlier processes; what they wrote after `step` is void
   * (TensorBoard drops it). `now` is the clock in milliseconds.
   */
  static create(
    directory: string,
    { step, now = Date.now }: { readonly step: number; readonly now?: () => number },
  ): EventFile {
    const seconds = String(Math.floor(now() / 1000)).padStart(10, '0');
    const host = hostname().replace(/[^A-Za-z0-9.-]/g, '_') || 'localhost';
    for (let attempt = 0; ; attempt++) {
      const path = join(directory, `events.out.tfevents.${seconds}.${host}.${process.pid}.${attempt}`);
      try {
        mkdirSync(dirname(path), { recursive: true });
        const file = new EventFile(path, openSync(path, 'wx'), now);
        file.#record(file.#event(0).text(3, 'brain.Event:2'));
        // SessionLog { status: START }
        file.#record(file.#event(step).message(7, new Message().varint(1, 1)));
        return file;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 99)
          throw asFileError(path, error);
      }
    }
  }

  /** Appends the values of one step. */
  write(step: number, { scalars = {}, histograms = {} }: EventValues): void {
    ensure(Number.isSafeInteger(step) && step >= 0, () => ({
      code: 'EVENT_STEP',
      kind: 'usage',
      op,
      problem: 'the step is not a whole number',
      expected: '0 or more',
      received: String(step),
    }));
    const summary = new Message();
    for (const [tag, value] of Object.entries(scalars)) {
      summary.message(1, new Message().text(1, tag).float(2, value));
    }
    for (const [tag, histogram] of Object.entries(histograms)) {
      summary.message(1, new Message().text(1, tag).message(5, histogramMessage(histogram)));
    }
    this.#record(this.#event(step).message(5, summary));
  }

  sync(): void {
    try {
      fsyncSync(this.#fd);
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #event(step: number): Message {
    return new Message().double(1, this.#now() / 1000).varint(2, step);
  }

  #record(event: Message): void {
    const record = frame(event.bytes());
    try {
      for (let at = 0; at < record.length; ) at += writeSync(this.#fd, record, at);
    } catch (error) {
      throw asFileError(this.path, error);
    }
  }
}

/** One TFRecord. */
export function frame(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(16 + data.length);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return record;
}

/** HistogramProto; its sums are those of values at the middle of their bins. */
function histogramMessage({ from, to, shares, count }: EventHistogram): Message {
  const width = (to - from) / Math.max(1, shares.length);
  const counts = shares.map((share) => share * count);
  const middle = (i: number) => from + (i + 0.5) * width;
  const sum = counts.reduce((total, n, i) => total + n * middle(i), 0);
  const squares = counts.reduce((total, n, i) => total + n * middle(i) ** 2, 0);
  return new Message()
    .double(1, from)
    .double(2, to)
    .double(3, count)
    .double(4, sum)
    .double(5, squares)
    .doubles(
      6,
      counts.map((_, i) => from + (i + 1) * width),
    )
    .doubles(7, counts);
}

const asFileError = (path: string, error: unknown): unknown =>
  error instanceof Error && 'syscall' in error ? fileError(op, path, error) : error;
