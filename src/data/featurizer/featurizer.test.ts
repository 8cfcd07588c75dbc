import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RandomStream } from '../../kernels/random.js';
import { mergeRuns, type Run, TermCounts } from './counts.js';
import { type FeatureBlock, Featurizer } from './featurizer.js';
import { checkFeaturizerOptions, type FeaturizerOptionsInput } from './options.js';
import { type FeaturizerRow, packBlock } from './row-block.js';

/** Feature names and values of one row. */
function named(featurizer: Featurizer, row: FeaturizerRow): Record<string, number> {
  const names = featurizer.featureNames();
  const { indices, values } = featurizer.featurize([row]);
  return Object.fromEntries(Array.from(indices, (id, e) => [names[id], values[e]]));
}

const code = (c: string) => expect.objectContaining({ code: c });

const rows = [
  { text: 'red red apple', kind: 'fruit', price: 1 },
  { text: 'red car', kind: 'vehicle', price: 3 },
  { text: 'green apple', kind: 'fruit', price: 2 },
  { text: 'blue sky', kind: 'fruit', price: null },
];

describe('Featurizer', () => {
  const featurizer = Featurizer.fit(rows, { text: ['text', 'kind'] });

  it('keeps words of at least two rows, the most frequent first, columns apart', () => {
    expect(featurizer.featureNames()).toEqual(['kind:fruit', 'text:apple', 'text:red']);
  });

  it('weighs (1 + ln tf) ln(N/df), then scales to unit norm', () => {
    const { indices, values } = featurizer.featurize([rows[0]]);
    expect([...indices]).toEqual([0, 1, 2]);
    // ln(4/3), ln(4/2), (1 + ln 2) ln(4/2)
    const raw = [Math.log(4 / 3), Math.log(2), (1 + Math.LN2) * Math.log(2)];
    const norm = Math.hypot(...raw);
    expect([...values]).toEqual(raw.map((w) => Math.fround(w / norm)));
  });

  it('weighs by BM25', () => {
    const bm25 = Featurizer.fit(rows, { text: ['text'], weights: 'bm25', norm: 'none' });
    // N = 4, df = 2; two of the three words of a row where the mean is 9/4 words.
    const idf = Math.log(1 + 2.5 / 2.5);
    const weight = (idf * 2 * 2.2) / (2 + 1.2 * (0.25 + (0.75 * 3) / 2.25));
    expect(named(bm25, rows[0])['text:red']).toBeCloseTo(weight, 6);
  });

  it('takes free text in the first column and leaves unknown words out', () => {
    expect([...featurizer.featurize(['fruit apple zebra']).indices]).toEqual([1]);
    expect(featurizer.featurize(['nothing known', '']).nnz).toBe(0);
  });

  it('gives a row whose words are in every document weights of zero, not NaN', () => {
    const common = Featurizer.fit(['same', 'same'], { text: ['text'] });
    expect([...common.featurize(['same']).values]).toEqual([0]);
  });

  it('may share words between columns', () => {
    const shared = Featurizer.fit(rows, { text: ['text', 'kind'], shareColumns: true });
    expect(shared.featureNames()[0]).toBe('text+kind:fruit');
    expect(named(shared, 'fruit')).toEqual({ 'text+kind:fruit': 1 });
  });

  it('has runs of words, and runs of characters with the blanks around words', () => {
    const options = { text: ['t'], vocabulary: { minDocuments: 1 }, characterNGrams: { min: 2, max: 3 } };
    const grams = Featurizer.fit(['to be é'], { ...options, wordNGrams: 2 });
    const names = ['t:to', 't:be', 't:é', 't:to be', 't:be é', 't~ t', 't~to', 't~o ', 't~ to', 't~to '];
    names.push('t~ b', 't~be', 't~e ', 't~ be', 't~be ', 't~ é', 't~é ', 't~ é ');
    expect(grams.featureNames().sort()).toEqual(names.sort());
  });

  it('gives a value of a category its own weight, outside the norm of the text', () => {
    const options: FeaturizerOptionsInput = { text: ['text'], categorical: ['kind'], categoricalWeight: 0.7 };
    const mixed = Featurizer.fit(rows, options);
    expect(named(mixed, { text: 'apple', kind: 'fruit' })).toEqual({
      'kind=fruit': Math.fround(0.7),
      'text:apple': 1,
    });
    expect(named(mixed, { kind: 'unheard of' })).toEqual({});
    const only = Featurizer.fit(rows, { categorical: ['kind'], shareColumns: true });
    expect(only.featureNames()).toEqual(['kind=fruit']);
  });

  it('standardises numbers, clips wild ones and leaves missing ones out', () => {
    const numeric = Featurizer.fit(rows, { text: ['text'], numeric: ['price'], numericWeight: 1 });
    const deviation = Math.sqrt(2 / 3);
    expect(named(numeric, { price: 3 }).price).toBeCloseTo(1 / deviation, 6);
    expect(named(numeric, { price: '1e300' }).price).toBe(4);
    expect(named(numeric, { price: 'cheap' })).toEqual({});
    expect(named(numeric, 'apple')).toEqual({ 'text:apple': 1 });
  });

  it('keeps the most frequent terms, and none that is too common', () => {
    const limits = (vocabulary: object) =>
      Featurizer.fit(rows, { text: ['text', 'kind'], vocabulary }).featureNames();
    expect(limits({ maxFeatures: 2 })).toEqual(['kind:fruit', 'text:apple']);
    expect(limits({ maxDocumentShare: 0.5 })).toEqual(['text:apple', 'text:red']);
  });

  it('hashes into a fixed number of features, without a vocabulary', () => {
    const hashed = Featurizer.fit(rows, { text: ['text'], vocabulary: { kind: 'hashed', bits: 10 } });
    expect(hashed.features).toBe(1024);
    expect(hashed.featurize(['zebra']).nnz).toBe(1);
    expect(JSON.stringify(hashed).length).toBeLessThan(10_000);
    expect(hashed.featurize([rows[0]]).values).toEqual(
      Featurizer.parse(JSON.stringify(hashed)).featurize([rows[0]]).values,
    );
  });

  it('refuses what is no row, no text, or no setting, and says which', () => {
    expect(() => featurizer.featurize([{ text: { a: 1 } }])).toThrow(code('FEATURE_VALUE'));
    expect(() => featurizer.featurize([3 as never])).toThrow(code('FEATURE_ROW'));
    for (const options of [{}, { text: ['a', 'a'] }, { text: ['a'], wordNGrams: 0 }]) {
      expect(() => checkFeaturizerOptions(options)).toThrow(code('FEATURIZER_OPTIONS'));
    }
    expect(() => checkFeaturizerOptions({ text: ['a'], stopwords: [] })).toThrow('did you mean stopWords');
    expect(() => Featurizer.fit([], { numeric: ['n'] }).featurize(['text'])).toThrow(code('FEATURE_ROW'));
  });

  const state = JSON.parse(JSON.stringify(featurizer));
  const vocabulary = state.vocabulary;
  it.each([
    null,
    {},
    { ...state, version: 2 },
    { ...state, vocabulary: { ...vocabulary, df: [9, 1, 1] } },
    { ...state, vocabulary: { ...vocabulary, df: [1] } },
    { ...state, vocabulary: { ...vocabulary, sections: [0, 0, 200] } },
    { ...state, vocabulary: { ...vocabulary, terms: ['a', 'a', 'b'], sections: [0, 0, 0] } },
    { ...state, vocabulary: { buckets: 'AAAA' } },
  ])('refuses a state that is none (%#)', (bad) => {
    expect(() => Featurizer.parse(JSON.stringify(bad))).toThrow(code('FEATURIZER_STATE'));
  });

  it('says so where the file is no JSON', () => {
    expect(() => Featurizer.parse('{', 'x/featurizer.json')).toThrow('x/featurizer.json');
  });
});

