/** What every server of ours shares: limits, refusals as documents, where it listens and under which names. */
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import { EspalierError } from '../errors.js';
import { isLoopback } from './clients.js';
import type { ServeLimits } from './limits.js';
import { problemDocument, Refusal, sendProblem } from './problems.js';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/** Names beside localhost under which a server on loopback may be called; null: any, on other addresses. */
export const namesAllowed = (host: string, allowHosts: readonly string[] = []): readonly string[] | null =>
  isLoopback(host) ? allowHosts : null;

/** Listens, and returns the URL; throws `SERVE_PORT`. */
export async function listen(
  app: FastifyInstance,
  { host, port, op }: { readonly host: string; readonly port: number; readonly op: string },
): Promise<string> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw listenError(cause, host, port, op);
  }
  const address = app.server.address();
  const actual = typeof address === 'object' && address !== null ? address.port : port;
  return `http://${host.includes(':') ? `[${host}]` : host}:${actual}`;
}

/** A server with the limits, the refusals and the request ids of ours, without routes. */
export function makeApp(logLevel: LogLevel, limits: ServeLimits): FastifyInstance {
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

function listenError(cause: unknown, host: string, port: number, op: string): unknown {
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
    op,
    problem: found[0],
    received: `${host}:${port}`,
    hint: found[1],
    cause,
  });
}
