import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, expectTypeOf, it } from 'vitest';
import type { z } from 'zod';
import { EspalierClient, type PredictResponse } from '../client/index.js';
import type {
  HealthResponse,
  LabelResponse,
  ModelResponse,
  PredictRequest,
  Problem,
} from '../client/types.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { Model } from '../model/model.js';
import { tinyCalibration, tinyRows, words } from '../model/tiny-model.testing.js';
import {
  type healthResponseSchema,
  labelResponseSchema,
  modelResponseSchema,
  predictResponseSchema,
  problemSchema,
} from './openapi.js';
import type { predictSchema } from './schema.js';
import { type Served, startServer, stopServers } from './serving.testing.js';

let served: Served;
let model: Model;
beforeAll(async () => {
  served = await startServer({ limits: { bodyBytes: 4096, rows: 8, k: 20, explain: 3 } });
  model = await Model.load(served.run, referenceKernels('float32'));
});
afterAll(stopServers);

async function problemOf(response: Promise<Response>, status: number): Promise<Problem> {
  const found = await response;
  expect(found.status).toBe(status);
  expect(found.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  const problem = (await found.json()) as Problem;
  expect(problemSchema.parse(problem)).toEqual(problem);
  expect(problem.status).toBe(status);
  return problem;
}

describe('POST /predict', () => {
  it('answers as the library does, for text, fields and features, one or many', async () => {
    const features = { indices: [2, 5], values: [0.6, 0.8] };
    const inputs = ['apple tree', { text: 'wall', title: 'garden' }, features];
    const expected = await model.predictAll(inputs, { k: 4 });
    const bodies = [{ text: inputs[0] }, { fields: inputs[1] }, { features }];
    for (const [i, body] of bodies.entries()) {
      for (const many of [false, true]) {
        const [key, value] = Object.entries(body)[0];
        const response = await served.post({ [key]: many ? [value, value] : value, k: 4 });
        const found = (await response.json()) as PredictResponse;
        expect(predictResponseSchema.parse(found)).toEqual(found);
        expect(found.results).toHaveLength(many ? 2 : 1);
        for (const { predictions, knownFeatures } of found.results) {
          expect(knownFeatures).toBe(expected[i].knownFeatures);
          expect(predictions.map(({ name }) => name)).toEqual(
            expected[i].predictions.map(({ name }) => name),
          );
          for (const [j, { score }] of predictions.entries()) {
            expect(score).toBeCloseTo(expected[i].predictions[j].score, 4);
          }
        }
      }
    }
  });

  it('explains the best labels: contributions add up, and words are found where they stand', async () => {
    const text = 'Apple, then a TREE';
    const response = await served.post({ text, k: 3, explain: 2, evidence: 20 });
    const { results } = (await response.json()) as PredictResponse;
    const { explanations, predictions } = results[0];
    expect(explanations?.map(({ name }) => name)).toEqual(predictions.slice(0, 2).map(({ name }) => name));
    for (const why of explanations ?? []) {
      const sum = why.features.reduce((total, { contribution }) => total + contribution, why.base);
      expect(sum).toBeCloseTo(why.score, 6);
      expect(why.highlights.map(({ start, end }) => text.slice(start, end))).toEqual(['Apple', 'TREE']);
    }
  });

  it('ranks by probability where there is a calibration, and explains what is sure enough, as the library does', async () => {
    const calibrated = await startServer({}, { calibration: tinyCalibration(37, 8) });
    const own = await Model.load(calibrated.run, referenceKernels('float32'));
    const client = new EspalierClient(calibrated.url);
    for (const asked of [{ k: 5 }, { k: 12 }, { k: 8, precision: 0.9, explain: 2 }]) {
      const found = await client.predict('apple tree', asked);
      const expected = await own.predict('apple tree', asked);
      expect(found.predictions.map(({ name }) => name)).toEqual(expected.predictions.map(({ name }) => name));
      const probabilities = found.predictions.map(({ probability }) => probability ?? -1);
      expect(probabilities).toEqual(probabilities.toSorted((a, b) => b - a));
      expect((found.explanations ?? []).map(({ label }) => label)).toEqual(
        expected.explanations.map(({ label }) => label),
      );
    }
    // What the test is for: of buckets with thresholds of their own, those left need not be the first.
    const all = await own.predict('apple tree', { k: 8 });
    const sure = await own.predict('apple tree', { k: 8, precision: 0.9 });
    expect(sure.predictions).not.toEqual(all.predictions.slice(0, sure.predictions.length));
  });

  it('favours rare labels for those who ask, alone or beside others, as the library does', async () => {
    const client = new EspalierClient(served.url);
    const asked = [0, 2, 0.5, 10, 0].map((rare) => ({ k: 6, rare }));
    const found = await Promise.all(asked.map((options) => client.predict('apple tree', options)));
    const namesOf = ({ predictions }: { readonly predictions: readonly { readonly name: string }[] }) =>
      predictions.map(({ name }) => name);
    for (const [i, options] of asked.entries())
      expect(namesOf(found[i])).toEqual(namesOf(await model.predict('apple tree', options)));
    expect(namesOf(found[3])).not.toEqual(namesOf(found[0]));
    const older = await startServer({}, { frequencies: null });
    const problem = await problemOf(older.post({ text: 'apple', rare: 1 }), 422);
    expect(problem.code).toBe('RARE_UNKNOWN');
    expect((await new EspalierClient(older.url).predict('apple')).predictions).toHaveLength(5);
  });

  it('leaves out what each question excludes, alone or beside others, as the library does', async () => {
    const client = new EspalierClient(served.url);
    const { predictions: plain } = await model.predict('apple tree', { k: 20 });
    const excludes: (string | number)[][] = [
      [],
      [plain[0].name],
      plain.slice(0, 20).map(({ label }) => label),
      ['no such label', plain[2].label],
      [],
    ];
    const asked = excludes.map((exclude, i) => ({ k: 2 + 3 * i, exclude, explain: 2, rare: i % 2 }));
    const found = await Promise.all(asked.map((options) => client.predict('apple tree', options)));
    for (const [i, options] of asked.entries()) {
      const expected = await model.predict('apple tree', options);
      expect(found[i].predictions.map(({ name }) => name)).toEqual(
        expected.predictions.map(({ name }) => name),
      );
      expect(found[i].explanations?.map(({ label }) => label)).toEqual(
        expected.explanations.map(({ label }) => label),
      );
    }
    const tooMany = Array.from({ length: 21 }, (_, i) => i);
    for (const exclude of [tooMany, [-1], [1.5], [null], 'apple'])
      expect((await problemOf(served.post({ text: 'apple', exclude }), 400)).detail).toContain('exclude');
  });

  it('counts the votes of remembered rows as the library does, and names the rows', async () => {
    const remembering = await startServer({}, { remembered: tinyRows(37) });
    const client = new EspalierClient(remembering.url);
    expect((await client.model()).remembered).toBe(words.length);
    expect((await new EspalierClient(served.url).model()).remembered).toBe(0);
    const own = await Model.load(remembering.run, referenceKernels('float32'));
    const [found, expected] = await Promise.all(
      [client, own].map((one) => one.predict('apple tree', { k: 5, explain: 5 })),
    );
    expect(found.predictions.map(({ name }) => name)).toEqual(expected.predictions.map(({ name }) => name));
    const votes = found.explanations?.flatMap((why) => why.votes?.rows ?? []) ?? [];
    expect(votes.length).toBeGreaterThan(0);
    for (const { features } of votes) expect(features).toHaveLength(2);
    for (const key of ['votes', 'featureVotes'] as const)
      expect(found.explanations?.map((why) => why[key]?.contribution.toFixed(3))).toEqual(
        expected.explanations?.map((why) => why[key]?.contribution.toFixed(3)),
      );
    expect(found.explanations?.map((why) => why.labelText?.toFixed(3))).toEqual(
      expected.explanations?.map((why) => why.labelText?.toFixed(3)),
    );
    expect(found.explanations?.some((why) => (why.featureVotes?.contribution ?? 0) > 0)).toBe(true);
    expect(found.explanations?.some((why) => (why.labelText ?? 0) > 0)).toBe(true);
    const plain = await new EspalierClient(served.url).predict('apple tree', { explain: 1 });
    expect(plain.explanations?.[0]).toMatchObject({ votes: null, featureVotes: null, labelText: null });
  });

  it('leaves out what is below the threshold, explanations too', async () => {
    const all = await new EspalierClient(served.url).predict('apple', { k: 10 });
    const threshold = all.predictions[1].probability as number;
    const some = await new EspalierClient(served.url).predict('apple', { k: 10, threshold, explain: 3 });
    expect(some.predictions).toEqual(all.predictions.slice(0, 2));
    expect(some.explanations).toHaveLength(2);
  });

  it('many questions at once get the answers that they get one by one, whoever shares their batch', async () => {
    const ask = (i: number) => ({ features: { indices: [i % 20], values: [1 + i / 10] }, k: 1 + (i % 7) });
    const answered = async (i: number) => {
      const { results } = (await (await served.post(ask(i))).json()) as PredictResponse;
      // Kernels round by the size of the batch.
      return results[0].predictions.map(({ name, score }) => [name, score.toFixed(4)]);
    };
    const alone: unknown[] = [];
    for (let i = 0; i < 60; i++) alone.push(await answered(i));
    const together = await Promise.all(Array.from({ length: 60 }, (_, i) => answered(i)));
    expect(together).toEqual(alone);
    const metrics = await (await served.get('/metrics')).text();
    const batches = Number(/espalier_batch_rows_count (\d+)/.exec(metrics)?.[1]);
    const rows = Number(/espalier_batch_rows_sum (\d+)/.exec(metrics)?.[1]);
    expect(rows).toBeGreaterThan(batches);
  });

  it('one that does not fit the model is refused, and those in its batch are answered', async () => {
    const bad = { features: { indices: [10 ** 6], values: [1] } };
    const all = await Promise.all(
      Array.from({ length: 20 }, (_, i) => served.post(i % 2 === 0 ? bad : { text: 'apple' })),
    );
    expect(all.map(({ status }) => status)).toEqual(all.map((_, i) => (i % 2 === 0 ? 422 : 200)));
  });

  it.each<[string, unknown, number, string, RegExp]>([
    ['no JSON', '{"text"', 400, 'BODY_JSON', /not JSON/],
    ['an empty body', '', 400, 'BODY_EMPTY', /empty/],
    ['an array', [], 400, 'BODY_SHAPE', /not a JSON object/],
    ['nothing to ask about', {}, 400, 'BODY_SHAPE', /one of text, fields and features/],
    ['two things at once', { text: 'a', fields: { text: 'a' } }, 400, 'BODY_SHAPE', /one of text/],
    ['a misspelt member', { txet: 'a' }, 400, 'BODY_SHAPE', /"txet"/],
    ['a number as text', { text: 5 }, 400, 'BODY_SHAPE', /^text: /],
    ['a number in a list', { text: ['a', 5] }, 400, 'BODY_SHAPE', /^text\[1\]: /],
    ['an empty list', { text: [] }, 400, 'BODY_SHAPE', /^text: /],
    ['too many inputs', { text: Array(9).fill('a') }, 400, 'BODY_SHAPE', /^text: /],
    ['too many labels', { text: 'a', k: 21 }, 400, 'BODY_SHAPE', /^k: /],
    ['no labels', { text: 'a', k: 0 }, 400, 'BODY_SHAPE', /^k: /],
    ['half a label', { text: 'a', k: 1.5 }, 400, 'BODY_SHAPE', /^k: /],
    ['an unknown field', { fields: { titel: 'a' } }, 422, 'PREDICT_FIELD', /no column "titel"/],
    ['a feature out of range', { features: { indices: [99], values: [1] } }, 422, 'PREDICT_FEATURE', /row 1/],
    [
      'values that are missing',
      { features: { indices: [1], values: [] } },
      422,
      'PREDICT_FEATURE',
      /per index/,
    ],
    ['a poisoned prototype', '{"__proto__": {"text": "a"}}', 400, 'BODY_JSON', /not JSON/],
    ['a body beyond the limit', { text: 'a'.repeat(5000) }, 413, 'BODY_TOO_LARGE', /larger/],
    ['depth', `{"fields": ${'{"a":'.repeat(600)}1${'}'.repeat(600)}}`, 400, 'BODY_SHAPE', /^fields/],
  ])('refuses %s', async (_, body, status, code, detail) => {
    const problem = await problemOf(served.post(body), status);
    expect(problem.code).toBe(code);
    expect(problem.detail).toMatch(detail);
  });

  it('refuses other media types and other methods', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    expect((await problemOf(served.post('text=a', form), 415)).code).toBe('BODY_MEDIA_TYPE');
    const wrong = await served.get('/predict');
    expect(wrong.headers.get('allow')).toBe('POST');
    expect((await problemOf(Promise.resolve(wrong), 405)).code).toBe('METHOD_UNKNOWN');
    expect((await problemOf(served.get('/nothing'), 404)).code).toBe('ROUTE_UNKNOWN');
  });
});

