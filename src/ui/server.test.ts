import { execFile } from 'node:child_process';
import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunReport, RunSummary } from '../reports/index.js';
import { fakeLog, makeRun } from '../reports/run.testing.js';
import { type RunningUi, startUi } from './server.js';

const page = new URL('../../dist/ui/page/', import.meta.url);
let home: string;
let ui: RunningUi;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-ui-'));
  await makeRun(join(home, 'one'));
  ui = await startUi({ runs: [home], port: 0, page, pollMs: 50 });
});
afterAll(async () => {
  await ui.close();
  await rm(home, { recursive: true, force: true });
});

/** Status and JSON of an answer, asked under another name. */
const askAs = (host: string, path: string) =>
  new Promise<{ status?: number; body: string }>((resolve, reject) => {
    get(`${ui.url}${path}`, { headers: { host } }, (response) => {
      let body = '';
      response.on('data', (part) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode, body }));
    }).on('error', reject);
  });

describe('the server of the dashboard', () => {
  it('tells of runs as JSON, and the same numbers as the command line', async () => {
    const runs = (await (await fetch(`${ui.url}/api/runs`)).json()) as RunSummary[];
    expect(runs.map(({ name, status }) => [name, status])).toEqual([['one', 'finished']]);
    const report = (await (await fetch(`${ui.url}/api/runs/${runs[0].id}`)).json()) as RunReport;
    const program = new URL('../../dist/cli/main.js', import.meta.url).pathname;
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [program, 'inspect', join(home, 'one'), '--json'],
      {
        maxBuffer: 1 << 26,
      },
    );
    expect(JSON.parse(stdout)).toEqual(report);
  });

  it('serves one page that loads nothing from elsewhere', async () => {
    const response = await fetch(`${ui.url}/`);
    expect(response.headers.get('content-security-policy')).toMatch(/default-src 'none'; style-src 'sha256-/);
    const html = await response.text();
    expect(html).not.toMatch(/(src|href)="?https?:/);
  });

  it('refuses unknown runs, paths in their place, other methods and other names with problem documents', async () => {
    for (const [path, status] of [
      ['/api/runs/nothing', 404],
      ['/api/runs/..%2f..%2fetc%2fpasswd', 404],
      ['/else', 404],
    ] as const) {
      const response = await fetch(ui.url + path);
      expect([response.status, response.headers.get('content-type')]).toEqual([
        status,
        'application/problem+json; charset=utf-8',
      ]);
    }
    expect((await fetch(`${ui.url}/api/runs`, { method: 'DELETE' })).status).toBe(405);
    const foreign = await askAs('evil.example', '/api/runs');
    expect([foreign.status, JSON.parse(foreign.body).code]).toEqual([421, 'HOST_UNKNOWN']);
  });

  it('tells of new points and of new runs as events', async () => {
    const controller = new AbortController();
    const response = await fetch(`${ui.url}/api/events`, { signal: controller.signal });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    let text = '';
    const reading = (async () => {
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>)
        text += Buffer.from(part).toString();
    })().catch(() => {});
    await expect.poll(() => text, { timeout: 30_000 }).toMatch(/^event: runs\ndata: \[.*"one"/);
    await makeRun(join(home, 'two'), { taken: 5, evaluated: false });
    await expect.poll(() => text, { timeout: 30_000 }).toMatch(/event: runs\ndata: \[.*"two"/);
    const line = fakeLog({ taken: 6, began: Date.now() }).pop() ?? '';
    await appendFile(join(home, 'two/log.jsonl'), line.slice(0, 30));
    await appendFile(join(home, 'two/log.jsonl'), `${line.slice(30)}\n`);
    await expect.poll(() => text, { timeout: 30_000 }).toMatch(/event: run\ndata: .*"step":6,/);
    controller.abort();
    await reading;
  });

  it('refuses a port in use and a path that is no directory', async () => {
    const port = Number(new URL(ui.url).port);
    const code = (error: { code?: string }) => error.code;
    expect(await startUi({ runs: [home], port, page }).catch(code)).toBe('SERVE_PORT');
    expect(await startUi({ runs: [join(home, 'none')], port: 0, page }).catch(code)).toBe('RUNS_MISSING');
  });
});
