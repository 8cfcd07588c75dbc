/**
 * What a search has tried, in its directory: `search.json` says what is searched, `trials.jsonl` has a line per trial,
 * written and on the disk before the next one begins. So a search that is killed loses one trial.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { EspalierError } from '../../errors.js';
import { writeFileAtomic } from '../../files.js';
import { RunLog, readRunLog } from '../../store/index.js';
import { trainConfig } from '../config.js';

const estimate = z.object({ value: z.number(), low: z.number(), high: z.number() });
const count = z.number().int().min(0);

export const trialRecord = z.object({
  /** 0-based, in the order of trying. */
  trial: count,
  /** 0: the default settings. */
  draw: count,
  rung: count,
  /** Training rows of the rung. */
  rows: count,
  /** `cut`: its time was over before its end; what it had scored counts. */
  status: z.enum(['done', 'cut', 'failed']),
  /** Name of the output layer. */
  output: z.string(),
  /** What was drawn, by path. */
  settings: z.record(z.string(), z.unknown()),
  score: z.object({ p1: estimate, p3: z.number(), p5: z.number(), epoch: z.number() }).nullable(),
  /** Accounted bytes of training on all rows. */
  bytes: z.number(),
  examplesPerSecond: z.number().nullable(),
  /** Of all training rows, at this speed. */
  secondsPerEpoch: z.number().nullable(),
  /** From the end of the trial before to its own end. */
  seconds: z.number().min(0),
  /** Draws passed over just before, as they were too large or too slow. */
  passedOver: count,
  /** Why it failed. */
  problem: z.string().nullable(),
  config: trainConfig,
});
export type TrialRecord = z.infer<typeof trialRecord>;

/** What the order of the trials depends on, beside their scores. */
export interface SearchHead {
  readonly format: 'espalier-search';
  readonly version: 1;
  readonly fingerprint: string;
  readonly seed: number;
  readonly leastRows: number;
  readonly maxMemory: number | null;
  readonly settings: unknown;
}
/** As stored: also the memory bound that was found at the start, where none was given. */
export interface StoredHead extends SearchHead {
  readonly bound: number;
}

const logFile = 'trials.jsonl';

export class Journal {
  readonly head: StoredHead;
  /** What is known of before. */
  readonly records: readonly TrialRecord[];
  readonly #log: RunLog;

  private constructor(head: StoredHead, records: readonly TrialRecord[], log: RunLog) {
    this.head = head;
    this.records = records;
    this.#log = log;
  }

  /**
   * Opens the search in `directory`, or begins it.
   *
   * @throws EspalierError `TUNE_OTHER_SEARCH` where another search is there, `TUNE_RECORD` for a damaged line
   */
  static async open(directory: string, head: SearchHead, bound: number): Promise<Journal> {
    const file = join(directory, 'search.json');
    const text = await readFile(file, 'utf8').catch((error: { code?: string }) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    const stored = text === null ? { ...head, bound } : sameSearch(text, head, file);
    if (text === null) await writeFileAtomic(file, `${JSON.stringify(stored, null, 2)}\n`);
    // Opening removes a line that a killed process left unfinished.
    const path = join(directory, logFile);
    const log = RunLog.open(path);
    try {
      const records: TrialRecord[] = [];
      for await (const { t: _t, event: _e, step, ...rest } of readRunLog(path)) {
        const parsed = trialRecord.safeParse(rest);
        if (!parsed.success) throw damaged(path, step + 1, parsed.error.issues[0].message);
        records.push(parsed.data);
      }
      return new Journal(stored, records, log);
    } catch (error) {
      log.close();
      throw error;
    }
  }

  add(record: TrialRecord): void {
    this.#log.write({ event: 'trial', step: record.trial, ...record });
    this.#log.sync();
  }

  close(): void {
    this.#log.close();
  }
}

function sameSearch(text: string, head: SearchHead, file: string): StoredHead {
  let stored: Partial<StoredHead> = {};
  try {
    stored = JSON.parse(text) as Partial<StoredHead>;
  } catch {}
  const { bound, ...rest } = stored ?? {};
  if (typeof bound === 'number' && JSON.stringify(rest) === JSON.stringify(head)) return { ...head, bound };
  const differs = Object.keys(head).filter(
    (key) => JSON.stringify(rest[key as keyof typeof rest]) !== JSON.stringify(head[key as keyof SearchHead]),
  );
  throw new EspalierError({
    code: 'TUNE_OTHER_SEARCH',
    kind: 'usage',
    op: 'tune',
    problem: 'another search is in this directory',
    expected: `what ${file} says`,
    received: `another ${differs.join(', ')}`,
    hint: 'name another --out, or give the settings that the search was begun with; the budget may differ',
    file,
  });
}

const damaged = (file: string, line: number, problem: string) =>
  new EspalierError({
    code: 'TUNE_RECORD',
    kind: 'data',
    op: 'tune',
    problem: `this is no record of a trial: ${problem}`,
    hint: 'remove the search directory to begin again',
    file,
    line,
  });
