/** Many runs, followed together: found, read on, told of. */
import { basename, relative, resolve } from 'node:path';
import { EspalierError } from '../errors.js';
import { findRuns } from './find.js';
import { type RunChange, WatchedRun } from './run.js';
import type { RunReport, RunSummary } from './types.js';

/** Bytes of one log taken in before the next has its turn. */
const turnBytes = 8 << 20;
const findEveryMs = 2_000;

export interface SetChange {
  /** Runs came or went. */
  readonly listed: boolean;
  readonly runs: ReadonlyMap<WatchedRun, RunChange>;
}

/**
 * @example
 * const runs = new RunSet(['runs']);
 * await runs.update();
 * runs.summaries();
 */
export class RunSet {
  readonly #roots: readonly string[];
  #runs = new Map<string, WatchedRun>();
  #found = Number.NEGATIVE_INFINITY;

  constructor(roots: readonly string[]) {
    this.#roots = roots.map((root) => resolve(root));
  }

  /** Looks for new runs (every two seconds) and reads on in all logs. */
  async update(): Promise<SetChange> {
    const listed = performance.now() - this.#found >= findEveryMs && (await this.#find());
    const changes = new Map<WatchedRun, RunChange>();
    for (const run of this.#runs.values()) {
      const change = await run.update(turnBytes);
      if (change.changed || change.points.length > 0) changes.set(run, change);
    }
    return { listed, runs: changes };
  }

  summaries(): RunSummary[] {
    return [...this.#runs.values()].map((run) => run.summary());
  }

  get(id: string): WatchedRun | undefined {
    return [...this.#runs.values()].find((run) => run.id === id);
  }

  async #find(): Promise<boolean> {
    this.#found = performance.now();
    const directories = await findRuns(this.#roots);
    const before = this.#runs;
    this.#runs = new Map(
      directories.map((directory) => [
        directory,
        before.get(directory) ?? new WatchedRun(directory, this.#nameOf(directory)),
      ]),
    );
    return directories.length !== before.size || directories.some((directory) => !before.has(directory));
  }

  /** The path below its root; with several roots, with the root's own name. */
  #nameOf(directory: string): string {
    const root = this.#roots.find((r) => directory === r || directory.startsWith(`${r}/`)) ?? directory;
    const below = relative(root, directory);
    if (below === '') return basename(directory);
    return this.#roots.length === 1 ? below : `${basename(root)}/${below}`;
  }
}

/** Everything known of one run, read once; throws `RUN_MISSING` where there is neither log nor config. */
export async function readRun(directory: string): Promise<RunReport> {
  const path = resolve(directory);
  const report = await (await new WatchedRun(path, basename(path)).readAll()).report();
  if (report.status !== 'waiting' || report.config !== null || report.problems.length > 0) return report;
  throw new EspalierError({
    code: 'RUN_MISSING',
    kind: 'usage',
    op: 'readRun',
    problem: 'this directory is no run',
    expected: 'log.jsonl or config.json in it',
    hint: 'name the run directory, not the model in it',
    file: directory,
  });
}

/** All runs in and below `roots`, read once. */
export async function readRuns(roots: readonly string[]): Promise<RunReport[]> {
  const set = new RunSet(roots);
  await set.update();
  const reports: RunReport[] = [];
  for (const { id } of set.summaries()) {
    const run = set.get(id);
    if (run !== undefined) reports.push(await (await run.readAll()).report());
  }
  return reports;
}
