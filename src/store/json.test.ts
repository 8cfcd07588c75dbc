import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeJson, encodeJson } from './json.js';
import { refusalOf } from './scratch.testing.js';

const record = fc.dictionary(
  fc.oneof(
    fc.string().filter((key) => key !== 'nonFinite'),
    fc.constantFrom('__proto__', 'a/b', '~1', ''),
  ),
  fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.double().filter((x) => !Object.is(x, -0)),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null, true),
      fc.string(),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.string(), tie('value'), { maxKeys: 3 }),
    ),
  })).value,
);

describe('JSON without losses', () => {
  test('every record of plain data comes back, NaN and infinities too', () => {
    fc.assert(
      fc.property(record, (value) => {
        const text = encodeJson('test', value);
        expect(text).not.toContain('\n');
        expect(decodeJson('test', text, 'x')).toEqual({ ...value });
      }),
      { numRuns: 300 },
    );
  });

  test('what other tools read is plain JSON with nulls and a note', () => {
    const text = encodeJson('test', {
      loss: Number.NaN,
      m: { 'p/1': [1, Number.NEGATIVE_INFINITY] },
      gone: undefined,
    });
    expect(JSON.parse(text)).toEqual({
      loss: null,
      m: { 'p/1': [1, null] },
      nonFinite: { '/loss': 'NaN', '/m/p~11/1': '-Infinity' },
    });
  });

  test('what JSON would lose is refused with its place', async () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const cases: [unknown, string][] = [
      [new Float32Array(2), '/a/0'],
      [new Map([[1, 2]]), '/a/0'],
      [new Date(), '/a/0'],
      [10n, '/a/0'],
      [() => 1, '/a/0'],
      [undefined, '/a/0'],
      [cycle, '/a/0/self'],
    ];
    for (const [value, place] of cases) {
      const error = await refusalOf(() => encodeJson('test', { a: [value] }));
      expect(error.code).toBe('JSON_VALUE');
      expect(error.facts.problem).toContain(place);
    }
    expect((await refusalOf(() => encodeJson('test', { nonFinite: 1 }))).code).toBe('JSON_VALUE');
  });

  test('notes that lead nowhere, to a value or into a prototype are refused', async () => {
    for (const path of ['', '/b', '/a', '/a/b', '/__proto__/x', '/constructor/prototype/x', '/n/length']) {
      const text = `{"a":1,"n":[null],"nonFinite":{${JSON.stringify(path)}:"NaN"}}`;
      expect((await refusalOf(() => decodeJson('test', text, 'file'))).facts).toMatchObject({
        code: 'JSON_DAMAGED',
        file: 'file',
      });
    }
    for (const text of [
      '',
      '[]',
      'null',
      '{"a":null,"nonFinite":[]}',
      '{"a":null,"nonFinite":{"/a":"nan"}}',
    ]) {
      expect((await refusalOf(() => decodeJson('test', text, 'file', 3))).facts.line).toBe(3);
    }
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
  });
});
