import { describe, expect, it } from 'vitest';
import { TfIdfFeaturizer, tfIdfDefaults, tokenize } from './tfidf.js';

describe('tokenize', () => {
  it('lower-cases, splits by the alphabet and drops short and stop words', () => {
    const rule = { alphabet: 'ascii', minLength: 2, stopWords: ['the'] } as const;
    expect(tokenize('The Q-factor of café no. 42', rule)).toEqual(['factor', 'of', 'caf', 'no', '42']);
    expect(tokenize('Käse, Ελλάδα', tfIdfDefaults)).toEqual(['käse', 'ελλάδα']);
  });
});

describe('TfIdfFeaturizer', () => {
  const rows = [
    ['red red apple', 'fruit'],
    ['red car', 'vehicle'],
    ['green apple', 'fruit'],
    ['blue sky', 'fruit'],
  ];
  const featurizer = TfIdfFeaturizer.fit(rows, { fields: ['text', 'kind'] });

  it('keeps words of at least two rows, the most frequent first, fields apart', () => {
    expect(featurizer.featureNames()).toEqual(['kind:fruit', 'text:apple', 'text:red']);
  });

  it('weighs (1 + ln tf) ln(N/df), then scales to unit norm', () => {
    const { indices, values } = featurizer.transform(['red red apple', 'fruit']);
    expect([...indices]).toEqual([0, 1, 2]);
    // ln(4/3), ln(4/2), (1 + ln 2) ln(4/2)
    const raw = [Math.log(4 / 3), Math.log(2), (1 + Math.LN2) * Math.log(2)];
    const norm = Math.hypot(...raw);
    expect([...values]).toEqual(raw.map((w) => Math.fround(w / norm)));
  });

  it('takes free text in the first field and leaves unknown words out', () => {
    expect([...featurizer.transform(['fruit apple zebra']).indices]).toEqual([1]);
    expect(featurizer.transform(['nothing known']).indices.length).toBe(0);
  });

  it('gives a row whose words are in every document weights of zero, not NaN', () => {
    const common = TfIdfFeaturizer.fit([['same'], ['same']]);
    expect([...common.transform(['same']).values]).toEqual([0]);
  });

  it('refuses fields that are alike or hold a colon, and texts beyond the fields', () => {
    for (const fields of [[], ['a', 'a'], ['a:b']]) {
      expect(() => TfIdfFeaturizer.fit([], { fields })).toThrow(
        expect.objectContaining({ code: 'FEATURIZER_FIELDS' }),
      );
    }
    const beyond = expect.objectContaining({ code: 'FEATURIZER_TEXTS' });
    expect(() => featurizer.transform(['a', 'b', 'c'])).toThrow(beyond);
    expect(() => TfIdfFeaturizer.fit([['a', 'b']])).toThrow(beyond);
  });

  it.each([
    null,
    {},
    { format: 'espalier-tfidf', version: 2 },
    { ...featurizer.toJSON(), terms: [['a', 0]] },
  ])('refuses a state that is none (%#)', (state) => {
    expect(() => TfIdfFeaturizer.fromJSON(state)).toThrow(
      expect.objectContaining({ code: 'FEATURIZER_STATE' }),
    );
  });
});
