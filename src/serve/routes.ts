/** The paths of the server. */
import type { FastifyInstance } from 'fastify';
import type { HealthResponse, LabelResponse, ModelResponse } from '../client/types.js';
import type { SharedModel } from '../model/shared-model.js';
import { version } from '../version.js';
import { predictResponse } from './answers.js';
import type { ServeLimits } from './limits.js';
import type { ServeMetrics } from './metrics.js';
import type { ModelHost } from './model-host.js';
import { openApi } from './openapi.js';
import { readPage } from './page.js';
import { Refusal } from './problems.js';
import { labelSchema, predictParser, refuseIssue } from './schema.js';

export interface RouteParts {
  readonly models: ModelHost;
  readonly limits: ServeLimits;
  readonly metrics: ServeMetrics;
  readonly state: { readonly draining: boolean; readonly started: number };
}

export async function addRoutes(app: FastifyInstance, parts: RouteParts): Promise<void> {
  const { models, limits, metrics, state } = parts;
  const parse = predictParser(limits);
  const document = openApi(limits, version);
  const page = await readPage();

  app.addHook('onSend', async (_request, reply) => {
    reply.header('x-content-type-options', 'nosniff');
    if (state.draining) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? 'unknown';
    const ms = reply.elapsedTime;
    metrics.request(route, reply.statusCode, ms);
    const facts = { method: request.method, route, status: reply.statusCode, ms };
    if (reply.statusCode >= 500) request.log.warn(facts, 'request');
    else request.log.debug(facts, 'request');
  });

  app.post('/predict', {
    // Before the body is read: a server that is overloaded does not parse what it will refuse.
    onRequest: async () => {
      if (models.batcher.accepts(1)) return;
      metrics.refused('overload');
      throw models.batcher.overloaded();
    },
    handler: async (request, reply) => {
      const parsed = parse(request.body);
      const gone = new AbortController();
      const onClose = () => gone.abort();
      reply.raw.once('close', onClose);
      try {
        return predictResponse(parsed, await models.batcher.submit(parsed, gone.signal));
      } catch (error) {
        if (error instanceof Refusal && error.status >= 499) metrics.refused(error.code.toLowerCase());
        throw error;
      } finally {
        reply.raw.off('close', onClose);
      }
    },
  });

  app.get('/label', async (request): Promise<LabelResponse> => {
    const parsed = labelSchema.safeParse(request.query);
    if (!parsed.success) throw refuseIssue(parsed.error.issues[0], ['name', 'id', 'top']);
    const { name, id, top } = parsed.data;
    const generation = models.current;
    const { labels, model } = generation;
    const label = id ?? (name === undefined ? -1 : labels.find(name));
    if (!(label >= 0 && label < model.shape.labels)) {
      throw new Refusal(404, 'LABEL_UNKNOWN', 'the model has no such label', {
        expected: `a name, or an id from 0 to ${model.shape.labels - 1}`,
        received: name?.slice(0, 80) ?? (id === undefined ? 'neither name nor id' : String(id)),
      });
    }
    const nameOf = (l: number) => labels.name(l) ?? String(l);
    const facts = await models.describeLabel(generation, label, top);
    const neighbours = facts.neighbours.map((near) => ({ ...near, name: nameOf(near.label) }));
    return { model: model.id, ...facts, name: nameOf(label), neighbours };
  });

  app.get('/model', async (): Promise<ModelResponse> => {
    const { model } = models.current;
    const { k, rows, bodyBytes } = limits;
    return {
      ...{ model: model.id, ...model.shape, output: model.spec.output.kind, loss: model.spec.loss },
      fields: fieldsOf(model),
      ...{
        probabilities: model.spec.loss === 'bce' || model.calibration !== null,
        rare: model.frequencies !== null,
        remembered: model.remembered?.examples.rows ?? 0,
        limits: { k, rows, bodyBytes },
      },
    };
  });

  app.get('/healthz', async (_request, reply): Promise<HealthResponse> => {
    const { model, loadedAt } = models.current;
    const { draining, started } = state;
    if (draining || models.batcher.lanes === 0) reply.code(503);
    return {
      ...{ status: draining ? 'draining' : 'ok', model: model.id, loadedAt: loadedAt.toISOString() },
      uptimeSeconds: (Date.now() - started) / 1000,
      ...{ workers: models.batcher.lanes, queuedRows: models.batcher.queuedRows },
      lastReload: models.lastReload,
    };
  });

  app.get('/metrics', async (_request, reply) => {
    reply.type('text/plain; version=0.0.4; charset=utf-8');
    return metrics.text();
  });

  app.get('/openapi.json', async () => document);

  app.get('/', async (_request, reply) => {
    reply.type('text/html; charset=utf-8').header('content-security-policy', page.policy);
    return page.html;
  });

  refuseOtherMethods(app, ['/predict'], 'POST');
  refuseOtherMethods(app, ['/label', '/model', '/healthz', '/metrics', '/openapi.json', '/'], 'GET, HEAD');
}

function fieldsOf({ featurizer }: SharedModel): ModelResponse['fields'] {
  if (featurizer === null) return [];
  const { text, categorical, numeric } = featurizer.options;
  return [
    ...text.map((name) => ({ name, kind: 'text' as const })),
    ...categorical.map((name) => ({ name, kind: 'category' as const })),
    ...numeric.map((name) => ({ name, kind: 'number' as const })),
  ];
}

/** 405 with the methods that exist. */
export function refuseOtherMethods(app: FastifyInstance, paths: readonly string[], allow: string): void {
  const all = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
  const method = all.filter((name) => !allow.split(', ').includes(name));
  for (const url of paths) {
    app.route({
      method,
      url,
      // Refused before a body is read.
      onRequest: async (request) => {
        const detail = `${request.method} is not a method of this path`;
        throw new Refusal(405, 'METHOD_UNKNOWN', detail, { expected: allow, allow });
      },
      handler: async () => {},
    });
  }
}
