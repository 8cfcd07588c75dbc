/** What programs print: results on stdout, progress and remarks on stderr. */
import pc from 'picocolors';
import { EspalierError, placeOf } from '../errors.js';

export const out = (line = ''): void => {
  process.stdout.write(`${line}\n`);
};

export const note = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

/** Prints an error as a user wants to read it and returns the exit code. */
export function reportError(error: unknown): number {
  if (error instanceof RangeError && /array buffer allocation failed/i.test(error.message)) {
    note(`${pc.red('error')} ${pc.dim('OUT_OF_MEMORY')} the system has no room for a buffer that is needed`);
    note(
      `  ${pc.cyan('what to do:')} free some memory, or ask \`espalier plan --max-memory SIZE\` what fits`,
    );
    return 1;
  }
  if (error instanceof EspalierError) {
    const { facts } = error;
    const place = placeOf(facts);
    note(`${pc.red('error')} ${pc.dim(facts.code)} ${place === '' ? '' : `${place}: `}${facts.problem}`);
    if (facts.expected !== undefined) note(`  expected ${facts.expected}`);
    if (facts.received !== undefined) note(`  received ${facts.received}`);
    if (facts.hint !== undefined) note(`  ${pc.cyan('what to do:')} ${facts.hint}`);
    return error.exitCode;
  }
  note(`${pc.red('error')} ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  note('  this is a fault of the program itself: please report it with the lines above');
  return 1;
}

/** One line that is rewritten on a terminal; plain lines, at most one in `everyMs`, elsewhere. */
export class ProgressLine {
  readonly #live: boolean;
  readonly #everyMs: number;
  #last = Number.NEGATIVE_INFINITY;
  #open = false;

  constructor(everyMs = 10_000, live: boolean = process.stderr.isTTY === true) {
    this.#live = live;
    this.#everyMs = everyMs;
  }

  show(text: string): void {
    const now = performance.now();
    if (this.#live) {
      if (now - this.#last < 100) return;
      this.#last = now;
      const width = process.stderr.columns ?? 100;
      process.stderr.write(`\r\x1b[2K${text.slice(0, width - 1)}`);
      this.#open = true;
    } else if (now - this.#last >= this.#everyMs) {
      this.#last = now;
      note(text);
    }
  }

  /** A line that stays. */
  say(text: string): void {
    this.clear();
    note(text);
  }

  clear(): void {
    if (this.#open) process.stderr.write('\r\x1b[2K');
    this.#open = false;
  }
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, '0')}s`;
  return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, '0')}m`;
}

/** `[#####     ]  52 %` */
export function bar(share: number, width = 20): string {
  const done = Math.max(0, Math.min(1, Number.isFinite(share) ? share : 0));
  const full = Math.round(done * width);
  return `[${'#'.repeat(full)}${' '.repeat(width - full)}] ${String(Math.floor(100 * done)).padStart(3)} %`;
}
