/**
 * The client of `espalier serve`, for Node and browsers: typed, without dependencies. It retries what the server asks
 * to be retried and reports every refusal as the server's own problem document.
 *
 * @example
 * import { EspalierClient } from 'espalier/client';
 * const model = new EspalierClient('http://127.0.0.1:8080');
 * const { predictions } = await model.predict('small domesticated carnivore', { k: 3 });
 */
import type {
  Features,
  FieldValues,
  HealthResponse,
  LabelResponse,
  ModelResponse,
  PredictRequest,
  PredictResponse,
  PredictResult,
  Problem,
} from './types.js';

export type * from './types.js';

export interface ClientOptions {
  /** Per attempt; default 10,000 ms. */
  readonly timeoutMs?: number;
  /** Further attempts after 429, 503 and failures of the network; default 2. */
  readonly retries?: number;
  /** The longest wait between attempts, whatever Retry-After says; default 5,000 ms. */
  readonly longestWaitMs?: number;
  /** Sent with every request, e.g. an Authorization header for a proxy. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default: the global `fetch`. */
  readonly fetch?: typeof globalThis.fetch;
}

export type PredictSettings = Omit<PredictRequest, 'text' | 'fields' | 'features'> & CallOptions;

export interface CallOptions {
  readonly signal?: AbortSignal;
}

/** Free text, values by field, or numbered features. */
export type ClientInput = string | FieldValues | Features;

/** A refusal: the status and the server's problem document, or what else it sent. */
export class EspalierApiError extends Error {
  readonly status: number;
  readonly code: string;
  readonly problem: Problem;
  /** What Retry-After said. */
  readonly retryAfterSeconds: number | null;

  constructor(problem: Problem, retryAfterSeconds: number | null) {
    const hint = problem.hint === undefined ? '' : ` Hint: ${problem.hint}`;
    super(`${problem.status} ${problem.title}: ${problem.detail} [${problem.code}].${hint}`);
    this.name = 'EspalierApiError';
    this.status = problem.status;
    this.code = problem.code;
    this.problem = problem;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export class EspalierClient {
  readonly #base: string;
  readonly #options: Required<Omit<ClientOptions, 'fetch'>>;
  readonly #fetch: typeof globalThis.fetch;

  /** `base`: where the server is, e.g. `http://127.0.0.1:8080`, with a path where a proxy adds one. */
  constructor(base: string | URL, options: ClientOptions = {}) {
    this.#base = String(base).replace(/\/+$/, '');
    const { timeoutMs = 10_000, retries = 2, longestWaitMs = 5_000, headers = {} } = options;
    this.#options = { timeoutMs, retries, longestWaitMs, headers };
    this.#fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  /**
   * The best labels of one input.
   * @throws EspalierApiError for refusals; TypeError and DOMException of `fetch` for network and timeout
   */
  async predict(input: ClientInput, settings: PredictSettings = {}): Promise<PredictResult> {
    const { results } = await this.#ask(inputOf(input), settings);
    return results[0];
  }

  /** The best labels of several inputs of one sort, in their order. */
  async predictAll(inputs: readonly ClientInput[], settings: PredictSettings = {}): Promise<PredictResponse> {
    return this.#ask(inputsOf(inputs), settings);
  }

  /** What a label, by name or by number, is made of, and the labels most alike. */
  label(
    label: string | number,
    options: CallOptions & { readonly top?: number } = {},
  ): Promise<LabelResponse> {
    const query = new URLSearchParams(typeof label === 'number' ? { id: String(label) } : { name: label });
    if (options.top !== undefined) query.set('top', String(options.top));
    return this.#call('GET', `/label?${query}`, undefined, options);
  }

  /** What is served. */
  model(options: CallOptions = {}): Promise<ModelResponse> {
    return this.#call('GET', '/model', undefined, options);
  }

  health(options: CallOptions = {}): Promise<HealthResponse> {
    return this.#call('GET', '/healthz', undefined, options);
  }

  #ask(input: PredictRequest, { signal, ...settings }: PredictSettings): Promise<PredictResponse> {
    return this.#call('POST', '/predict', { ...input, ...settings }, { signal });
  }

  async #call<T>(method: string, path: string, body: unknown, { signal }: CallOptions): Promise<T> {
    const { retries, longestWaitMs } = this.#options;
    for (let attempt = 0; ; attempt++) {
      let wait = 100 * 2 ** attempt;
      try {
        return await this.#once<T>(method, path, body, signal);
      } catch (error) {
        if (attempt >= retries || signal?.aborted || !worthAnotherTry(error)) throw error;
        if (error instanceof EspalierApiError && error.retryAfterSeconds !== null) {
          wait = 1000 * error.retryAfterSeconds;
        }
      }
      await pause(Math.min(wait, longestWaitMs), signal);
    }
  }

  async #once<T>(method: string, path: string, body: unknown, signal: AbortSignal | undefined): Promise<T> {
    const limit = AbortSignal.timeout(this.#options.timeoutMs);
    const response = await this.#fetch(this.#base + path, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...this.#options.headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    const text = await response.text();
    if (response.ok) return JSON.parse(text) as T;
    const after = Number(response.headers.get('retry-after') ?? Number.NaN);
    throw new EspalierApiError(
      problemIn(text, response),
      Number.isFinite(after) && after >= 0 ? after : null,
    );
  }
}

function inputOf(input: ClientInput): PredictRequest {
  if (typeof input === 'string') return { text: input };
  return isFeatures(input) ? { features: input } : { fields: input };
}

function inputsOf(inputs: readonly ClientInput[]): PredictRequest {
  if (inputs.every((input) => typeof input === 'string')) return { text: inputs };
  const rest = inputs.filter((input) => typeof input !== 'string');
  const features = rest.filter(isFeatures);
  if (features.length === inputs.length) return { features };
  if (features.length === 0 && rest.length === inputs.length) return { fields: rest as FieldValues[] };
  throw new TypeError('predictAll takes inputs of one sort: texts, fields or features');
}

const isFeatures = (input: Exclude<ClientInput, string>): input is Features =>
  Array.isArray(input.indices) && Array.isArray(input.values);

function worthAnotherTry(error: unknown): boolean {
  if (error instanceof EspalierApiError) return error.status === 429 || error.status === 503;
  // `fetch` words failures of the network as TypeError; a timeout has had its time already.
  return error instanceof TypeError;
}

/** The problem document of a refusal, or one made of whatever stands between us and the server. */
function problemIn(text: string, { status, statusText }: Response): Problem {
  try {
    const found = JSON.parse(text) as Problem;
    if (typeof found.code === 'string' && typeof found.detail === 'string') return { ...found, status };
  } catch {}
  const title = statusText || `status ${status}`;
  return { type: 'about:blank', title, status, detail: text.slice(0, 200) || title, code: `HTTP_${status}` };
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
