/**
 * UTF-8 text to words, without making strings where the text is Latin: the bytes of a piece are folded and cut in
 * one walk by the tables of `latin.ts`. A piece that holds anything else is done again by `wordsOf`, the definition;
 * a fuzz test holds the two equal.
 */
import {
  DIGIT,
  JOINER,
  LATIN_END,
  type LatinTable,
  LETTER,
  latinTable,
  MID_DIGIT,
  MID_LETTER,
  SLOW,
} from './latin.js';
import { pieceEnd } from './pieces.js';
import { fold, type WordRule, wordsOf } from './rule.js';
import { FNV_PRIME, FNV_START, fnv, mixHash, TermTable } from './term-table.js';

const SPACE = 0x20;
/** A byte of a piece becomes at most 18 code points under NFKC, or 36 bytes and some. */
const PIECE_ROOM = 1 << 16;

/** The words of a text, folded, in one buffer: a blank, then each word and a blank. Reused from text to text. */
export class Words {
  /** ` word word ... ` */
  bytes = new Uint8Array(2 * PIECE_ROOM);
  count = 0;
  /** Word w is bytes[begin[w], end[w]). */
  begin = new Int32Array(1 << 10);
  end = new Int32Array(1 << 10);
  /** FNV-1a of each word, not mixed. */
  hash = new Int32Array(1 << 10);
  /** Bytes in use. */
  used = 0;
  readonly #rule: WordRule;
  readonly #table: LatinTable;
  readonly #fast: boolean;
  readonly #stop: TermTable | null;

  /** @param options.fast false: the definition alone, as an oracle */
  constructor(rule: WordRule, options: { readonly fast?: boolean } = {}) {
    this.#rule = rule;
    this.#fast = options.fast ?? true;
    this.#table = latinTable(rule);
    this.#stop = rule.stopWords.length === 0 ? null : stopTable(rule);
  }

  /** Takes the words of the UTF-8 text bytes[begin, end). */
  read(bytes: Uint8Array, begin: number, end: number): void {
    this.bytes[0] = SPACE;
    this.used = 1;
    this.count = 0;
    for (let at = begin; at < end; ) {
      const next = pieceEnd(bytes, at, end);
      this.#reserve(next - at);
      const [count, used] = [this.count, this.used];
      if (!this.#fast || !this.#latin(bytes, at, next)) {
        this.count = count;
        this.used = used;
        this.#defined(bytes, at, next);
      }
      at = next;
    }
  }

  /** The words as strings, for people and tests. */
  strings(): string[] {
    const decoder = new TextDecoder();
    return Array.from({ length: this.count }, (_, w) =>
      decoder.decode(this.bytes.subarray(this.begin[w], this.end[w])),
    );
  }

  /** False, with words half written, where the piece holds a character that is not for the fast path. */
  #latin(bytes: Uint8Array, begin: number, end: number): boolean {
    const { kind, folded } = this.#table;
    const into = this.bytes;
    const minLength = this.#rule.minLength;
    let to = this.used;
    let wordBegin = to;
    let hash = FNV_START;
    let length = 0;
    /** Kind of the last character of the word at work, or 0 where none is. */
    let last = 0;
    let at = begin;
    while (at < end) {
      let entry = bytes[at];
      let size = 1;
      if (entry >= 0x80) {
        entry = decode(bytes, at, end);
        if (entry < 0) return false;
        size = entry < LATIN_END ? 2 : 3;
      }
      const k = kind[entry];
      if (k === SLOW) return false;
      if (k >= LETTER && k <= JOINER) {
        if (last === 0) {
          wordBegin = to;
          hash = FNV_START;
          length = 0;
        }
        last = k;
      } else if (last !== 0) {
        const joins =
          k >= MID_LETTER &&
          (last === LETTER ? k !== MID_DIGIT : last === DIGIT && k !== MID_LETTER) &&
          this.#kindAt(bytes, at + size, end) === last;
        if (!joins) {
          if (length >= minLength && !(length === 1 && last === JOINER)) {
            into[to++] = SPACE;
            if (!this.#push(wordBegin, to - 1, hash)) to = wordBegin;
          } else to = wordBegin;
          last = 0;
          at += size;
          continue;
        }
      } else {
        at += size;
        continue;
      }
      const code = folded[entry];
      if (code < 0x80) {
        into[to++] = code;
        hash = Math.imul(hash ^ code, FNV_PRIME);
      } else {
        to = utf8(into, to, code);
        hash = fnv(into, to - (code < 0x800 ? 2 : 3), to, hash);
      }
      length++;
      at += size;
    }
    if (last !== 0) {
      if (length >= minLength && !(length === 1 && last === JOINER)) {
        into[to++] = SPACE;
        if (!this.#push(wordBegin, to - 1, hash)) to = wordBegin;
      } else to = wordBegin;
    }
    this.used = to;
    return true;
  }

  #kindAt(bytes: Uint8Array, at: number, end: number): number {
    if (at >= end) return 0;
    const entry = bytes[at] < 0x80 ? bytes[at] : decode(bytes, at, end);
    return entry < 0 ? SLOW : this.#table.kind[entry];
  }

