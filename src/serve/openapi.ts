/** The OpenAPI document of the server. */
import { z } from 'zod';
import type { ServeLimits } from './limits.js';
import { predictSchema } from './schema.js';

const label = z.object({
  label: z.number().int(),
  name: z.string(),
  score: z.number(),
  probability: z.number().nullable(),
});
const votes = z.object({
  contribution: z.number(),
  rows: z.array(
    z.object({
      row: z.number().int(),
      cosine: z.number(),
      contribution: z.number(),
      features: z.array(z.string()).nullable(),
    }),
  ),
});
const why = z.object({
  label: z.number().int(),
  name: z.string(),
  score: z.number(),
  base: z.number(),
  bias: z.number(),
  method: z.enum(['exact', 'gradient']),
  features: z.array(
    z.object({
      feature: z.number().int(),
      name: z.string().nullable(),
      value: z.number(),
      contribution: z.number(),
    }),
  ),
  units: z.array(
    z.object({
      unit: z.number().int(),
      activation: z.number(),
      weight: z.number(),
      contribution: z.number(),
    }),
  ),
  votes: votes.nullable(),
  featureVotes: votes.nullable(),
  labelText: z.number().nullable(),
  namesake: z.number().nullable(),
  counts: z.object({ features: z.number().int(), units: z.number().int() }),
  highlights: z.array(
    z.object({
      field: z.string(),
      start: z.number().int(),
      end: z.number().int(),
      features: z.array(z.number().int()),
      contribution: z.number(),
    }),
  ),
});
export const predictResponseSchema = z.object({
  model: z.string(),
  results: z.array(
    z.object({
      predictions: z.array(label),
      none: z.boolean().optional(),
      knownFeatures: z.number().int(),
      explanations: z.array(why).optional(),
    }),
  ),
});
export const labelResponseSchema = z.object({
  model: z.string(),
  label: z.number().int(),
  name: z.string(),
  bias: z.number(),
  connections: z.array(z.object({ unit: z.number().int(), weight: z.number() })),
  connectionCount: z.number().int(),
  neighbours: z.array(z.object({ label: z.number().int(), name: z.string(), cosine: z.number() })),
});
export const modelResponseSchema = z.object({
  model: z.string(),
  labels: z.number().int(),
  features: z.number().int(),
  output: z.string(),
  loss: z.string(),
  fields: z.array(z.object({ name: z.string(), kind: z.enum(['text', 'category', 'number']) })),
  probabilities: z.boolean(),
  rare: z.boolean(),
  remembered: z.number().int(),
  limits: z.object({ k: z.number(), rows: z.number(), bodyBytes: z.number() }),
});
export const healthResponseSchema = z.object({
  status: z.enum(['ok', 'draining']),
  model: z.string(),
  loadedAt: z.string(),
  uptimeSeconds: z.number(),
  workers: z.number().int(),
  queuedRows: z.number().int(),
  lastReload: z
    .object({
      ok: z.boolean(),
      at: z.string(),
      model: z.string().nullable(),
      code: z.string().nullable(),
      problem: z.string().nullable(),
    })
    .nullable(),
});
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number().int(),
  detail: z.string(),
  code: z.string(),
  expected: z.string().optional(),
  received: z.string().optional(),
  hint: z.string().optional(),
  requestId: z.string().optional(),
});

type Json = Record<string, unknown>;

const schemaOf = (schema: z.ZodType, io: 'input' | 'output' = 'output'): Json => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io }) as Json;
  return rest;
};

const json = (description: string, name: string): Json => ({
  description,
  content: { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } },
});

const refusals: Readonly<Record<string, string>> = {
  400: 'The request is malformed.',
  404: 'There is no such label.',
  413: 'The body is too large.',
  415: 'The body is not JSON.',
  421: 'The server is on loopback and was called by another name.',
  422: 'The request does not fit the model.',
  429: 'Too many requests of one address at once; see Retry-After.',
  503: 'Overloaded, late or draining; see Retry-After.',
};

const problems = (...statuses: number[]): Json =>
  Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: refusals[status],
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );

export function openApi(limits: ServeLimits, version: string): Json {
  const query = (name: string, description: string, schema: Json) => ({
    ...{ name, in: 'query', required: false, description, schema },
  });
  return {
    openapi: '3.1.0',
    info: { title: 'Espalier model server', version, description: 'Predictions of one model, and why.' },
    paths: {
      '/predict': {
        post: {
          operationId: 'predict',
          summary: 'The best labels of one input or of several: exactly one of text, fields and features.',
          requestBody: {
            required: true,
            content: {
              'application/json': {
                schema: { $ref: '#/components/schemas/PredictRequest' },
                examples: {
                  text: { value: { text: 'small domesticated carnivore', k: 3, explain: 1 } },
                  features: { value: { features: { indices: [3, 17], values: [0.6, 0.8] } } },
                },
              },
            },
          },
          responses: {
            200: json('One result per input, in order.', 'PredictResponse'),
            ...problems(400, 413, 415, 421, 422, 429, 503),
          },
        },
      },
      '/label': {
        get: {
          operationId: 'label',
          summary: 'What a label is made of, and the labels most alike.',
          parameters: [
            query('name', 'Name of the label.', { type: 'string' }),
            query('id', 'Number of the label, where names are missing or unclear.', {
              type: 'integer',
              minimum: 0,
            }),
            query('top', 'How many connections and neighbours.', {
              type: 'integer',
              minimum: 1,
              maximum: 100,
              default: 10,
            }),
          ],
          responses: { 200: json('The label.', 'LabelResponse'), ...problems(400, 404) },
        },
      },
      '/model': {
        get: {
          operationId: 'model',
          summary: 'What is served.',
          responses: { 200: json('The model.', 'ModelResponse') },
        },
      },
      '/healthz': {
        get: {
          operationId: 'health',
          summary: 'Whether requests are welcome here.',
          responses: {
            200: json('Serving.', 'HealthResponse'),
            503: json('Draining, or without workers.', 'HealthResponse'),
          },
        },
      },
      '/metrics': {
        get: {
          operationId: 'metrics',
          summary: 'Metrics in the text format of Prometheus.',
          responses: { 200: { description: 'Metrics.', content: { 'text/plain': {} } } },
        },
      },
    },
    components: {
      schemas: {
        PredictRequest: schemaOf(predictSchema(limits), 'input'),
        PredictResponse: schemaOf(predictResponseSchema),
        LabelResponse: schemaOf(labelResponseSchema),
        ModelResponse: schemaOf(modelResponseSchema),
        HealthResponse: schemaOf(healthResponseSchema),
        Problem: schemaOf(problemSchema),
      },
    },
  };
}
