/** What happens to a server over time: models that come and go, overload, workers that end, its own end. */
import { cp, open, readdir, rm, symlink, truncate } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { EspalierClient } from '../client/index.js';
import type { PredictResponse, Problem } from '../client/types.js';
import { saveTinyModel } from '../model/tiny-model.testing.js';
import { type Served, startServer, stopServers } from './serving.testing.js';

afterAll(stopServers);

const best = async (served: Served) =>
  (await new EspalierClient(served.url, { retries: 0 }).predictAll(['apple'])).model;

describe('a replaced model', () => {
  it('is taken over while questions are asked, and not one of them fails', async () => {
    const served = await startServer({ pollMs: 20 });
    const stop = { now: false };
    const models = new Set<string>();
    const statuses = new Set<number>();
    const askers = Array.from({ length: 8 }, async () => {
      while (!stop.now) {
        const response = await served.post({ text: 'apple tree', k: 3 });
        statuses.add(response.status);
        models.add(((await response.json()) as PredictResponse).model);
      }
    });
    const directories = new Set([served.host.current.model.id]);
    for (let seed = 2; seed <= 4; seed++) {
      const directory = await saveTinyModel(served.run, { seed });
      const id = directory.slice(directory.lastIndexOf('/') + 1);
      directories.add(id);
      while (served.host.current.model.id !== id) await new Promise((resolve) => setTimeout(resolve, 5));
      while (!models.has(id)) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    stop.now = true;
    await Promise.all(askers);
    expect([...statuses]).toEqual([200]);
    expect(models).toEqual(directories);
    expect(served.host.lastReload).toMatchObject({ ok: true });
    expect(served.host.batcher.lanes).toBe(2);
  });

  it('may have other labels, other features and another output layer', async () => {
    const served = await startServer();
    await saveTinyModel(served.run, { output: { kind: 'dense' }, labels: 5, text: false });
    await served.reload();
    const response = await served.post({ features: { indices: [19], values: [1] }, k: 9 });
    const { results } = (await response.json()) as PredictResponse;
    expect(results[0].predictions).toHaveLength(5);
    expect(await new EspalierClient(served.url).model()).toMatchObject({ output: 'dense', fields: [] });
  });

  it.each(['truncated', 'emptied', 'missing', 'changed'])(
    'that is %s leaves the old one serving, and /healthz says why',
    async (how) => {
      // Looks are counted below: only those that are asked for.
      const served = await startServer({ pollMs: 3_600_000 });
      const before = await best(served);
      const directory = await saveTinyModel(served.run, { seed: 2 });
      const weights = join(directory, 'model.safetensors');
      if (how === 'truncated') await truncate(weights, 100);
      else if (how === 'emptied') await rm(join(directory, 'espalier.json'));
      else if (how === 'missing') await rm(directory, { recursive: true });
      else await flipBit(weights);
      await served.reload();
      expect(await best(served)).toBe(before);
      const health = await new EspalierClient(served.url).health();
      expect(health).toMatchObject({ status: 'ok', model: before, lastReload: { ok: false } });
      expect(health.lastReload?.problem).toBeTruthy();
      // A sound one is taken over afterwards.
      await rm(directory, { recursive: true, force: true });
      await saveTinyModel(served.run, { seed: 3 });
      await served.reload();
      expect(await best(served)).not.toBe(before);
      expect(served.host.lastReload).toMatchObject({ ok: true });
      expect(served.host.reloads).toEqual({ ok: 1, failed: 1 });
    },
  );

  it('may vanish from the disk after it was loaded', async () => {
    const served = await startServer();
    const copy = `${served.run}-away`;
    await cp(served.run, copy, { recursive: true });
    await rm(served.run, { recursive: true });
    await served.reload();
    expect((await served.post({ text: 'apple' })).status).toBe(200);
    await symlink(copy, served.run);
    await served.reload();
    expect((await readdir(served.run)).length).toBeGreaterThan(0);
    expect((await served.post({ text: 'apple' })).status).toBe(200);
  });
});

async function flipBit(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  const { size } = await handle.stat();
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, size - 3);
  byte[0] ^= 16;
  await handle.write(byte, 0, 1, size - 3);
  await handle.close();
}

