/**
 * Byte strings to ids: open addressing over one arena of bytes, so that looking a word up makes no string, and a
 * vocabulary can be shared between threads.
 */

/** FNV-1a of bytes, 32 bits, not yet mixed; a longer string continues from the hash of its beginning. */
export const FNV_START = 0x811c9dc5 | 0;
export const FNV_PRIME = 0x01000193;

export function fnv(bytes: Uint8Array, begin: number, end: number, from: number = FNV_START): number {
  let h = from;
  for (let at = begin; at < end; at++) h = Math.imul(h ^ bytes[at], FNV_PRIME);
  return h;
}

/** Spreads a raw hash of a term of `section` over all 32 bits (finaliser of MurmurHash3). */
export function mixHash(raw: number, section: number): number {
  let h = raw ^ Math.imul(section + 1, 0x9e3779b1);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** The arrays of a table, as they travel between threads. */
export interface TermArrays {
  readonly count: number;
  /** All terms, one after the other. */
  readonly bytes: Uint8Array;
  /** [count + 1] */
  readonly offsets: Uint32Array;
  /** [count] */
  readonly sections: Uint8Array;
  /** [count], mixed */
  readonly hashes: Uint32Array;
  /** A power of two; id + 1, or 0 for an empty place. */
  readonly slots: Uint32Array;
}

export class TermTable {
  #count = 0;
  #bytes: Uint8Array;
  #offsets: Uint32Array;
  #sections: Uint8Array;
  #hashes: Uint32Array;
  #slots: Uint32Array;
  #mask: number;

  constructor(arrays?: TermArrays) {
    this.#count = arrays?.count ?? 0;
    this.#bytes = arrays?.bytes ?? new Uint8Array(1 << 12);
    this.#offsets = arrays?.offsets ?? new Uint32Array(1 << 9);
    this.#sections = arrays?.sections ?? new Uint8Array(1 << 9);
    this.#hashes = arrays?.hashes ?? new Uint32Array(1 << 9);
    this.#slots = arrays?.slots ?? new Uint32Array(1 << 10);
    this.#mask = this.#slots.length - 1;
  }

  get count(): number {
    return this.#count;
  }

  /** Memory of all arrays. */
  get byteLength(): number {
    return (
      this.#bytes.length +
      4 * this.#offsets.length +
      this.#sections.length +
      4 * this.#hashes.length +
      4 * this.#slots.length
    );
  }

  /** Bytes that the terms take, without spare room. */
  get usedBytes(): number {
    return this.#offsets[this.#count] + 17 * this.#count;
  }

  /** Forgets all terms and keeps the arrays. */
  clear(): void {
    this.#count = 0;
    this.#slots.fill(0);
  }

  /** The arrays without spare room, in memory that threads can share. */
  shared(): TermArrays {
    const [count, end] = [this.#count, this.#offsets[this.#count]];
    const share = <T extends Uint8Array | Uint32Array>(from: T, into: T): T => {
      into.set(from);
      return into;
    };
    const words = (length: number) => new Uint32Array(new SharedArrayBuffer(4 * length));
    const octets = (length: number) => new Uint8Array(new SharedArrayBuffer(length));
    return {
      count,
      bytes: share(this.#bytes.subarray(0, end), octets(end)),
      offsets: share(this.#offsets.subarray(0, count + 1), words(count + 1)),
      sections: share(this.#sections.subarray(0, count), octets(count)),
      hashes: share(this.#hashes.subarray(0, count), words(count)),
      slots: share(this.#slots, words(this.#slots.length)),
    };
  }

  section(id: number): number {
    return this.#sections[id];
  }

  /** A copy of the bytes of a term. */
  bytes(id: number): Uint8Array {
    return this.#bytes.slice(this.#offsets[id], this.#offsets[id + 1]);
  }

  /** Terms in the order of sections, then of bytes. [count] */
  sortedIds(): Uint32Array {
    const ids = Uint32Array.from({ length: this.#count }, (_, id) => id);
    const [bytes, offsets, sections] = [this.#bytes, this.#offsets, this.#sections];
    return ids.sort((a, b) => {
      if (sections[a] !== sections[b]) return sections[a] - sections[b];
      let [x, y] = [offsets[a], offsets[b]];
      const [xEnd, yEnd] = [offsets[a + 1], offsets[b + 1]];
      while (x < xEnd && y < yEnd) {
        if (bytes[x] !== bytes[y]) return bytes[x] - bytes[y];
        x++;
        y++;
      }
      return xEnd - x - (yEnd - y);
    });
  }

  /** The id of bytes[begin, end), or -1; `hash` is that of `mixHash`. */
  find(section: number, bytes: Uint8Array, begin: number, end: number, hash: number): number {
    const slots = this.#slots;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const id = slots[slot] - 1;
      if (id < 0) return -1;
      if (this.#hashes[id] === hash && this.#same(id, section, bytes, begin, end)) return id;
    }
  }

  /** The id of a term, which is added where it is new: then it is the `count` of before. */
  add(section: number, bytes: Uint8Array, begin: number, end: number, hash: number): number {
    let slot = hash & this.#mask;
    for (; ; slot = (slot + 1) & this.#mask) {
      const id = this.#slots[slot] - 1;
      if (id < 0) break;
      if (this.#hashes[id] === hash && this.#same(id, section, bytes, begin, end)) return id;
    }
    const id = this.#count++;
    this.#reserve(end - begin);
    const at = this.#offsets[id];
    const into = this.#bytes;
    for (let from = begin, to = at; from < end; from++, to++) into[to] = bytes[from];
    this.#offsets[id + 1] = at + end - begin;
    this.#sections[id] = section;
    this.#hashes[id] = hash;
    if (2 * this.#count > this.#slots.length) this.#rehash();
    else this.#slots[slot] = id + 1;
    return id;
  }

  #same(id: number, section: number, bytes: Uint8Array, begin: number, end: number): boolean {
    const at = this.#offsets[id];
    if (this.#offsets[id + 1] - at !== end - begin || this.#sections[id] !== section) return false;
    const mine = this.#bytes;
    for (let i = begin, j = at; i < end; i++, j++) if (bytes[i] !== mine[j]) return false;
    return true;
  }

  #reserve(bytes: number): void {
    const count = this.#count;
    if (count + 1 > this.#sections.length - 1) {
      const size = 2 * this.#sections.length;
      this.#offsets = grown(this.#offsets, new Uint32Array(size));
      this.#sections = grown(this.#sections, new Uint8Array(size));
      this.#hashes = grown(this.#hashes, new Uint32Array(size));
    }
    const wanted = this.#offsets[count - 1] + bytes;
    if (wanted > this.#bytes.length) {
      this.#bytes = grown(this.#bytes, new Uint8Array(Math.max(wanted, 2 * this.#bytes.length)));
    }
  }

  #rehash(): void {
    this.#slots = new Uint32Array(2 * this.#slots.length);
    this.#mask = this.#slots.length - 1;
    for (let id = 0; id < this.#count; id++) {
      let slot = this.#hashes[id] & this.#mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
      this.#slots[slot] = id + 1;
    }
  }
}

function grown<T extends Uint8Array | Uint32Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
