/**
 * Writes a dataset file row by row, in the memory of a few buffers: each section grows in a file of its own, and
 * they are joined at the end, when the counts are known. The file is that of `writeDatasetFile`, byte for byte.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { datasetHeader, SIGNED } from './dataset-file.js';

const BUFFER = 1 << 18;
const SECTIONS = ['sizes', 'indices', 'values', 'label-sizes', 'labels'] as const;

export class DatasetWriter {
  rows = 0;
  nnz = 0;
  positives = 0;
  readonly #path: string;
  readonly #sections: readonly SectionWriter[];

  private constructor(path: string, sections: readonly SectionWriter[]) {
    this.#path = path;
    this.#sections = sections;
  }

  static async open(path: string): Promise<DatasetWriter> {
    const sections: SectionWriter[] = [];
    for (const name of SECTIONS) sections.push(await SectionWriter.open(`${path}.${name}`));
    return new DatasetWriter(path, sections);
  }

  /** Adds a row in canonical form: `indices[begin, end)` and labels ascending. Call `drain` from time to time. */
  row(
    indices: Uint32Array,
    values: Float32Array,
    begin: number,
    end: number,
    labels: readonly number[],
  ): void {
    const [sizes, ids, weights, labelSizes, labelIds] = this.#sections;
    sizes.words(Uint32Array.of(end - begin));
    ids.words(indices.subarray(begin, end));
    weights.words(values.subarray(begin, end));
    labelSizes.words(Uint32Array.of(labels.length));
    labelIds.words(Uint32Array.from(labels));
    this.rows++;
    this.nnz += end - begin;
    this.positives += labels.length;
  }

  /** Writes out what has gathered. */
  async drain(atLeast = BUFFER): Promise<void> {
    for (const section of this.#sections) if (section.gathered >= atLeast) await section.flush();
  }

  /** Joins the sections; returns the hex digest of the file. */
  async finish({
    features,
    labels,
  }: {
    readonly features: number;
    readonly labels: number;
  }): Promise<string> {
    await this.drain(1);
    const { rows, nnz, positives } = this;
    const head = datasetHeader(this.#path, { rows, features, labels, nnz, positives });
    const hash = createHash('sha256').update(head.subarray(0, SIGNED));
    const out = await open(this.#path, 'wx');
    try {
      let position = head.length;
      for (const section of this.#sections) {
        for await (const chunk of section.read()) {
          hash.update(chunk);
          await writeAll(out, chunk, position);
          position += chunk.length;
        }
        await section.remove();
      }
      const digest = hash.digest();
      digest.copy(head, SIGNED);
      await writeAll(out, head, 0);
      await out.sync();
      return digest.toString('hex');
    } finally {
      await out.close();
    }
  }

  /** Closes and removes the files of the sections. */
  async discard(): Promise<void> {
    for (const section of this.#sections) await section.remove();
  }
}

/** One call of `write` may write less than it was given. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, position + at);
    at += bytesWritten;
  }
}

class SectionWriter {
  readonly #path: string;
  readonly #handle: FileHandle;
  #bytes = Buffer.allocUnsafe(2 * BUFFER);
  gathered = 0;
  #written = 0;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async open(path: string): Promise<SectionWriter> {
    return new SectionWriter(path, await open(path, 'wx+'));
  }

  words(words: Uint32Array | Float32Array): void {
    const size = words.byteLength;
    if (this.gathered + size > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * (this.gathered + size));
      this.#bytes.copy(larger, 0, 0, this.gathered);
      this.#bytes = larger;
    }
    this.#bytes.set(new Uint8Array(words.buffer, words.byteOffset, size), this.gathered);
    this.gathered += size;
  }

  async flush(): Promise<void> {
    await writeAll(this.#handle, this.#bytes.subarray(0, this.gathered), this.#written);
    this.#written += this.gathered;
    this.gathered = 0;
  }

  async *read(): AsyncGenerator<Buffer> {
    const chunk = Buffer.allocUnsafe(1 << 20);
    for (let at = 0; at < this.#written; ) {
      const { bytesRead } = await this.#handle.read(chunk, 0, Math.min(chunk.length, this.#written - at), at);
      if (bytesRead === 0) throw new Error('a section became shorter while it was joined');
      at += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  }

  async remove(): Promise<void> {
    await this.#handle.close().catch(() => {});
    await rm(this.#path, { force: true });
  }
}
