/** One run directory, followed: its log, its config, its model, its evaluations. */
import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openModel } from '../store/index.js';
import { LogDigest } from './digest.js';
import { readEvaluations } from './evaluation.js';
import { configName, logName } from './find.js';
import { LogTail } from './log-tail.js';
import type { LivePoint, RunReport, RunStatus, RunSummary } from './types.js';

const largestConfig = 1 << 20;
/** A run that has said nothing for so long has stopped: validations and rewirings take their time. */
const silentMs = 120_000;

export interface RunChange {
  readonly points: readonly LivePoint[];
  /** Something beyond the points: read the report again. */
  readonly changed: boolean;
}

export class WatchedRun {
  readonly id: string;
  readonly name: string;
  readonly directory: string;
  readonly #tail: LogTail;
  #digest = new LogDigest();
  #points: LivePoint[] = [];
  #changed = false;
  #status: RunStatus = 'waiting';
  #config: unknown = null;
  #configSeen = '';
  #modelBytes: number | null = null;
  #modelSeen = '';
  #problems: string[] = [];

  constructor(directory: string, name: string) {
    this.directory = directory;
    this.name = name;
    this.id = createHash('sha256').update(directory).digest('hex').slice(0, 12);
    this.#tail = new LogTail(join(directory, logName), {
      line: (bytes) => this.#note(this.#digest.line(bytes)),
      tooLong: () => this.#note(this.#digest.tooLong()),
      reset: () => {
        this.#digest = new LogDigest();
        this.#points = [];
        this.#changed = true;
      },
    });
  }

  #note(said: LivePoint | 'changed' | null): void {
    if (said === 'changed') this.#changed = true;
    // Beyond some hundred at once, the page reads the report instead.
    else if (said !== null && this.#points.push(said) > 500) {
      this.#points = [];
      this.#changed = true;
    }
  }

  /** Reads on, at most about `budget` bytes of the log. */
  async update(budget: number): Promise<RunChange> {
    if (this.#tail.position === 0) {
      this.#digest.expect((await stat(this.#tail.path).catch(() => null))?.size ?? 0);
    }
    await this.#tail.read(budget);
    await this.#readConfig();
    const status = this.#statusNow();
    if (status !== this.#status) this.#changed = true;
    this.#status = status;
    const change = { points: this.#points, changed: this.#changed };
    this.#points = [];
    this.#changed = false;
    return change;
  }

  /** Reads to the end of the log. */
  async readAll(): Promise<this> {
    do await this.update(64 << 20);
    while (this.#tail.position < this.#tail.size);
    return this;
  }

  get readShare(): number {
    return this.#tail.size === 0 ? 1 : Math.min(1, this.#tail.position / this.#tail.size);
  }

  #statusNow(): RunStatus {
    const { ended, updated } = this.#digest.summary();
    if (updated === null) return 'waiting';
    if (ended) return 'finished';
    return Date.now() - updated < silentMs ? 'running' : 'stopped';
  }

  summary(): RunSummary {
    const { ended: _, ...told } = this.#digest.summary();
    return {
      ...{
        id: this.id,
        name: this.name,
        directory: this.directory,
        status: this.#status,
        readShare: this.readShare,
      },
      ...told,
      problems: [...told.problems, ...this.#problems],
      output: outputOf(this.#config),
      modelBytes: this.#modelBytes,
    };
  }

  async report(): Promise<RunReport> {
    await this.#readModel();
    const { evaluations, problems } = await readEvaluations(this.directory);
    const { ended: _, ...log } = this.#digest.report();
    const summary = this.summary();
    return {
      ...log,
      ...summary,
      problems: [...summary.problems, ...problems],
      config: this.#config,
      evaluations,
    };
  }

  async #readConfig(): Promise<void> {
    const path = join(this.directory, configName);
    const found = await stat(path).catch(() => null);
    const seen = found === null ? '' : `${found.mtimeMs}:${found.size}`;
    if (seen === this.#configSeen) return;
    this.#configSeen = seen;
    this.#changed = true;
    this.#problems = [];
    this.#config = null;
    if (found === null) return;
    try {
      if (found.size > largestConfig) throw new Error('it is larger than a mebibyte');
      this.#config = JSON.parse(await readFile(path, 'utf8'));
    } catch (error) {
      this.#problems = [`${configName} cannot be read: ${(error as Error).message.slice(0, 120)}`];
    }
  }

  async #readModel(): Promise<void> {
    const seen = String((await stat(join(this.directory, 'model')).catch(() => null))?.mtimeMs ?? '');
    if (seen === this.#modelSeen) return;
    this.#modelSeen = seen;
    this.#modelBytes = seen === '' ? null : await modelBytes(this.directory).catch(() => null);
  }
}

/** Of all files of a run's model; throws what opening it throws. */
export async function modelBytes(run: string): Promise<number> {
  const stored = await openModel(run);
  try {
    return Object.values(stored.manifest.files).reduce((sum, { bytes }) => sum + bytes, 0);
  } finally {
    await stored.close();
  }
}

/** `fan-in 128`, `dense`, `grouped 128`: from a config, as far as it has one. */
function outputOf(config: unknown): string | null {
  const output = (config as { model?: { output?: Record<string, unknown> } } | null)?.model?.output;
  if (typeof output?.kind !== 'string') return null;
  const size =
    typeof output.fanIn === 'number' ? output.fanIn : typeof output.width === 'number' ? output.width : null;
  return `${output.kind.slice(0, 40)}${size === null ? '' : ` ${size}`}`;
}
