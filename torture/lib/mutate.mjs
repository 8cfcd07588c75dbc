/** Cases for readers: valid inputs with some damage, and texts grown from the words of a format. The same for the same seed. */
import fc from 'fast-check';
import { generator } from './report.mjs';

const bytesOf = (/** @type {string} */ word) =>
  [...word].every((c) => c <= '\xff') ? Buffer.from(word, 'latin1') : Buffer.from(word, 'utf8');
const numbers = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];
const digits = [
  '0',
  '-1',
  '1e308',
  '1e999',
  '4294967296',
  '9007199254740993',
  '18446744073709551616',
  '0.1',
  '-0',
  'NaN',
];
const longest = 1 << 16;

/** One random change. */
function damage(
  /** @type {Buffer} */ bytes,
  /** @type {import('./fuzz-targets.mjs').Target} */ { words, corpus },
  below,
) {
  const at = below(bytes.length + 1);
  const to = Math.min(bytes.length, at + 1 + below(1 + below(64)));
  const insert = (/** @type {Uint8Array} */ piece, end = at) =>
    Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(end)]);
  switch (below(10)) {
    case 0:
      if (bytes.length > 0) bytes[at % bytes.length] ^= 1 << below(8);
      return bytes;
    case 1:
      if (bytes.length > 0) bytes[at % bytes.length] = numbers[below(5)];
      return bytes;
    case 2: {
      const number = Buffer.alloc(8);
      const size = [2, 4, 8][below(3)];
      const value = BigInt(numbers[below(numbers.length)]) << BigInt(below(2) * 8);
      if (below(2) === 0) number.writeBigUInt64LE(value);
      else number.writeBigUInt64BE((value << BigInt(64 - 8 * size)) & 0xffffffffffffffffn);
      return insert(number.subarray(0, size), Math.min(bytes.length, at + size));
    }
    case 3:
      return insert(new Uint8Array(0), to);
    case 4:
      return insert(bytes.subarray(at, to));
    case 5:
      return insert(bytesOf(words[below(words.length)]));
    case 6:
      return insert(bytesOf(words[below(words.length)]), to);
    case 7:
      return bytes.subarray(0, at);
    case 8: {
      const other = corpus[below(corpus.length)];
      return Buffer.concat([bytes.subarray(0, at), other.subarray(below(other.length + 1))]);
    }
    default: {
      const text = bytes.toString('latin1');
      const found = [...text.matchAll(/\d+/g)];
      if (found.length === 0) return bytes;
      const { 0: old, index = 0 } = found[below(found.length)];
      return Buffer.from(
        text.slice(0, index) + digits[below(digits.length)] + text.slice(index + old.length),
        'latin1',
      );
    }
  }
}

const strange = [
  ...[
    null,
    true,
    -1,
    0,
    1.5,
    1e308,
    2 ** 32,
    2 ** 53,
    -0,
    '',
    '../x',
    '__proto__',
    '\ud800',
    [],
    {},
    [[]],
    [null],
    { a: 1 },
  ],
  ...['0'.repeat(64), 'a'.repeat(1000), Array.from({ length: 200 }, (_, i) => i)],
];

/** A value of JSON with one to four of its members replaced, removed, doubled or moved. */
function rearranged(/** @type {unknown} */ root, /** @type {(n: number) => number} */ below) {
  const value = structuredClone(root);
  for (let n = 1 + below(4); n > 0; n--) {
    /** @type {[any, string][]} */
    const places = [];
    const walk = (/** @type {any} */ node) => {
      for (const key of Object.keys(node)) {
        places.push([node, key]);
        if (typeof node[key] === 'object' && node[key] !== null) walk(node[key]);
      }
    };
    walk(value);
    if (places.length === 0) return value;
    const [node, key] = places[below(places.length)];
    const [other, name] = places[below(places.length)];
    const change = below(5);
    // NOTE: a copy, or later changes would go into what all cases share.
    if (change === 0) node[key] = structuredClone(strange[below(strange.length)]);
    else if (change === 1) delete node[key];
    else if (change === 2) node[`${key}${below(3)}`] = structuredClone(node[key]);
    else if (change === 3) node[key] = structuredClone(other[name]);
    else if (typeof node[key] === 'number') node[key] += [1, -1, 0.5, 256, 2 ** 31][below(5)];
    else
      Object.defineProperty(node, '__proto__', {
        value: { polluted: 1 },
        enumerable: true,
        configurable: true,
      });
  }
  return value;
}

/** A valid input with its JSON rearranged; undefined where it holds none. */
function restructured(
  /** @type {import('./fuzz-targets.mjs').Target} */ target,
  /** @type {(n: number) => number} */ below,
) {
  const from = Buffer.from(target.corpus[below(target.corpus.length)]);
  const { part = [0, from.length], whole = (/** @type {string} */ json) => Buffer.from(json) } =
    target.json?.(from) ?? {};
  try {
    const value = JSON.parse(from.subarray(...part).toString('utf8'));
    if (typeof value === 'object' && value !== null) return whole(JSON.stringify(rearranged(value, below)));
  } catch {}
}

/** A code point, one half of a surrogate pair included. NOTE: the library's own strings of any characters keep a table of them all. */
const character = fc.integer({ min: 0, max: 0x10ffff }).map((code) => String.fromCodePoint(code));
/** What stands between the words of a format. */
const values = [
  { weight: 2, arbitrary: fc.json({ maxDepth: 3 }) },
  { weight: 1, arbitrary: fc.array(character, { maxLength: 8 }).map((all) => all.join('')) },
  { weight: 1, arbitrary: fc.double().map(String) },
  { weight: 1, arbitrary: fc.integer().map(String) },
];
/** @type {WeakMap<readonly string[], any>} */
const texts = new WeakMap();

/** Words of the format between arbitrary values. */
function grown(/** @type {import('./fuzz-targets.mjs').Target} */ { words }, /** @type {number} */ seed) {
  let text = texts.get(words);
  if (text === undefined) {
    const piece = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...words) }, ...values);
    text = fc.array(piece, { maxLength: 24 });
    texts.set(words, text);
  }
  const [pieces] = fc.sample(text, { seed, numRuns: 1 });
  return Buffer.concat(pieces.map(bytesOf));
}

/** Case number `index` of a target: a quarter grown, a quarter with its JSON rearranged, the rest damaged. */
export function caseOf(
  /** @type {import('./fuzz-targets.mjs').Target} */ target,
  /** @type {number} */ seed,
  /** @type {number} */ index,
) {
  const random = generator((Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)) >>> 0);
  random();
  const below = (/** @type {number} */ n) => Math.floor(n * random());
  if (index % 4 === 3) return grown(target, below(2 ** 31));
  const other = index % 4 === 2 ? restructured(target, below) : undefined;
  if (other !== undefined) return other;
  let bytes = Buffer.from(target.corpus[below(target.corpus.length)]);
  for (let n = 1 << below(4); n > 0; n--)
    bytes = Buffer.from(damage(bytes, target, below)).subarray(0, longest);
  return target.repair !== undefined && below(2) === 0 ? Buffer.from(target.repair(bytes)) : bytes;
}
