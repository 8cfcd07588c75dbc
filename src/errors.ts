/**
 * Every refusal of Espalier is data first, sentence second: a stable `code`, the operation, what was
 * expected, what came, where, and what to do about it.
 */

/** Whose mistake it is decides the exit code of programs: `usage` 2, everything else 1. */
export type ErrorKind = 'usage' | 'data' | 'numeric' | 'system';

export interface ErrorFacts {
  /** Stable, upper-case, e.g. `XC_LABEL_RANGE`. */
  readonly code: string;
  readonly kind: ErrorKind;
  /** The operation that refused, e.g. `readXc` or `gemm`. */
  readonly op: string;
  /** One sentence without a trailing full stop. */
  readonly problem: string;
  readonly expected?: string;
  readonly received?: string;
  /** What the user should do now. */
  readonly hint?: string;
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based. */
  readonly column?: number;
  readonly cause?: unknown;
}

export class EspalierError extends Error {
  readonly facts: ErrorFacts;

  constructor(facts: ErrorFacts) {
    super(sentence(facts), facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = 'EspalierError';
    this.facts = facts;
  }

  get code(): string {
    return this.facts.code;
  }

  /** Process exit code that a program should end with. */
  get exitCode(): 1 | 2 {
    return this.facts.kind === 'usage' ? 2 : 1;
  }
}

/** `file:line:column`, as far as they are known; empty without a file. */
export function placeOf({ file, line, column }: Pick<ErrorFacts, 'file' | 'line' | 'column'>): string {
  if (file === undefined) return '';
  return [file, ...(line === undefined ? [] : [line, ...(column === undefined ? [] : [column])])].join(':');
}

function sentence(f: ErrorFacts): string {
  const place = placeOf(f);
  const parts = [`${place === '' ? '' : `${place}: `}${f.op}: ${f.problem}`];
  if (f.expected !== undefined) parts.push(`expected ${f.expected}`);
  if (f.received !== undefined) parts.push(`received ${f.received}`);
  const hint = f.hint === undefined ? '' : ` Hint: ${f.hint}`;
  return `${parts.join('; ')} [${f.code}].${hint}`;
}

/** Throws unless `condition` holds; the facts are built only on failure. */
export function ensure(condition: boolean, facts: () => ErrorFacts): asserts condition {
  if (!condition) throw new EspalierError(facts());
}

/** The nearest of `candidates` to a mistyped `word`, or undefined when none is close (edit distance <= 1/3). */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, previous[j] + 1, row[j - 1] + 1));
    }
    previous = row;
  }
  return previous[b.length];
}
