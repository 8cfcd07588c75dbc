import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { EspalierError } from '../errors.js';
import { philox4x32, philoxBlock, RandomStream } from './random.js';

/** Known answers of philox4x32-10, published with the Random123 library (kat_vectors). */
const KNOWN: readonly { counter: number[]; key: number[]; words: number[] }[] = [
  {
    counter: [0, 0, 0, 0],
    key: [0, 0],
    words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

describe('philox4x32', () => {
  it.each(KNOWN)('answers the known vector $words', ({ counter: [c0, c1, c2, c3], key: [k0, k1], words }) => {
    const out = new Uint32Array(4);
    philox4x32(c0, c1, c2, c3, k0, k1, out);
    expect(Array.from(out)).toEqual(words);
  });

  it('agrees with exact integer arithmetic on 2,000 random inputs', () => {
    const rng = RandomStream.named(1, 'philox fuzz');
    const out = new Uint32Array(4);
    for (let trial = 0; trial < 2000; trial++) {
      const [c0, c1, c2, c3, k0, k1] = Array.from({ length: 6 }, () => rng.uint32());
      philox4x32(c0, c1, c2, c3, k0, k1, out);
      expect(Array.from(out)).toEqual(exactPhilox([c0, c1, c2, c3], [k0, k1]));
    }
  });

  it('splits a block counter above 2^32 into a low and a high word', () => {
    const split = new Uint32Array(4);
    const whole = new Uint32Array(4);
    philox4x32(7, 5, 0, 0, 1, 2, split);
    philoxBlock(1, 2, 5 * 2 ** 32 + 7, whole);
    expect(whole).toEqual(split);
  });
});

/** The same cipher in BigInt, written from the paper's formulas. */
function exactPhilox(counter: number[], key: number[]): number[] {
  let [a, b, c, d] = counter.map(BigInt);
  let [k0, k1] = key.map(BigInt);
  const mask = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * a;
    const p1 = 0xcd9e8d57n * c;
    [a, b, c, d] = [(p1 >> 32n) ^ b ^ k0, p1 & mask, (p0 >> 32n) ^ d ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return [a, b, c, d].map(Number);
}

describe('RandomStream', () => {
  it('takes its key from the SHA-256 of seed and name', () => {
    const digest = createHash('sha256').update('-3/é', 'utf8').digest();
    expect(RandomStream.named(-3, 'é').state()).toEqual({
      key0: digest.readUInt32LE(0),
      key1: digest.readUInt32LE(4),
      counter: 0,
    });
  });

  it('gives other names and other seeds other streams', () => {
    const first = (seed: number, name: string) => RandomStream.named(seed, name).uint32();
    expect(new Set([first(1, 'a'), first(1, 'b'), first(2, 'a'), first(-1, 'a')]).size).toBe(4);
    expect(first(0, 'a')).toBe(first(-0, 'a'));
  });

  it('resumes exactly from any position, inside a block or not', () => {
    for (let drawn = 0; drawn < 9; drawn++) {
      const stream = RandomStream.named(7, 'resume');
      for (let i = 0; i < drawn; i++) stream.uint32();
      const copy = RandomStream.from(JSON.parse(JSON.stringify(stream.state())));
      const mixed = (s: RandomStream) => [s.uint32(), s.normal(), s.below(10), s.reserve(5), s.uniform()];
      expect(mixed(copy)).toEqual(mixed(stream));
      expect(copy.state()).toEqual(stream.state());
    }
  });

  it('goes back to an earlier state of its own, and refuses that of another stream', () => {
    const stream = RandomStream.named(7, 'restore');
    stream.uint32();
    const state = stream.state();
    const drawn = [stream.uint32(), stream.normal()];
    stream.restore(state);
    expect([stream.uint32(), stream.normal()]).toEqual(drawn);
    expect(() => stream.restore(RandomStream.named(8, 'restore').state())).toThrow(/RANDOM_STATE/);
  });

  it('reserves whole blocks that no other draw of the stream uses', () => {
    const stream = RandomStream.named(3, 'reserve');
    stream.uint32();
    const key = stream.reserve(9);
    expect(key.counter).toBe(1);
    const words = new Uint32Array(4);
    const next = stream.uint32();
    philoxBlock(key.key0, key.key1, key.counter + 3, words);
    expect(next).toBe(words[0]);
    expect(stream.reserve(0).counter).toBe(5);
    expect(stream.skip(2).counter).toBe(5);
    expect(stream.state().counter).toBe(28);
  });

  it('draws uniforms in [0, 1) with the moments of the uniform law', () => {
    const { mean, variance, min, max } = moments(100_000, (s) => s.uniform());
    expect(min).toBeGreaterThanOrEqual(0);
    expect(max).toBeLessThan(1);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(5 * Math.sqrt(1 / 12 / 100_000));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / 100_000));
  });

  it('draws normals with mean 0 and variance 1', () => {
    const { mean, variance } = moments(100_000, (s) => s.normal());
    expect(Math.abs(mean)).toBeLessThan(5 * Math.sqrt(1 / 100_000));
    expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / 100_000));
  });

  it('draws below(n) without bias, where a plain remainder would show one', () => {
    // With n = 3 * 2^30 a remainder would hit [0, 2^30) twice as often as any other third.
    const stream = RandomStream.named(5, 'below');
    const thirds = [0, 0, 0];
    for (let i = 0; i < 30_000; i++) thirds[Math.floor(stream.below(3 * 2 ** 30) / 2 ** 30)]++;
    for (const count of thirds)
      expect(Math.abs(count - 10_000)).toBeLessThan(5 * Math.sqrt(30_000 * (2 / 9)));
    expect(stream.below(1)).toBe(0);
    expect(stream.below(2 ** 32)).toBeGreaterThanOrEqual(0);
  });

  it('shuffles into every order equally often', () => {
    const stream = RandomStream.named(6, 'shuffle');
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = stream.shuffle(Uint32Array.of(0, 1, 2, 3)).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquared = [...counts.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    // 23 degrees of freedom: above 58 with probability below 1e-4; the seed is fixed.
    expect(chiSquared).toBeLessThan(58);
  });

  it('refuses bad seeds, states and ranges with a code', () => {
    const code = (f: () => unknown) => {
      try {
        f();
      } catch (error) {
        return (error as EspalierError).code;
      }
      return 'nothing thrown';
    };
    const stream = RandomStream.named(1, 'x');
    expect(code(() => RandomStream.named(1.5, 'x'))).toBe('RANDOM_SEED');
    expect(code(() => RandomStream.from({ key0: -1, key1: 0, counter: 0 }))).toBe('RANDOM_STATE');
    expect(code(() => RandomStream.from({ key0: 1, key1: 0, counter: 0.5 }))).toBe('RANDOM_STATE');
    expect(code(() => stream.below(0))).toBe('RANDOM_RANGE');
    expect(code(() => stream.below(2 ** 32 + 1))).toBe('RANDOM_RANGE');
    expect(code(() => stream.reserve(-5))).toBe('RANDOM_SKIP');
    expect(code(() => stream.skip(2 ** 51))).toBe('RANDOM_SKIP');
  });
});

function moments(n: number, draw: (stream: RandomStream) => number) {
  const stream = RandomStream.named(4, 'moments');
  const x = Array.from({ length: n }, () => draw(stream));
  const mean = x.reduce((a, b) => a + b) / n;
  const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / n;
  return { mean, variance, min: Math.min(...x), max: Math.max(...x) };
}
