import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Calls `use` with an empty folder and removes it afterwards. */
export async function inScratch(use) {
  const home = await mkdtemp(join(tmpdir(), 'espalier-example-'));
  try {
    return await use(home);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
