/** A served tiny model for tests: real HTTP, real worker threads (of the build in `dist/`, run `npm run build` first). */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { saveTinyModel, type TinyModel } from '../model/tiny-model.testing.js';
import { type RunningServer, type ServeOptions, serve } from './server.js';

export const builtWorker = new URL('../../dist/serve/worker.js', import.meta.url);

export interface Served extends RunningServer {
  /** The run directory. */
  readonly run: string;
  post(body: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string): Promise<Response>;
  /** Writes raw bytes and reads until the server ends the connection. */
  raw(text: string | Buffer): Promise<string>;
}

const homes: string[] = [];
const servers: RunningServer[] = [];

export async function startServer(
  options: Partial<ServeOptions> = {},
  tiny: TinyModel = {},
): Promise<Served> {
  const home = await mkdtemp(join(tmpdir(), 'espalier-serve-'));
  homes.push(home);
  const run = join(home, 'run');
  await saveTinyModel(run, tiny);
  const server = await serve({
    ...{ model: run, port: 0, workers: 2, threads: 1, logLevel: 'silent', workerFile: builtWorker },
    ...options,
  });
  servers.push(server);
  const post = (body: unknown, headers: Record<string, string> = {}) =>
    fetch(`${server.url}/predict`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  const raw = (text: string | Buffer) => rawRequest(Number(new URL(server.url).port), text);
  return { ...server, run, post, get: (path) => fetch(server.url + path), raw };
}

function rawRequest(port: number, text: string | Buffer): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    let got = '';
    socket.on('data', (part) => {
      got += part;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      // The server may close while a body that it does not want is still under way.
      if (got === '' && error.code !== 'EPIPE') reject(error);
    });
    socket.on('close', () => resolve(got));
    socket.write(text);
  });
}

export async function stopServers(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.close()));
  await Promise.all(homes.splice(0).map((home) => rm(home, { recursive: true, force: true })));
}
