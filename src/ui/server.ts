/** The dashboard: what runs tell, over HTTP to a page on this machine, live while they train. */
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { checkRoots, RunSet } from '../reports/index.js';
import { type LogLevel, listen, makeApp, namesAllowed } from '../serve/app.js';
import { guardClients } from '../serve/clients.js';
import { limitsOf } from '../serve/limits.js';
import { readPage } from '../serve/page.js';
import { Refusal } from '../serve/problems.js';
import { refuseOtherMethods } from '../serve/routes.js';
import { EventStreams } from './streams.js';

export interface UiOptions {
  /** Run directories, or directories that hold runs. */
  readonly runs: readonly string[];
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
  /** Default 8090; 0 takes a free one. */
  readonly port?: number;
  readonly allowHosts?: readonly string[];
  /** Between looks at the logs; default 500 ms. */
  readonly pollMs?: number;
  /** Default `silent`. */
  readonly logLevel?: LogLevel;
  /** The built page, for those who run the server from source. */
  readonly page?: URL;
}

export interface RunningUi {
  readonly url: string;
  readonly app: FastifyInstance;
  close(): Promise<void>;
}

/**
 * Serves the dashboard until `close`.
 *
 * @throws EspalierError `RUNS_MISSING`, `SERVE_PORT`
 * @example const ui = await startUi({ runs: ['runs'], port: 0 });
 */
export async function startUi(options: UiOptions): Promise<RunningUi> {
  const { host = '127.0.0.1', port = 8090, pollMs = 500, logLevel = 'silent' } = options;
  await checkRoots('ui', options.runs);
  const limits = limitsOf({ connections: 200, perClient: 64 });
  // What is built has the styles of both pages in one.
  const page = await readPage(options.page ?? new URL('./page/', import.meta.url), ['page.css']);
  const app = makeApp(logLevel, limits);
  const runs = new RunSet(options.runs);
  const streams = new EventStreams();
  guardClients(app, { limits, allowHosts: namesAllowed(host, options.allowHosts) });
  addRoutes(app, { runs, streams, page });

  let timer: NodeJS.Timeout | undefined;
  let closed = false;
  const look = async () => {
    try {
      const { listed, runs: changes } = await runs.update();
      if (streams.count > 0) {
        if (listed || [...changes.values()].some(({ changed }) => changed))
          streams.send('runs', runs.summaries());
        for (const [{ id }, { points, changed }] of changes) streams.send('run', { id, points, changed });
      }
    } catch (error) {
      app.log.error({ err: error }, 'looking at the runs failed');
    }
    if (!closed) timer = setTimeout(look, streams.count > 0 ? pollMs : 4 * pollMs);
  };
  await look();
  let url: string;
  try {
    url = await listen(app, { host, port, op: 'ui' });
  } catch (error) {
    closed = true;
    clearTimeout(timer);
    await app.close();
    throw error;
  }
  return {
    url,
    app,
    close: async () => {
      closed = true;
      clearTimeout(timer);
      streams.close();
      await app.close();
    },
  };
}

interface Parts {
  readonly runs: RunSet;
  readonly streams: EventStreams;
  readonly page: { readonly html: string; readonly policy: string };
}

function addRoutes(app: FastifyInstance, { runs, streams, page }: Parts): void {
  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff').header('cache-control', 'no-store');
  });
  app.get('/', async (_request, reply) => {
    reply.type('text/html; charset=utf-8').header('content-security-policy', page.policy);
    return page.html;
  });
  app.get('/api/runs', async () => runs.summaries());
  app.get<{ Params: { id: string } }>('/api/runs/:id', async ({ params }) => {
    // Ids are looked up, never made into paths.
    const run = runs.get(params.id);
    if (run === undefined) {
      throw new Refusal(404, 'RUN_UNKNOWN', 'there is no such run here', {
        expected: 'an id from /api/runs',
        received: params.id.slice(0, 80),
      });
    }
    return run.report();
  });
  app.get('/api/events', { exposeHeadRoute: false }, (request, reply) => {
    if (streams.count >= 32)
      throw new Refusal(503, 'STREAMS_FULL', 'too many pages are open', { retryAfter: 5 });
    reply.hijack();
    const response: ServerResponse = reply.raw;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
    streams.add(response);
    streams.sendTo(response, 'runs', runs.summaries());
    request.raw.on('close', () => response.end());
  });
  refuseOtherMethods(app, ['/', '/api/runs', '/api/runs/:id'], 'GET, HEAD');
  refuseOtherMethods(app, ['/api/events'], 'GET');
}
