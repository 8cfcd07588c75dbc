import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { latinTable, OTHER, SLOW } from './latin.js';
import { pieceEnd } from './pieces.js';
import { fold, type WordRule, wordRuleDefaults, wordsOf } from './rule.js';
import { fnv } from './term-table.js';
import { Words } from './words.js';

const encoder = new TextEncoder();

function words(text: string, rule: Partial<WordRule> = {}, fast = true): string[] {
  const reader = new Words({ ...wordRuleDefaults, ...rule }, { fast });
  const bytes = encoder.encode(text);
  reader.read(bytes, 0, bytes.length);
  return reader.strings();
}

/** Every character the tables know, and those that lie in wait beside them. */
const latin = [
  ...Array.from({ length: 0x250 }, (_, code) => String.fromCharCode(code)),
  ...Array.from({ length: 0xc0 }, (_, i) => String.fromCharCode(0x2000 + i)),
];
const traps = [
  '\u0301',
  '\u200d',
  '\u00ad',
  'Σ',
  'ς',
  'İ',
  'ſ',
  'K',
  '日',
  '本',
  'カ',
  '\u3099',
  '。',
  '🙂',
  '🇩',
  'ﷺ',
  '가',
  'א',
  '"',
];
const often = [..."aZ1 9_'.,:;-\n\u2019\u00b7\u2026é"];
const character = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...often) },
  { weight: 3, arbitrary: fc.constantFrom(...latin) },
  { weight: 1, arbitrary: fc.constantFrom(...traps) },
);
const text = fc.array(character, { maxLength: 60 }).map((parts) => parts.join(''));
const rules: fc.Arbitrary<Partial<WordRule>> = fc.record({
  words: fc.constantFrom('segmenter' as const, 'segmenter' as const, 'ascii' as const),
  normalize: fc.constantFrom('NFKC' as const, 'NFC' as const, 'none' as const),
  lowerCase: fc.boolean(),
  foldAccents: fc.boolean(),
  minLength: fc.constantFrom(1, 2, 3),
  stopWords: fc.constantFrom([], ['the', 'a', 'É']),
});

describe('the fast path', () => {
  it('gives the words of Intl.Segmenter, for every rule', () => {
    fc.assert(
      fc.property(text, rules, (t, rule) => {
        expect(words(t, rule)).toEqual(words(t, rule, false));
      }),
      { numRuns: 3000 },
    );
  });

  it('agrees for every pair of Latin characters between letters and between digits', () => {
    const rule = wordRuleDefaults;
    for (const a of often) {
      for (const b of latin) {
        const probe = `x${a}${b}y 1${b}${a}2 ${a}${b}`;
        expect(words(probe), JSON.stringify(probe)).toEqual(wordsOf(probe, rule));
      }
    }
  });

  it('knows the letters of European languages, so that their texts do not go the slow way', () => {
    const { kind } = latinTable(wordRuleDefaults);
    for (const c of 'abcXYZ0189_äöüßéèêçñåøæœłşžőí ,.;:!?\'"()-\n') {
      expect(kind[c.charCodeAt(0)], c).not.toBe(SLOW);
    }
    expect(kind[0x250 + 0x26]).toBe(OTHER);
  });

  it('carries the hash of each word', () => {
    const reader = new Words(wordRuleDefaults);
    const bytes = encoder.encode('it’s 3.14 naïve 日本語');
    reader.read(bytes, 0, bytes.length);
    expect(reader.strings()).toEqual(['it’s', '3.14', 'naïve', '日本語']);
    for (let w = 0; w < reader.count; w++) {
      expect(reader.hash[w]).toBe(fnv(reader.bytes, reader.begin[w], reader.end[w]));
    }
  });
});

describe('pieces', () => {
  const sentence = fc.constantFrom(
    'The quick, brown fox can’t jump 32.3 feet.\n',
    '日本語の文章を単語に分割するのは難しい。',
    '東京特許許可局、すもももももももものうち、',
    '今天天气很好，我们去公园散步吧。',
    'Ελλάδα ΟΔΟΣ ο ',
    'e\u0301te\u0301 カ\u3099 ',
    'Übergrößenträger ',
  );

  it('cut where neither folding nor segmentation looks across: the words are those of the whole text', () => {
    fc.assert(
      fc.property(fc.array(sentence, { minLength: 5, maxLength: 30 }), (parts) => {
        const whole = parts.join('');
        expect(words(whole)).toEqual(wordsOf(whole, wordRuleDefaults));
      }),
      { numRuns: 60 },
    );
  });

  it('cover a text without gaps, are short, and never split a character', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(character, sentence), { minLength: 0, maxLength: 900 }), (parts) => {
        const whole = parts.join('');
        const bytes = encoder.encode(whole);
        let again = '';
        for (let at = 0; at < bytes.length; ) {
          const end = pieceEnd(bytes, at, bytes.length);
          expect(end - at).toBeLessThanOrEqual(768);
          expect(end).toBeGreaterThan(at);
          again += new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(at, end));
          at = end;
        }
        expect(again).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes));
      }),
      { numRuns: 100 },
    );
  });

  it('a million characters without a blank are read', () => {
    expect(words('a'.repeat(1_000_000)).join('')).toBe('a'.repeat(1_000_000));
    expect(words('日'.repeat(100_000)).join('')).toBe('日'.repeat(100_000));
  });
});

describe('the rule', () => {
  it('folds width, case and, when asked, accents', () => {
    expect(words('Ｃａｆé ΟΔΟΣ Straße ﬁn')).toEqual(['café', 'οδος', 'straße', 'fin']);
    expect(words('Café Ångström', { foldAccents: true })).toEqual(['cafe', 'angstrom']);
    expect(fold('É', { ...wordRuleDefaults, lowerCase: false })).toBe('É');
  });

  it('segments Japanese and Chinese', () => {
    expect(words('東京に行きました。')).toContain('東京');
    expect(words('我喜欢自然语言').length).toBeGreaterThan(1);
  });

  it('drops short and stop words, which are folded too', () => {
    expect(words('The Q of É a it', { minLength: 2, stopWords: ['THE', 'of'] })).toEqual(['it']);
  });

  it('reads anything: broken UTF-8 becomes U+FFFD, never a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const [fast, slow] = [true, false].map((f) => {
          const reader = new Words(wordRuleDefaults, { fast: f });
          reader.read(bytes, 0, bytes.length);
          return reader.strings();
        });
        expect(fast).toEqual(slow);
      }),
      { numRuns: 500 },
    );
  });
});