describe('what stands around it', () => {
  it('GET /label describes by name and by id, and knows what it does not know', async () => {
    const named = await new EspalierClient(served.url).label('label "3" ŕ', { top: 4 });
    expect(labelResponseSchema.parse(named)).toEqual(named);
    expect(await new EspalierClient(served.url).label(3, { top: 4 })).toEqual(named);
    const own = await model.describeLabel(3, 4);
    expect(named.neighbours.map(({ name }) => name)).toEqual(own.neighbours.map(({ name }) => name));
    for (const path of ['/label?name=none', '/label?id=37', '/label']) {
      expect((await problemOf(served.get(path), 404)).code).toBe('LABEL_UNKNOWN');
    }
    await problemOf(served.get('/label?id=x'), 400);
    await problemOf(served.get('/label?id=1&what=1'), 400);
  });

  it('GET /model and /healthz say what is served', async () => {
    const client = new EspalierClient(served.url);
    const found = await client.model();
    expect(modelResponseSchema.parse(found)).toEqual(found);
    expect(found).toMatchObject({
      labels: 37,
      output: 'fan-in',
      fields: [{ name: 'text', kind: 'text' }, { name: 'title' }],
    });
    expect(await client.health()).toMatchObject({ status: 'ok', model: found.model, workers: 2 });
  });

  it('every path of the OpenAPI document exists, and its components are the types of the client', async () => {
    const document = (await (await served.get('/openapi.json')).json()) as {
      paths: Record<string, Record<string, { responses: object }>>;
      components: { schemas: object };
    };
    for (const [path, methods] of Object.entries(document.paths)) {
      const [method] = Object.keys(methods);
      const response = await fetch(served.url + path, { method: method.toUpperCase() });
      if (path !== '/label') expect(response.status).not.toBe(404);
      expect(Object.keys(methods[method].responses)).toContain(
        path === '/predict' || path === '/label' ? '400' : String(response.status),
      );
    }
    const references = [...JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)];
    for (const [, name] of references) expect(document.components.schemas).toHaveProperty(name);
    expectTypeOf<z.infer<typeof predictResponseSchema>>().toExtend<PredictResponse>();
    expectTypeOf<z.infer<typeof labelResponseSchema>>().toExtend<LabelResponse>();
    expectTypeOf<z.infer<typeof modelResponseSchema>>().toExtend<ModelResponse>();
    expectTypeOf<z.infer<typeof healthResponseSchema>>().toExtend<HealthResponse>();
    expectTypeOf<z.infer<typeof problemSchema>>().toExtend<Problem>();
    expectTypeOf<z.input<ReturnType<typeof predictSchema>>>().toExtend<PredictRequest>();
  });

  it('GET / is one document that may fetch from this server alone', async () => {
    const page = await served.get('/');
    const html = await page.text();
    expect(html).not.toMatch(/(src|href)="?(https?:)?\/\//);
    expect(html).not.toContain('<!-- s');
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain('unsafe');
  });

  it('metrics count requests by route and status, and end in a newline as the format wants', async () => {
    const text = await (await served.get('/metrics')).text();
    expect(text).toMatch(/espalier_http_requests_total\{route="\/predict",status="200"\} \d+/);
    expect(text).toMatch(/espalier_model_info\{model="model-[0-9a-f]{16}",labels="37",.*\} 1/);
    expect(text.endsWith('\n')).toBe(true);
    for (const line of text.trimEnd().split('\n')) {
      expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? (NaN|[-+.\de]+))$/);
    }
  });

  it('a name that is not this machine’s is refused on loopback, unless allowed', async () => {
    const ask = (host: string) =>
      served.raw(`GET /model HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    expect(await ask('evil.example')).toMatch(/^HTTP\/1.1 421 .*HOST_UNKNOWN/s);
    for (const host of ['localhost:99', '127.0.0.1', '[::1]:8080'])
      expect(await ask(host)).toMatch(/^HTTP\/1.1 200/);
    const proxied = await startServer({ allowHosts: ['models.example'] });
    expect(
      await proxied.raw('GET /model HTTP/1.1\r\nHost: models.example\r\nConnection: close\r\n\r\n'),
    ).toMatch(/^HTTP\/1.1 200/);
  });

  it('headers beyond the limit and things that are not HTTP get a problem document', async () => {
    const huge = await served.raw(`GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`);
    expect(huge).toMatch(/^HTTP\/1.1 431 .*problem\+json.*HEADER_TOO_LARGE/s);
    expect(await served.raw('\x16\x03\x01 nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 .*HTTP_SYNTAX/s);
    expect((await served.post({ text: 'apple' })).status).toBe(200);
  });
});

it('a model of numbered features answers features, and refuses text with the way out', async () => {
  const numbers = await startServer({}, { text: false });
  const refused = await problemOf(numbers.post({ text: 'a' }), 422);
  expect(refused).toMatchObject({ code: 'PREDICT_NO_TEXT', expected: 'features: { indices, values }' });
  const response = await numbers.post({ features: { indices: [1], values: [1] }, explain: 1 });
  const { results } = (await response.json()) as PredictResponse;
  expect(results[0].explanations?.[0].features[0].name).toBeNull();
});

it('a port in use and a model that is not there are errors with a way out, and leave nothing behind', async () => {
  const { port } = new URL(served.url);
  await expect(startServer({ port: Number(port) })).rejects.toMatchObject({ facts: { code: 'SERVE_PORT' } });
  await expect(startServer({ model: '/nowhere/at/all' })).rejects.toMatchObject({ code: 'MODEL_MISSING' });
  await expect(startServer({ limits: { k: 0 } })).rejects.toMatchObject({ code: 'SERVE_LIMIT' });
  await expect(startServer({ workers: 0 })).rejects.toMatchObject({ code: 'SERVE_LIMIT' });
});

it('the page says nothing of its own that the escaping of names could lose', async () => {
  const script = await readFile(new URL('./page/page.js', import.meta.url), 'utf8');
  expect(script).not.toMatch(/innerHTML|insertAdjacentHTML|document\.write|eval\(/);
});
