/** Names for things being written, and the removal of those that a killed process left behind. */
import { randomBytes } from 'node:crypto';
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Temporaries that this process is writing now. */
const active = new Set<string>();

/** A hidden path in `directory` that no other process uses: `.<what>-<pid>-<random>`. */
export function temporaryPath(directory: string, what: string): string {
  return join(directory, `.${what}-${process.pid}-${randomBytes(4).toString('hex')}`);
}

/** Runs `work` while `path` is spared by `sweep`. */
export async function whileActive<T>(path: string, work: () => Promise<T>): Promise<T> {
  active.add(path);
  try {
    return await work();
  } finally {
    active.delete(path);
  }
}

const pattern = /^\.(.+)[.-](tmp|old)-(\d+)-[0-9a-f]+$/;

/**
 * Removes temporaries in `directory` whose writer is gone, of things whose names match `mine`; returns their names.
 * A thing that was moved aside
 * (`.<name>.old-*`) and never replaced goes back to its place instead.
 */
export async function sweep(directory: string, mine: RegExp): Promise<string[]> {
  const removed: string[] = [];
  const entries = await readdir(directory).catch(() => []);
  const there = new Set(entries);
  for (const entry of entries) {
    const match = pattern.exec(entry);
    const path = join(directory, entry);
    if (match === null || !mine.test(match[1]) || active.has(path) || otherLives(Number(match[3]))) continue;
    const [, name, what] = match;
    if (what === 'old' && !there.has(name)) {
      await rename(path, join(directory, name));
      there.add(name);
    } else {
      await rm(path, { recursive: true, force: true });
      removed.push(entry);
    }
  }
  return removed;
}

/** Our own number may have been that of an earlier process: in containers it is the same every time. */
function otherLives(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as { code?: string }).code === 'EPERM';
  }
}
