/**
 * The log of a run: JSON Lines, one record `{t, event, step, ...}` per line, only ever appended to. It is the one
 * source of every chart. Numbers that JSON lacks are kept as json.ts describes.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { EspalierError, ensure } from '../errors.js';
import { fileError } from '../files.js';
import { damaged, decodeJson, encodeJson } from './json.js';
import { readLines } from './json-lines.js';

export interface LogRecord {
  /** Milliseconds since 1970, UTC. */
  readonly t: number;
  readonly event: string;
  readonly step: number;
  readonly [key: string]: unknown;
}

/** A record as the writer takes it: `t` is added. */
export interface LogEntry {
  readonly event: string;
  readonly step: number;
  readonly [key: string]: unknown;
}

/**
 * Appends to a run log. Every record is in the hands of the operating system when `write` returns, so a killed
 * process loses none; `sync` carries them to the disk.
 *
 * To resume: `sync()`, store `position()` in the checkpoint, and later `truncateTo` that position.
 *
 * @example
 * const log = RunLog.open('runs/a/log.jsonl');
 * log.write({ event: 'step', step: 1, loss: 0.7 });
 */
export class RunLog {
  readonly path: string;
  readonly #fd: number;
  readonly #now: () => number;
  #position: number;

  private constructor(path: string, fd: number, position: number, now: () => number) {
    this.path = path;
    this.#fd = fd;
    this.#position = position;
    this.#now = now;
  }

  /** Opens or begins a log; a last line that was cut off by a crash is removed. `now` is the clock. */
  static open(path: string, options: { readonly now?: () => number } = {}): RunLog {
    return inFile('RunLog.open', path, () => {
      mkdirSync(dirname(path), { recursive: true });
      const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o666);
      try {
        const size = fstatSync(fd).size;
        const position = endOfLastLine(fd, size);
        if (position < size) ftruncateSync(fd, position);
        return new RunLog(path, fd, position, options.now ?? Date.now);
      } catch (error) {
        closeSync(fd);
        throw error;
      }
    });
  }

  /** Appends one record. Nothing of it stays in the file when the disk refuses. */
  write(entry: LogEntry): void {
    const { event, step, ...rest } = entry;
    const op = 'RunLog.write';
    ensure(typeof event === 'string' && Number.isSafeInteger(step), () => ({
      code: 'LOG_RECORD',
      kind: 'usage',
      op,
      problem: 'a record needs an event and a step',
      expected: '{ event: text, step: whole number, ... }',
      received: `event ${String(event)}, step ${String(step)}`,
    }));
    const line = Buffer.from(`${encodeJson(op, { t: this.#now(), event, step, ...rest })}\n`, 'utf8');
    inFile(op, this.path, () => {
      try {
        for (let done = 0; done < line.length; ) {
          done += writeSync(this.#fd, line, done, line.length - done, this.#position + done);
        }
      } catch (error) {
        ftruncateSync(this.#fd, this.#position);
        throw error;
      }
    });
    this.#position += line.length;
  }

  /** Bytes written so far: where the next record begins. */
  position(): number {
    return this.#position;
  }

  /** Carries what was written to the disk; call it before `position()` goes into a checkpoint. */
  sync(): void {
    inFile('RunLog.sync', this.path, () => fsyncSync(this.#fd));
  }

  /** Drops the records after `position`, which an earlier `position()` gave. */
  truncateTo(position: number): void {
    const op = 'RunLog.truncateTo';
    inFile(op, this.path, () => {
      const boundary =
        Number.isSafeInteger(position) &&
        position >= 0 &&
        position <= this.#position &&
        (position === 0 || byteAt(this.#fd, position - 1) === newline);
      if (!boundary) {
        throw new EspalierError({
          code: 'LOG_POSITION',
          kind: 'data',
          op,
          problem: 'the log does not reach to that position or has no line end there',
          expected: `the end of a record, at most ${this.#position}`,
          received: String(position),
          hint: 'the log was changed since the checkpoint: restore it, or begin a new run directory',
          file: this.path,
        });
      }
      ftruncateSync(this.#fd, position);
    });
    this.#position = position;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const newline = 10;

function byteAt(fd: number, position: number): number {
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, position);
  return byte[0];
}

function endOfLastLine(fd: number, size: number): number {
  const block = Buffer.alloc(Math.min(size, 1 << 16));
  for (let end = size; end > 0; ) {
    const begin = Math.max(0, end - block.length);
    readSync(fd, block, 0, end - begin, begin);
    const at = block.subarray(0, end - begin).lastIndexOf(newline);
    if (at >= 0) return begin + at + 1;
    end = begin;
  }
  return 0;
}

function inFile<T>(op: string, path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof EspalierError || !(error instanceof Error && 'syscall' in error)) throw error;
    throw fileError(op, path, error);
  }
}

/**
 * Streams the records of a run log. A last line that is not finished, as a crash or a running writer leaves it, is
 * passed over; any other line that is no record is an error with its number.
 *
 * @throws EspalierError `JSON_DAMAGED` with file and line
 */
export async function* readRunLog(path: string): AsyncGenerator<LogRecord> {
  const op = 'readRunLog';
  for await (const { text, line, ended } of readLines(op, path)) {
    if (!ended) return;
    const record = decodeJson(op, text, path, line);
    const { t, event, step } = record;
    if (!(typeof t === 'number' && typeof event === 'string' && typeof step === 'number')) {
      throw damaged(op, path, line, 'this is not a record of a run log', text.slice(0, 80));
    }
    yield record as LogRecord;
  }
}