describe('overload', () => {
  it('is refused at once with 503 and Retry-After, and what was accepted is answered', async () => {
    const served = await startServer({ workers: 1, limits: { queueRows: 8, batchRows: 4 } });
    const all = await Promise.all(
      Array.from({ length: 200 }, () => served.post({ text: Array(4).fill('apple'), k: 30 })),
    );
    const count = (status: number) => all.filter((response) => response.status === status).length;
    expect(count(200)).toBeGreaterThan(0);
    expect(count(503)).toBeGreaterThan(0);
    expect(count(200) + count(503)).toBe(200);
    for (const response of all) {
      const body = (await response.json()) as PredictResponse & Problem;
      if (response.status === 200) expect(body.results).toHaveLength(4);
      else {
        expect(Number(response.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
        expect(body.code).toBe('OVERLOADED');
      }
    }
    expect((await served.post({ text: 'apple' })).status).toBe(200);
    expect(served.host.batcher.pendingRows).toBe(0);
  });

  it('of one address is 429 for that address', async () => {
    const served = await startServer({ limits: { perClient: 2 } });
    const held = [await heldPost(served), await heldPost(served)];
    for (let again = 0; again < 3; again++) expect((await served.post({ text: 'apple' })).status).toBe(429);
    for (const finish of held) expect(await finish()).toBe(200);
    expect((await served.post({ text: 'apple' })).status).toBe(200);
  });
});

/** A question that the server has the head of, and waits for the rest of; returns what sends that: the status. */
async function heldPost(served: Served): Promise<() => Promise<number | undefined>> {
  const body = JSON.stringify({ text: 'apple' });
  const headers = {
    'content-type': 'application/json',
    'content-length': body.length,
    expect: '100-continue',
  };
  const asked = request(`${served.url}/predict`, { method: 'POST', headers, agent: false });
  const status = new Promise<number | undefined>((resolve, reject) => {
    asked.once('response', (answer) => answer.resume().once('close', () => resolve(answer.statusCode)));
    asked.once('error', reject);
  });
  await new Promise((resolve) => {
    asked.once('continue', resolve);
    asked.flushHeaders();
  });
  return () => {
    asked.end(body);
    return status;
  };
}

describe('a worker that ends by itself', () => {
  it('is replaced; its questions get 503, later ones their answer', async () => {
    const served = await startServer({ workers: 1 });
    const [lane] = served.host.current.lanes;
    await lane.kill();
    while (served.host.batcher.lanes === 0 || served.host.workerDeaths === 0)
      await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await served.post({ text: 'apple' })).status).toBe(200);
    expect(await (await served.get('/metrics')).text()).toContain('espalier_worker_deaths_total 1');
  });
});

describe('the end', () => {
  it('answers what was accepted, closes idle connections, and takes nothing new', async () => {
    const served = await startServer({ workers: 1, limits: { batchRows: 2, queueRows: 4096 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 20 });
    const ask = () =>
      new Promise<{ status?: number; connection?: string; body: string }>((resolve, reject) => {
        const sent = request(`${served.url}/predict`, {
          agent,
          method: 'POST',
          headers: { 'content-type': 'application/json' },
        });
        sent.on('error', reject);
        sent.on('response', (response) => {
          let body = '';
          response.on('data', (part) => {
            body += part;
          });
          response.on('end', () =>
            resolve({ status: response.statusCode, connection: response.headers.connection, body }),
          );
        });
        sent.end(JSON.stringify({ text: Array(64).fill('apple tree'), k: 30 }));
      });
    await Promise.all(Array.from({ length: 20 }, ask));
    const answers = Array.from({ length: 20 }, ask);
    while (served.host.batcher.pendingRows < 64 * 10) await new Promise((resolve) => setImmediate(resolve));
    const ended = served.close();
    const all = await Promise.all(answers);
    expect(all.map(({ status }) => status)).toEqual(Array(20).fill(200));
    await ended;
    await expect(served.post({ text: 'apple' })).rejects.toThrow();
    agent.destroy();
  });

  it('does not wait for ever: a request that never arrives is cut off after the time to drain', async () => {
    const served = await startServer({ limits: { drainMs: 200 } });
    const half = served.raw('POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{');
    while (served.host.batcher.lanes === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 50));
    const started = performance.now();
    await Promise.all([served.close(), half.catch(() => '')]);
    expect(performance.now() - started).toBeGreaterThanOrEqual(150);
  });
});