  #defined(bytes: Uint8Array, begin: number, end: number): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset + begin, end - begin).toString('utf8');
    for (const word of wordsOf(text, this.#rule)) {
      const from = this.used;
      let to = from;
      let length = 0;
      for (let i = 0; i < word.length; i++, length++) {
        const code = word.codePointAt(i) as number;
        if (code > 0xffff) i++;
        to = utf8(this.bytes, to, code);
      }
      if (length < this.#rule.minLength) continue;
      this.bytes[to] = SPACE;
      if (this.#push(from, to, fnv(this.bytes, from, to))) this.used = to + 1;
    }
  }

  /** False for a stop word. */
  #push(begin: number, end: number, hash: number): boolean {
    const stop = this.#stop;
    if (stop !== null && stop.find(0, this.bytes, begin, end, mixHash(hash, 0)) >= 0) return false;
    const word = this.count++;
    if (word >= this.begin.length) {
      this.begin = grown(this.begin);
      this.end = grown(this.end);
      this.hash = grown(this.hash);
    }
    this.begin[word] = begin;
    this.end[word] = end;
    this.hash[word] = hash;
    return true;
  }

  #reserve(piece: number): void {
    const wanted = this.used + Math.max(PIECE_ROOM, 40 * piece);
    if (wanted <= this.bytes.length) return;
    const larger = new Uint8Array(2 * wanted);
    larger.set(this.bytes.subarray(0, this.used));
    this.bytes = larger;
  }
}

/** Entry of the Latin table of the character of two or three bytes at `at`; -1 where it has none. */
function decode(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at];
  const second = at + 1 < end ? bytes[at + 1] : 0;
  if ((second & 0xc0) !== 0x80) return -1;
  if (lead >= 0xc2 && lead <= 0xc9) {
    const code = ((lead & 0x1f) << 6) | (second & 0x3f);
    return code < LATIN_END ? code : -1;
  }
  // U+2000 to U+20BF are e2 80 80 to e2 82 bf.
  if (lead !== 0xe2 || second > 0x82 || at + 2 >= end || (bytes[at + 2] & 0xc0) !== 0x80) return -1;
  return LATIN_END + ((second & 0x3f) << 6) + (bytes[at + 2] & 0x3f);
}

/** Writes a code point at `to` and returns where the next one goes; half a pair becomes U+FFFD. */
function utf8(into: Uint8Array, to: number, point: number): number {
  const code = point >= 0xd800 && point < 0xe000 ? 0xfffd : point;
  if (code < 0x80) {
    into[to++] = code;
  } else if (code < 0x800) {
    into[to++] = 0xc0 | (code >> 6);
    into[to++] = 0x80 | (code & 0x3f);
  } else if (code < 0x10000) {
    into[to++] = 0xe0 | (code >> 12);
    into[to++] = 0x80 | ((code >> 6) & 0x3f);
    into[to++] = 0x80 | (code & 0x3f);
  } else {
    into[to++] = 0xf0 | (code >> 18);
    into[to++] = 0x80 | ((code >> 12) & 0x3f);
    into[to++] = 0x80 | ((code >> 6) & 0x3f);
    into[to++] = 0x80 | (code & 0x3f);
  }
  return to;
}

function grown(from: Int32Array): Int32Array<ArrayBuffer> {
  const into = new Int32Array(2 * from.length);
  into.set(from);
  return into;
}

function stopTable(rule: WordRule): TermTable {
  const table = new TermTable();
  for (const word of rule.stopWords) {
    const bytes = new TextEncoder().encode(fold(word, rule));
    table.add(0, bytes, 0, bytes.length, mixHash(fnv(bytes, 0, bytes.length), 0));
  }
  return table;
}
