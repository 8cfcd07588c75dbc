import { describe, expect, it } from 'vitest';
import { parseSize } from '../size.js';

describe('parseSize', () => {
  it.each([
    ['2GiB', 2 * 2 ** 30],
    ['512 MiB', 512 * 2 ** 20],
    ['1.5gb', 1.5e9],
    ['10kB', 1e4],
    ['4096', 4096],
  ])('reads %s', (text, bytes) => expect(parseSize(text)).toBe(bytes));

  it.each(['', 'much', '-1GiB', '0', '2 TiBs', 'GiB'])('refuses %j', (text) => {
    expect(() => parseSize(text)).toThrow(/SIZE_SYNTAX/);
  });
});
