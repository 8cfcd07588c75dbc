import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Notices, openSource } from './data/readers/index.js';
import { nestsDeeperThan, nestsTooDeep } from './nesting.js';
import { readRunLog } from './store/index.js';

it('depth is counted outside of texts alone, whatever is escaped in them', () => {
  for (const [json, depth] of [
    ['1', 0],
    ['[1,{"a":[2]}]', 3],
    ['{"[[[[":"]]\\"[[\\\\"}', 1],
    ['[[],[],[]]', 2],
  ] as const) {
    for (const form of [json, Buffer.from(json)]) {
      expect(nestsDeeperThan(depth, form)).toBe(false);
      if (depth > 0) expect(nestsDeeperThan(depth - 1, form)).toBe(true);
    }
  }
  expect(nestsTooDeep('['.repeat(1 << 16))).toBe(false);
  expect(nestsTooDeep('['.repeat(1 << 17))).toBe(true);
});

it('a line of brackets is refused by run logs and JSON lines before it is parsed', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'espalier-nesting-'));
  const path = join(directory, 'x.jsonl');
  const line = `{"a":${'['.repeat(1 << 20)}${']'.repeat(1 << 20)}}\n`;
  await writeFile(path, line);
  const log = async () => {
    for await (const record of readRunLog(path)) void record;
  };
  await expect(log()).rejects.toMatchObject({ code: 'JSON_DAMAGED' });
  await expect(openSource(path, 'jsonl', new Notices()).columns()).rejects.toMatchObject({
    code: 'JSON_LINES',
  });
  await rm(directory, { recursive: true });
});
