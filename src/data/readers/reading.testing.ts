/** What tests of readers share: files in a folder of their own, and everything that a source yields. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import type { RecordSource } from './record-source.js';

/** Writes files; the folder goes when the tests of the file are over. */
export function filesOfTests(): (content: string | Uint8Array, ending?: string) => Promise<string> {
  let home: string;
  let files = 0;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'espalier-readers-'));
  });
  afterAll(() => rm(home, { recursive: true }));
  return async (content, ending = 'x') => {
    const path = join(home, `${files++}.${ending}`);
    await writeFile(path, content);
    return path;
  };
}

export async function all(source: RecordSource, columns?: readonly string[]) {
  const names = columns ?? (await source.columns());
  const rows: unknown[][] = [];
  const lines: number[] = [];
  for await (const batch of source.batches(names)) {
    rows.push(...batch.rows.map((row) => [...row]));
    lines.push(...Array.from(batch.lines));
  }
  return { names, rows, lines };
}

export const code = (c: string, facts: object = {}) =>
  expect.objectContaining({ code: c, facts: expect.objectContaining(facts) });