const word = fc.constantFrom('red', 'Äpfel', '日本語', 'it’s', '3.5', 'zebra', 'x_y', '🙂', 'ﬁn');
const text = fc.array(word, { maxLength: 12 }).map((words) => words.join(' '));
const row = fc.record({ title: text, body: text, kind: fc.constantFrom('a', 'b', ''), size: fc.double() });
const options: fc.Arbitrary<FeaturizerOptionsInput> = fc.record({
  text: fc.constant(['title', 'body']),
  categorical: fc.constantFrom([], ['kind']),
  numeric: fc.constantFrom([], ['size']),
  shareColumns: fc.boolean(),
  wordNGrams: fc.constantFrom(1, 2),
  characterNGrams: fc.constantFrom(null, { min: 2, max: 4 }),
  weights: fc.constantFrom('tf-idf' as const, 'bm25' as const, 'count' as const),
  sublinear: fc.boolean(),
  norm: fc.constantFrom('l2' as const, 'none' as const),
  vocabulary: fc.constantFrom<object[]>(
    { kind: 'terms', minDocuments: 1 },
    { kind: 'terms', minDocuments: 2, maxFeatures: 7 },
    { kind: 'hashed', bits: 6 },
  ) as never,
});

describe('training and serving agree', () => {
  it('a stored, a shared and the fitted featurizer give the same bits, alone or in a batch', () => {
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 12 }), options, (data, settings) => {
        const fitted = Featurizer.fit(data, settings);
        const all = fitted.featurize(data);
        const stored = Featurizer.parse(JSON.stringify(fitted));
        const shared = Featurizer.fromShared(structuredClone(fitted.share()));
        expect(stored.featurize(data)).toEqual(all);
        expect(shared.featurize(data)).toEqual(all);
        data.forEach((one, r) => {
          const single = stored.featurize([one]);
          expect(single.indices).toEqual(all.indices.slice(all.indptr[r], all.indptr[r + 1]));
          expect(single.values).toEqual(all.values.slice(all.indptr[r], all.indptr[r + 1]));
        });
        expectCanonical(all, fitted.features);
      }),
      { numRuns: 200 },
    );
  });

  function expectCanonical({ rows: n, indptr, indices, values }: FeatureBlock, features: number): void {
    for (let r = 0; r < n; r++) {
      for (let e = indptr[r]; e < indptr[r + 1]; e++) {
        expect(indices[e]).toBeLessThan(features);
        expect(Number.isFinite(values[e])).toBe(true);
        if (e > indptr[r]) expect(indices[e]).toBeGreaterThan(indices[e - 1]);
      }
    }
  }
});

