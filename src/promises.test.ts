import { expect, test } from 'vitest';
import { both } from './promises.js';

const later = <T>(ms: number, end: () => T) => new Promise((resolve) => setTimeout(resolve, ms)).then(end);
const fail = (why: string) => () => {
  throw new Error(why);
};

test('both: the slower one is awaited, whichever fails, and the first one speaks', async () => {
  const order: string[] = [];
  const slow = later(20, () => order.push('slow'));
  await expect(both(later(1, fail('first')), slow)).rejects.toThrow('first');
  expect(order).toEqual(['slow']);
  await expect(both(later(20, fail('first')), later(1, fail('second')))).rejects.toThrow('first');
  await expect(both(Promise.resolve(1), later(1, fail('second')))).rejects.toThrow('second');
  expect(
    await both(
      Promise.resolve(1),
      later(1, () => 'b'),
    ),
  ).toEqual([1, 'b']);
});
