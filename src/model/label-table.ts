/** Names of labels in shared memory: many threads read one copy, and names become strings only when they are shown. */

/** Plain data over shared memory, to be sent between threads. */
export interface LabelTableData {
  /** UTF-8, one name after the other. */
  readonly bytes: Uint8Array;
  /** [labels + 1], name l is bytes [offsets[l], offsets[l + 1]). */
  readonly offsets: Float64Array;
}

export class LabelTable {
  readonly data: LabelTableData;

  constructor(data: LabelTableData) {
    this.data = data;
  }

  static async gather(names: AsyncIterable<readonly string[]>): Promise<LabelTable> {
    const parts: Buffer[] = [];
    const ends: number[] = [];
    let end = 0;
    for await (const some of names) {
      const from = end;
      for (const name of some) {
        end += Buffer.byteLength(name);
        ends.push(end);
      }
      // At once is faster than one by one; but halves of a pair in two names would become one character.
      const joined = Buffer.from(some.join(''));
      parts.push(
        joined.length === end - from ? joined : Buffer.concat(some.map((name) => Buffer.from(name))),
      );
    }
    const offsets = new Float64Array(new SharedArrayBuffer(8 * (ends.length + 1)));
    offsets.set(ends, 1);
    const bytes = new Uint8Array(new SharedArrayBuffer(end));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return new LabelTable({ bytes, offsets });
  }

  /** 0 where labels have no names. */
  get count(): number {
    return this.data.offsets.length - 1;
  }

  name(label: number): string | undefined {
    if (!(label >= 0 && label < this.count)) return undefined;
    return this.#bytesOf(label).toString('utf8');
  }

  /** The label with this name, or -1. */
  find(name: string): number {
    const wanted = Buffer.from(name, 'utf8');
    for (let l = 0; l < this.count; l++) if (this.#bytesOf(l).equals(wanted)) return l;
    return -1;
  }

  #bytesOf(label: number): Buffer {
    const { bytes, offsets } = this.data;
    const from = offsets[label];
    return Buffer.from(bytes.buffer as ArrayBuffer, bytes.byteOffset + from, offsets[label + 1] - from);
  }
}
