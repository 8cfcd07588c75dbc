import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LabelTable } from './label-table.js';

const half = fc.constantFrom('\ud83d', '\ude42', 'a', '', '日本', 'é');
const name = fc.array(half, { maxLength: 3 }).map((parts) => parts.join(''));

it('a table of labels gives every name as UTF-8 has it, whatever blocks they came in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(name, { maxLength: 6 }), { maxLength: 5 }), async (blocks) => {
      const table = await LabelTable.gather(
        (async function* () {
          yield* blocks;
        })(),
      );
      // One by one: half of a pair is no character, also where the next name begins with the other half.
      const names = blocks.flat().map((one) => Buffer.from(one).toString());
      expect(table.count).toBe(names.length);
      expect(names.map((_, l) => table.name(l))).toEqual(names);
      for (const one of names) expect(table.find(one)).toBe(names.indexOf(one));
      expect(table.name(names.length)).toBeUndefined();
    }),
    { numRuns: 300 },
  );
});
