import { describe, expect, it } from 'vitest';
import { minutes } from './tune.js';

describe('the budget of a search', () => {
  it.each([
    ['20m', 20],
    ['90s', 1.5],
    ['1.5h', 90],
    ['3 min', 3],
    ['7', 7],
  ])('%s is %d minutes', (text, expected) => expect(minutes(text)).toBe(expected));

  it.each(['', 'soon', '0', '-3m', '0s', '5 days', 'm'])('refuses %j', (text) => {
    expect(() => minutes(text)).toThrow(/90s, 20m, 2h/);
  });
});
