/**
 * Follows a run log while it grows: whole lines only, in bounded memory. A log that was cut (a resumed run), replaced or
 * removed is noticed, and read again from its start.
 */
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

export interface TailHandlers {
  /** A line without its end. Void after the call. */
  line(bytes: Buffer): void;
  /** A line longer than is sane was passed over. */
  tooLong(): void;
  /** What was told before is void. */
  reset(): void;
}

const blockBytes = 1 << 20;
const longestLine = 1 << 20;
const guardBytes = 64;

export class LogTail {
  readonly path: string;
  readonly #handlers: TailHandlers;
  #file = '';
  #size = 0;
  /** Bytes taken in, the unfinished line at the end included. */
  #position = 0;
  #rest = Buffer.alloc(0);
  #skipping = false;
  /** Digest of the last bytes before the position: a file that was rewritten in place differs there. */
  #guard = '';

  constructor(path: string, handlers: TailHandlers) {
    this.path = path;
    this.#handlers = handlers;
  }

  get position(): number {
    return this.#position;
  }

  /** Bytes of the file when it was last looked at; 0 where there is none. */
  get size(): number {
    return this.#size;
  }

  /** Takes in at most about `budget` bytes; returns whether anything came. A log that is not there is empty. */
  async read(budget: number): Promise<boolean> {
    let handle: FileHandle;
    try {
      handle = await open(this.path, 'r');
    } catch {
      this.#size = 0;
      if (this.#position === 0) return false;
      this.#restart('');
      return true;
    }
    try {
      const { dev, ino, size } = await handle.stat();
      const file = `${dev}:${ino}`;
      this.#size = size;
      let changed = false;
      if (
        this.#file !== '' &&
        (this.#file !== file || size < this.#position || !(await this.#guarded(handle, size)))
      ) {
        this.#restart(file);
        changed = true;
      }
      this.#file = file;
      if (size === this.#position) return changed;
      const block = Buffer.allocUnsafe(Math.min(blockBytes, size - this.#position));
      for (let taken = 0; taken < budget && this.#position < size; ) {
        const { bytesRead } = await handle.read(
          block,
          0,
          Math.min(block.length, size - this.#position),
          this.#position,
        );
        if (bytesRead === 0) break;
        this.#position += bytesRead;
        taken += bytesRead;
        this.#take(block.subarray(0, bytesRead));
      }
      this.#guard = await this.#digest(handle);
      return true;
    } finally {
      await handle.close();
    }
  }

  /** Bytes before the position are only compared where something may have changed. */
  async #guarded(handle: FileHandle, size: number): Promise<boolean> {
    if (this.#position === 0 || size === this.#position) return true;
    return (await this.#digest(handle)) === this.#guard;
  }

  async #digest(handle: FileHandle): Promise<string> {
    const length = Math.min(guardBytes, this.#position);
    const bytes = Buffer.alloc(length);
    await handle.read(bytes, 0, length, this.#position - length);
    return createHash('sha1').update(bytes).digest('hex');
  }

  #restart(file: string): void {
    this.#file = file;
    this.#position = 0;
    this.#rest = Buffer.alloc(0);
    this.#skipping = false;
    this.#handlers.reset();
  }

  #take(block: Buffer): void {
    let from = 0;
    for (let to = block.indexOf(10); to >= 0; to = block.indexOf(10, from)) {
      const part = block.subarray(from, to);
      from = to + 1;
      if (this.#skipping) {
        this.#skipping = false;
        continue;
      }
      if (this.#rest.length === 0) this.#handlers.line(part);
      else {
        this.#handlers.line(Buffer.concat([this.#rest, part]));
        this.#rest = Buffer.alloc(0);
      }
    }
    if (this.#skipping || from === block.length) return;
    this.#rest = Buffer.concat([this.#rest, block.subarray(from)]);
    if (this.#rest.length <= longestLine) return;
    this.#rest = Buffer.alloc(0);
    this.#skipping = true;
    this.#handlers.tooLong();
  }
}