describe('counting in bounded memory', () => {
  /** Copied one by one: bytes hold until the next term. */
  const merged = (runs: Run[], buffers?: number) =>
    Array.from(mergeRuns(runs, buffers), ({ section, bytes, df }) => [section, [...bytes], df]);

  it('adds up the terms of files through buffers far smaller than they are, and terms longer than a buffer', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'espalier-runs-'));
    try {
      const random = RandomStream.named(1, 'runs');
      const wanted = new Map<string, { section: number; text: string; df: number }>();
      const runs: Run[] = [];
      for (let r = 0; r < 20; r++) {
        const own = new Map<string, { section: number; text: string; df: number }>();
        for (let t = 0; t < 60; t++) {
          // Many terms in common; one in ten is longer than the smallest buffer.
          const length = random.below(10) === 0 ? 4000 + random.below(9000) : random.below(12);
          const term = { section: random.below(2), text: `${t % 30}`.padEnd(length, 'x'), df: 1 + r };
          const key = `${term.section} ${term.text}`;
          if (own.has(key)) continue;
          own.set(key, term);
          wanted.set(key, { ...term, df: term.df + (wanted.get(key)?.df ?? 0) });
        }
        const bytesOf = ({ section, text, df }: { section: number; text: string; df: number }) => {
          const head = Buffer.alloc(9);
          head[0] = section;
          head.writeUInt32LE(text.length, 1);
          head.writeUInt32LE(df, 5);
          return Buffer.concat([head, Buffer.from(text)]);
        };
        const file = join(directory, String(r));
        await writeFile(file, Buffer.concat([...own.values()].sort(inOrder).map(bytesOf)));
        runs.push({ file });
      }
      const all = [...wanted.values()].sort(inOrder);
      expect(merged(runs, 1)).toEqual(
        all.map(({ section, text, df }) => [section, [...Buffer.from(text)], df]),
      );
    } finally {
      await rm(directory, { recursive: true });
    }
  });
  const inOrder = (
    a: { readonly section: number; readonly text: string },
    b: { readonly section: number; readonly text: string },
  ) => a.section - b.section || Buffer.compare(Buffer.from(a.text), Buffer.from(b.text));

  it('gives the same counts however rows are shared out and tables spilled', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'espalier-counts-'));
    try {
      let file = 0;
      const settings = checkFeaturizerOptions({
        text: ['title', 'body'],
        characterNGrams: { min: 2, max: 3 },
      });
      fc.assert(
        fc.property(
          fc.array(row, { minLength: 1, maxLength: 20 }),
          fc.integer({ min: 1, max: 4 }),
          (data, threads) => {
            const whole = new TermCounts(settings);
            whole.add(packBlock(data, settings));
            const wanted = merged(whole.finish());
            const spillTo = () => join(directory, String(file++));
            const parts = Array.from(
              { length: threads },
              (_, t) => new TermCounts(settings, { memory: 1, ...(t === 0 ? {} : { spillTo }) }),
            );
            data.forEach((one, i) => {
              parts[i % threads].add(packBlock([one], settings));
            });
            const runs: Run[] = parts.flatMap((part) => part.finish());
            expect(merged(runs)).toEqual(wanted);
          },
        ),
        { numRuns: 30 },
      );
      expect(file).toBeGreaterThan(0);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
