/** What a server takes on, and for how long: every one of these can be set, none can be switched off. */
import { ensure } from '../errors.js';

export interface ServeLimits {
  /** Largest request body. */
  readonly bodyBytes: number;
  /** Inputs per request. */
  readonly rows: number;
  /** Labels per input. */
  readonly k: number;
  /** Labels explained per input. */
  readonly explain: number;
  /** Rows that may wait; a request beyond is refused at once. */
  readonly queueRows: number;
  /** Rows that a worker answers at once. */
  readonly batchRows: number;
  /** Requests of one address in the server at once; beyond: 429. */
  readonly perClient: number;
  /** From acceptance to answer; later a request is refused. */
  readonly timeoutMs: number;
  /** For the head of a request to arrive. */
  readonly headerMs: number;
  /** For the whole of a request to arrive. */
  readonly requestMs: number;
  /** For an idle connection to ask again. */
  readonly idleMs: number;
  /** Open connections; further ones are closed. */
  readonly connections: number;
  /** For requests to finish after SIGTERM. */
  readonly drainMs: number;
  /** After SIGTERM, for requests that are under way to arrive, before idle connections are closed. */
  readonly graceMs: number;
}

export const defaultLimits: ServeLimits = {
  bodyBytes: 2 ** 20,
  rows: 256,
  k: 1000,
  explain: 10,
  queueRows: 1024,
  batchRows: 64,
  perClient: 4096,
  timeoutMs: 2_000,
  headerMs: 10_000,
  requestMs: 30_000,
  idleMs: 30_000,
  connections: 20_000,
  drainMs: 10_000,
  graceMs: 100,
};

export function limitsOf(given: Partial<ServeLimits>): ServeLimits {
  const limits = { ...defaultLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    // Timers of Node count to 2^31 - 1.
    ensure(Number.isInteger(value) && value > 0 && value < 2 ** 31, () => ({
      code: 'SERVE_LIMIT',
      kind: 'usage',
      op: 'serve',
      problem: `the limit ${name} is out of range`,
      expected: 'a whole number from 1 to 2147483647',
      received: String(value),
    }));
  }
  return limits;
}
