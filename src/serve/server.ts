/** The HTTP server: routes, limits, and an end without loss. Everything about the model is behind `ModelHost`. */
import type { Server } from 'node:http';
import { availableParallelism } from 'node:os';
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import { EspalierError } from '../errors.js';
import { guardClients } from './clients.js';
import { limitsOf, type ServeLimits } from './limits.js';
import { ServeMetrics } from './metrics.js';
import { ModelHost } from './model-host.js';
import { problemDocument, Refusal, sendProblem } from './problems.js';
import { addRoutes } from './routes.js';
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
  /** Compare the checksums of the model before the start; replaced models are always checked. */
  readonly verify?: boolean;
  /** Level of the log, JSON lines on standard output; default `info`. */
  readonly logLevel?: 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';
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

const loopback = new Set(['localhost', '127.0.0.1', '::1', '[::1]']);

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
  const app = makeApp(options, limits);
  const metrics = new ServeMetrics();
  let models: ModelHost;
  try {
    models = await ModelHost.start({
      ...{ path: options.model, workers, threads, pollMs, verify: options.verify ?? false },
      workerFile: options.workerFile ?? workerFile,
      batching: { ...limits, onBatch: (...batch) => metrics.batch(...batch) },
      log: app.log,
    });
  } catch (error) {
    await app.close();
    throw error;
  }
  const state = { draining: false, started: Date.now() };
  metrics.watch(models, () => app.server);
  guardClients(app, { limits, allowHosts: loopback.has(host) ? (options.allowHosts ?? []) : null, metrics });
  await addRoutes(app, { models, limits, metrics, state });
  try {
    await app.listen({ host, port });
  } catch (cause) {
    await models.close();
    await app.close();
    throw listenError(cause, host, port);
  }
  const address = app.server.address();
  const actual = typeof address === 'object' && address !== null ? address.port : port;
  const url = `http://${host.includes(':') ? `[${host}]` : host}:${actual}`;
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

function makeApp({ logLevel = 'info' }: ServeOptions, limits: ServeLimits): FastifyInstance {
  const app = Fastify({
    logger: logLevel === 'silent' ? false : { level: logLevel, base: null },
    // One line per request is written by the routes, with the times that matter.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: limits.bodyBytes,
    // 'idle': connections without a request are closed when draining; the others get `Connection: close`.
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    keepAliveTimeout: limits.idleMs,
    requestTimeout: limits.requestMs,
    requestIdHeader: false,
    genReqId: requestIds(),
    routerOptions: { maxParamLength: 200 },
    http: {
      headersTimeout: Math.min(limits.headerMs, limits.requestMs),
      requestTimeout: limits.requestMs,
      keepAliveTimeout: limits.idleMs,
      connectionsCheckingInterval: 1_000,
      maxHeaderSize: 16_384,
    },
    clientErrorHandler: (error: NodeJS.ErrnoException, socket) => {
      const [status, code, detail] = clientErrors[error.code ?? ''] ?? [
        400,
        'HTTP_SYNTAX',
        'this is not a request of HTTP/1.1',
      ];
      if (!socket.writable || error.code === 'ECONNRESET') {
        socket.destroy();
        return;
      }
      const body = JSON.stringify(problemDocument(status, code, detail));
      socket.end(
        `HTTP/1.1 ${status} \r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
        // A peer that never reads must not keep the socket.
        () => socket.destroy(),
      );
    },
  });
  app.server.maxConnections = limits.connections;
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    sendProblem(new Refusal(404, 'ROUTE_UNKNOWN', 'there is nothing at this path'), request, reply);
  });
  return app;
}

const clientErrors: Readonly<Record<string, readonly [number, string, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'HEADER_TOO_LARGE', 'the headers are larger than this server takes'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'REQUEST_SLOW', 'the request did not arrive in time'],
};

function requestIds(): () => string {
  let next = 0;
  const prefix = `${process.pid.toString(36)}-${Date.now().toString(36)}`;
  return () => `${prefix}-${(next++).toString(36)}`;
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

function listenError(cause: unknown, host: string, port: number): unknown {
  const { code } = cause as NodeJS.ErrnoException;
  const known: Readonly<Record<string, readonly [string, string]>> = {
    EADDRINUSE: ['the port is in use', 'choose another with --port, 0 for any free one'],
    EACCES: ['the port may not be used by this user', 'choose a port above 1023'],
    EADDRNOTAVAIL: ['this machine has no such address', 'use 127.0.0.1, or 0.0.0.0 for all addresses'],
    ENOTFOUND: ['the host has no address', 'use 127.0.0.1, or 0.0.0.0 for all addresses'],
  };
  const found = known[code ?? ''];
  if (found === undefined) return cause;
  return new EspalierError({
    code: 'SERVE_PORT',
    kind: 'usage',
    op: 'serve',
    problem: found[0],
    received: `${host}:${port}`,
    hint: found[1],
    cause,
  });
}
