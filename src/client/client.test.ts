import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { EspalierApiError, EspalierClient } from './index.js';

type Reply = (response: ServerResponse, request: IncomingMessage, body: string) => void;

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** A server that gives the replies one after the other, the last one for ever. */
async function scripted(...replies: Reply[]) {
  const seen: { url?: string; body: string; headers: IncomingMessage['headers'] }[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const reply = replies[Math.min(seen.length, replies.length - 1)];
    seen.push({ url: request.url, body, headers: request.headers });
    reply(response, request, body);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

const json =
  (value: unknown, status = 200, headers: Record<string, string> = {}): Reply =>
  (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(value));
  };
const answer = (name: string) => ({ predictions: [{ label: 1, name, score: 0, probability: 0.5 }] });
const busy = { type: 'about:blank', title: 'Busy', status: 503, detail: 'come again', code: 'OVERLOADED' };

describe('EspalierClient', () => {
  it('sends text, fields and features as what they are, with settings and headers', async () => {
    const { url, seen } = await scripted(json({ model: 'm', results: [answer('a')] }));
    const client = new EspalierClient(`${url}/below/`, { headers: { authorization: 'Bearer x' } });
    expect((await client.predict('cat', { k: 3, explain: 1 })).predictions[0].name).toBe('a');
    await client.predict({ title: 'cat' });
    await client.predict({ indices: [1], values: [2] });
    await client.predictAll(['a', 'b'], { threshold: 0.5, rare: 1, exclude: ['c', 7] });
    await client.label('a b&c', { top: 3 });
    expect(seen.map(({ body }) => (body === '' ? null : JSON.parse(body)))).toEqual([
      { text: 'cat', k: 3, explain: 1 },
      { fields: { title: 'cat' } },
      { features: { indices: [1], values: [2] } },
      { text: ['a', 'b'], threshold: 0.5, rare: 1, exclude: ['c', 7] },
      null,
    ]);
    expect(seen[0]).toMatchObject({ url: '/below/predict', headers: { authorization: 'Bearer x' } });
    expect(seen[4].url).toBe('/below/label?name=a+b%26c&top=3');
    await expect(() => client.predictAll(['a', { indices: [], values: [] }])).rejects.toThrow(TypeError);
  });

  it('comes again after 429 and 503, as late as Retry-After says, and gives up after `retries`', async () => {
    const { url, seen } = await scripted(
      json(busy, 503, { 'retry-after': '0' }),
      json({ ...busy, status: 429 }, 429, { 'retry-after': '0' }),
      json({ model: 'm', results: [answer('late')] }),
    );
    const client = new EspalierClient(url);
    expect((await client.predict('cat')).predictions[0].name).toBe('late');
    expect(seen).toHaveLength(3);
    const { url: never, seen: tries } = await scripted(json(busy, 503, { 'retry-after': '1000' }));
    const failing = new EspalierClient(never, { retries: 1, longestWaitMs: 1 }).predict('cat');
    await expect(failing).rejects.toMatchObject({ status: 503, code: 'OVERLOADED', retryAfterSeconds: 1000 });
    expect(tries).toHaveLength(2);
  });

  it('does not repeat what was refused for good, and words it with the hint', async () => {
    const problem = { ...busy, status: 422, code: 'PREDICT_FIELD', hint: 'did you mean "title"?' };
    const { url, seen } = await scripted(json(problem, 422));
    const refused = await new EspalierClient(url).predict({ titel: 'x' }).catch((error) => error);
    expect(refused).toBeInstanceOf(EspalierApiError);
    expect(refused.message).toMatch(/422 Busy: come again \[PREDICT_FIELD\].*did you mean/);
    expect(seen).toHaveLength(1);
  });

  it('makes a problem of a page that a proxy sends instead', async () => {
    const { url } = await scripted((response) => {
      response.writeHead(502);
      response.end('<h1>Bad gateway</h1>');
    });
    const refused = await new EspalierClient(url).health().catch((error) => error);
    expect(refused).toMatchObject({ status: 502, code: 'HTTP_502' });
    expect(refused.problem.detail).toContain('Bad gateway');
  });

  it('comes again after a connection that broke; the caller can stop it while it waits', async () => {
    const { url, seen } = await scripted(
      (response) => response.socket?.destroy(),
      json({ model: 'm', results: [answer('second')] }),
    );
    expect((await new EspalierClient(url).predict('cat')).predictions[0].name).toBe('second');
    expect(seen).toHaveLength(2);
    const { url: slow } = await scripted(json(busy, 503, { 'retry-after': '60' }));
    const stop = new AbortController();
    const waiting = new EspalierClient(slow, { longestWaitMs: 60_000 }).predict('x', { signal: stop.signal });
    setTimeout(() => stop.abort(new Error('enough')), 100);
    await expect(waiting).rejects.toThrow('enough');
  });

  it('ends an attempt after its timeout', async () => {
    const { url } = await scripted(() => {});
    await expect(new EspalierClient(url, { timeoutMs: 50 }).predict('cat')).rejects.toMatchObject({
      name: 'TimeoutError',
    });
  });
});
