/** The HTTP server: routes, limits, and an end without loss. Everything about the model is behind `ModelHost`. */
import type { Server } from 'node:http';
import { availableParallelism } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { EspalierError } from '../errors.js';
import { both } from '../promises.js';
import type { LogLevel } from './app.js';
import { guardClients } from './clients.js';
import { limitsOf, type ServeLimits } from './limits.js';
import { ServeMetrics } from './metrics.js';
import { type HostLog, ModelHost } from './model-host.js';
import { workerFile } from './worker-lane.js';

export interface ServeOptions {
  /** A run directory, its pointer, or a model directory. */
  readonly model: string;
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
  /** Default 8080; 0 takes a free one. */
  readonly port?: number;
  /** Names under which a server on loopback may be called beside localhost: that of a proxy in front, say. */
  readonly allowHosts?: readonly string[];
  /** Threads that answer; default 1 on up to four cores, else one per core but one. */
  readonly workers?: number;
  /** Threads of the kernels per worker; default all cores for a single worker, else 1. */
  readonly threads?: number;
  readonly limits?: Partial<ServeLimits>;
  /** How often to look whether the model was replaced; default 1,000 ms. */
  readonly pollMs?: number;
  /** Compare the checksums of the model before the start, default true; replaced models are always checked. */
  readonly verify?: boolean;
  /** Level of the log, JSON lines on standard output; default `info`. */
  readonly logLevel?: LogLevel;
  /** The compiled `worker.js`, for those who run the server from source. */
  readonly workerFile?: URL;
}

export interface RunningServer {
  /** Where it listens, e.g. `http://127.0.0.1:8080`. */
  readonly url: string;
  readonly app: FastifyInstance;
  readonly host: ModelHost;
  readonly workers: number;
  readonly threads: number;
  /** Takes over a replaced model now, instead of at the next look. */
  reload(): Promise<void>;
  /** Refuses new connections, answers what was accepted, and ends; at the latest after `limits.drainMs`. */
  close(): Promise<void>;
}

/**
 * Serves a model over HTTP until `close`.
 *
 * @throws EspalierError `MODEL_*`, `SERVE_PORT`, `SERVE_LIMIT`, and what loading a model throws
 * @example const server = await serve({ model: 'runs/wn', port: 0 });
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { host = '127.0.0.1', port = 8080, pollMs = 1_000 } = options;
  const limits = limitsOf(options.limits ?? {});
  const { workers, threads } = shareCores(options);
  const metrics = new ServeMetrics();
  // NOTE: what answers HTTP takes as long to load as a thread to start: the model does not wait for it.
  const http = loadHttp(options.logLevel ?? 'info', limits);
  const starting = ModelHost.start({
    ...{ path: options.model, workers, threads, pollMs, verify: options.verify ?? true },
    workerFile: options.workerFile ?? workerFile,
    batching: { ...limits, onBatch: (...batch) => metrics.batch(...batch) },
    log: logLater(http.then(({ app }) => app.log)),
  });
  const [{ app, listen, namesAllowed, addRoutes }, models] = await both(http, starting).catch(
    async (error) => {
      await http.then(({ app }) => app.close()).catch(() => {});
      await starting.then((started) => started.close()).catch(() => {});
      throw error;
    },
  );
  const state = { draining: false, started: Date.now() };
  metrics.watch(models, () => app.server);
  guardClients(app, { limits, allowHosts: namesAllowed(host, options.allowHosts), metrics });
  let url: string;
  try {
    await addRoutes(app, { models, limits, metrics, state });
    url = await listen(app, { host, port, op: 'serve' });
  } catch (error) {
    await models.close();
    await app.close();
    throw error;
  }
  const { model, kernels } = models.current;
  app.log.info({ url, model: model.id, labels: model.shape.labels, workers, threads, kernels }, 'serving');
  let ending: Promise<void> | undefined;
  const end = async () => {
    state.draining = true;
    app.log.info({ pending: models.batcher.pendingRows }, 'draining');
    const force = setTimeout(() => app.server.closeAllConnections(), limits.drainMs);
    // A request may lie in the buffer of a connection that looks idle: answers now say `Connection: close`.
    await new Promise((resolve) => setTimeout(resolve, Math.min(limits.graceMs, limits.drainMs)));
    await acceptedAll(app.server, limits.drainMs / 2);
    await app.close();
    clearTimeout(force);
    await models.close();
    app.log.info({}, 'ended');
  };
  return {
    ...{ url, app, host: models, workers, threads },
    reload: () => models.reload(true),
    close: () => {
      ending ??= end();
      return ending;
    },
  };
}

/** The app, and what is done with it. */
async function loadHttp(level: LogLevel, limits: ServeLimits) {
  const [{ makeApp, listen, namesAllowed }, { addRoutes }] = await Promise.all([
    import('./app.js'),
    import('./routes.js'),
  ]);
  return { app: makeApp(level, limits), listen, namesAllowed, addRoutes };
}

/** A log that is yet to come; what is said before is said then, in order. */
function logLater(log: Promise<HostLog>): HostLog {
  const say = (level: keyof HostLog) => (facts: object, message: string) =>
    void log.then((own) => own[level](facts, message)).catch(() => {});
  return { info: say('info'), warn: say('warn'), error: say('error') };
}

/**
 * Waits until no connection waits to be accepted: closing the listener would reset those that do, with the requests
 * that they carry. The event loop accepts few connections per turn, so on a busy server some wait for seconds.
 */
async function acceptedAll(server: Server, longestMs: number): Promise<void> {
  const until = performance.now() + longestMs;
  let quiet = 0;
  const onConnection = () => {
    quiet = 0;
  };
  server.on('connection', onConnection);
  while (quiet++ < 5 && performance.now() < until) await new Promise((resolve) => setImmediate(resolve));
  server.off('connection', onConnection);
}

/**
 * One worker whose kernels use all cores answers a single question soonest; on larger machines many workers of one
 * thread each answer more questions. Workers with several threads would take turns: the kernels have one pool.
 */
function shareCores({ workers, threads }: ServeOptions): { workers: number; threads: number } {
  const cores = availableParallelism();
  const lanes = workers ?? (threads !== undefined || cores <= 4 ? 1 : cores - 1);
  const each = threads ?? (lanes === 1 ? Math.min(cores, 4) : 1);
  for (const [name, n] of Object.entries({ workers: lanes, threads: each })) {
    if (Number.isInteger(n) && n >= 1 && n <= 256) continue;
    throw new EspalierError({
      code: 'SERVE_LIMIT',
      kind: 'usage',
      op: 'serve',
      problem: `the number of ${name} is out of range`,
      expected: 'a whole number from 1 to 256',
      received: String(n),
    });
  }
  return { workers: lanes, threads: each };
}
