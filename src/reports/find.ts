/** Which directories are runs. */
import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EspalierError } from '../errors.js';

export const logName = 'log.jsonl';
export const configName = 'config.json';
const deepest = 4;
/** Directories looked into; a listing ends there. */
const mostFolders = 5_000;
export const mostRuns = 200;

/**
 * Run directories in and below `roots`, the roots themselves included: what holds a log or a config. Links are not
 * followed. At most 200, in the order of their paths.
 */
export async function findRuns(roots: readonly string[]): Promise<string[]> {
  const found = new Set<string>();
  let looked = 0;
  const walk = async (directory: string, depth: number): Promise<void> => {
    if (found.size >= mostRuns || ++looked > mostFolders) return;
    let entries: Dirent[];
    try {
      entries = await readdir(directory, { withFileTypes: true });
    } catch {
      return;
    }
    const isRun = entries.some(
      (entry) => entry.isFile() && (entry.name === logName || (entry.name === configName && depth > 0)),
    );
    if (isRun) {
      found.add(directory);
      return;
    }
    if (depth === deepest) return;
    const folders = entries.filter(
      (entry) => entry.isDirectory() && !/^(\.|node_modules$|model-|checkpoints$)/.test(entry.name),
    );
    for (const { name } of folders.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })))
      await walk(join(directory, name), depth + 1);
  };
  for (const root of roots) await walk(root, 0);
  return [...found].slice(0, mostRuns);
}

/** Throws `RUNS_MISSING` where a path is no directory. */
export async function checkRoots(op: string, roots: readonly string[]): Promise<void> {
  for (const root of roots) {
    if ((await stat(root).catch(() => null))?.isDirectory()) continue;
    throw new EspalierError({
      code: 'RUNS_MISSING',
      kind: 'usage',
      op,
      problem: 'there is no directory here',
      expected: 'a run directory, or one that holds runs',
      hint: 'begin a run with: espalier train DATA --out runs/NAME',
      file: root,
    });
  }
}
