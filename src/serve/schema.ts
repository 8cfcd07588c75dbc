/** What requests must look like, once: for checking them and for the OpenAPI document. */
import { z } from 'zod';
import { suggest } from '../errors.js';
import type { ModelInput } from '../model/input.js';
import { mostRare } from '../model/ranking.js';
import type { ServeLimits } from './limits.js';
import type { PredictJob } from './messages.js';
import { Refusal } from './problems.js';

const one = <T extends z.ZodType>(schema: T, rows: number) =>
  z.union([schema, z.array(schema).min(1).max(rows)]);

const scalar = z.union([z.string(), z.number(), z.boolean(), z.null()]);
const value = z.union([scalar, z.array(z.union([z.string(), z.number()]))]);

/** The body of POST /predict under these limits. */
export function predictSchema({ rows, k, explain }: ServeLimits) {
  const features = z.strictObject({
    indices: z.array(z.number().int().min(0)),
    values: z.array(z.number()),
  });
  return z.strictObject({
    text: one(z.string(), rows).optional(),
    fields: one(z.record(z.string(), value), rows).optional(),
    features: one(features, rows).optional(),
    k: z.number().int().min(1).max(k).default(5),
    threshold: z.number().optional(),
    precision: z.number().gt(0).lt(1).optional(),
    rare: z.number().min(0).max(mostRare).default(0),
    exclude: z
      .array(z.union([z.string(), z.number().int().min(0)]))
      .max(k)
      .default([]),
    explain: z.number().int().min(0).max(explain).default(0),
    evidence: z.number().int().min(1).max(1000).default(10),
  });
}

export const labelSchema = z.strictObject({
  name: z.string().optional(),
  id: z.coerce.number().int().min(0).optional(),
  top: z.coerce.number().int().min(1).max(100).default(10),
});

/** Checks bodies of POST /predict; throws a `Refusal` that names the place. */
export function predictParser(limits: ServeLimits): (body: unknown) => PredictJob {
  const schema = predictSchema(limits);
  const known = Object.keys(schema.shape);
  return (body) => {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw new Refusal(400, 'BODY_SHAPE', 'the body is not a JSON object', {
        expected: '{ "text": "..." }, { "fields": {...} } or { "features": { "indices": [], "values": [] } }',
      });
    }
    const parsed = schema.safeParse(body);
    if (!parsed.success) throw refuseIssue(parsed.error.issues[0], known);
    const { text, fields, features, k, rare, explain, evidence, threshold, precision } = parsed.data;
    const exclude = new Set(parsed.data.exclude);
    const given = [text, fields, features].filter((input) => input !== undefined);
    if (given.length !== 1) {
      throw new Refusal(400, 'BODY_SHAPE', 'a request asks about one of text, fields and features', {
        expected: 'exactly one of the three',
        received: `${given.length}`,
      });
    }
    const input = given[0];
    const inputs: readonly ModelInput[] = Array.isArray(input) ? input : [input as ModelInput];
    const confidence = { threshold, precision };
    return { rows: inputs.length, inputs, k, confidence, rare, exclude, explain, evidence };
  };
}

type Issue = z.core.$ZodIssue;

/** The issue furthest inside, which is what the caller meant to write. */
function deepest(issue: Issue): Issue {
  if (issue.code !== 'invalid_union') return issue;
  const inner = issue.errors.flat().map(deepest);
  let best = inner[0] ?? issue;
  for (const other of inner) if (other.path.length > best.path.length) best = other;
  const path = [...issue.path, ...best.path];
  return best === issue ? issue : { ...best, path };
}

export function refuseIssue(found: Issue, known: readonly string[]): Refusal {
  const issue = deepest(found);
  const place = issue.path
    .map((part) => (typeof part === 'number' ? `[${part}]` : `.${String(part).slice(0, 40)}`))
    .join('');
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0) {
    const [key] = issue.keys;
    const near = suggest(key.slice(0, 80), known);
    return new Refusal(400, 'BODY_SHAPE', `there is no member ${JSON.stringify(key.slice(0, 80))}`, {
      expected: known.join(', '),
      hint: near === undefined ? undefined : `did you mean ${JSON.stringify(near)}?`,
    });
  }
  return new Refusal(400, 'BODY_SHAPE', `${place.replace(/^\./, '') || 'the request'}: ${issue.message}`);
}
