// What `espalier serve` stands: overload and hot reload for half an hour, hostile clients, and an end under load.
// After `npm run build`:
//   npm run torture -- server [--minutes 30] [--labels 20000] [--idle 10000] [--rounds 10] [--only soak,hostile,drain]
// Every check is printed; the exit code is 1 when one fails.
import { mkdtemp, readFile, rename, rm, symlink } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { quantile } from '../bench/lib/harness.mjs';
import { randomText, saveRandomModel, startServing } from '../bench/lib/served.mjs';
import { sleep } from './lib/program.mjs';
import { check, chosen, MiB, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '30' },
    labels: { type: 'string', default: '20000' },
    idle: { type: 'string', default: '10000' },
    rounds: { type: 'string', default: '10' },
    only: { type: 'string' },
  },
});
const words = 5000;
const home = await mkdtemp(join(tmpdir(), 'espalier-torture-server-'));
const run = join(home, 'run');
const shape = { labels: Number(options.labels), inputs: 256, fanIn: 32, words };

/** Resident bytes of a process. */
async function memory(/** @type {number} */ pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const kilobytes = Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]);
  return 1024 * kilobytes;
}

/**
 * One POST /predict on a connection of `agent`; never rejects.
 * @param {number} port @param {Agent} agent @param {string} body
 * @returns {Promise<{ status: number, ms: number, retryAfter: number, close: boolean, error: string, sentAt: number }>}
 */
function ask(port, agent, body) {
  const sentAt = performance.now();
  return new Promise((resolve) => {
    const end = (/** @type {number} */ status, error = '', retryAfter = Number.NaN, close = false) =>
      resolve({ status, error, retryAfter, close, sentAt, ms: performance.now() - sentAt });
    const sent = request(
      {
        ...{ agent, port, host: '127.0.0.1', path: '/predict', method: 'POST' },
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      },
      (response) => {
        const { 'retry-after': after, connection } = response.headers;
        response.resume();
        response.on('end', () => end(response.statusCode ?? 0, '', Number(after), connection === 'close'));
        response.on('error', (error) => end(0, error.message));
      },
    );
    sent.on('error', (error) => end(0, /** @type {NodeJS.ErrnoException} */ (error).code ?? error.message));
    sent.end(body);
  });
}

const bodyOf = (rows = 1) =>
  JSON.stringify({ text: Array.from({ length: rows }, () => randomText(words)), k: 5 });

/**
 * `clients` ask without pause until `stop.now`; counts by status.
 * @param {number} port @param {number} clients @param {{ now: boolean }} stop @param {number} rows
 */
async function storm(port, clients, stop, rows) {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const result = {
    counts: /** @type {Record<string, number>} */ ({}),
    answered: /** @type {number[]} */ ([]),
    withoutRetry: 0,
  };
  const bodies = Array.from({ length: 32 }, () => bodyOf(rows));
  await Promise.all(
    Array.from({ length: clients }, async (_, c) => {
      for (let i = c; !stop.now; i++) {
        const { status, ms, retryAfter, error } = await ask(port, agent, bodies[i % bodies.length]);
        const key = status === 0 ? error : String(status);
        result.counts[key] = (result.counts[key] ?? 0) + 1;
        if (status === 200) result.answered.push(ms);
        if (status === 503 || status === 429) {
          if (!(retryAfter >= 1)) result.withoutRetry++;
          // Who is refused comes again, sooner than asked to.
          await sleep(20);
        }
      }
    }),
  );
  agent.destroy();
  return result;
}

/** Moves the pointer to another model, in one step. */
async function pointAt(/** @type {string} */ directory) {
  await symlink(basename(directory), join(run, 'next'));
  await rename(join(run, 'next'), join(run, 'model'));
}

async function soak() {
  // Written beforehand: the process that measures must not be busy with it.
  const models = [(await saveRandomModel(run, { ...shape, seed: 2 })).directory];
  models.push((await saveRandomModel(run, { ...shape, seed: 3 })).directory);
  const minutes = Number(options.minutes);
  const server = await startServing(run, ['--poll', '200', '--max-queue', '512', '--timeout', '2000']);
  const pid = server.child.pid ?? 0;
  const until = performance.now() + 60_000 * minutes;
  const samples = /** @type {number[]} */ ([]);
  const totals = { counts: /** @type {Record<string, number>} */ ({}), withoutRetry: 0 };
  const latencies = { saturated: /** @type {number[]} */ ([]), overloaded: /** @type {number[]} */ ([]) };
  let reloads = 0;
  let going = true;
  const reloading = (async () => {
    for (let seed = 2; going; seed++) {
      await sleep(5_000);
      if (!going) break;
      await pointAt(models[seed % 2]);
      reloads++;
    }
  })();
  const watching = (async () => {
    while (going) {
      await sleep(1_000);
      samples.push(await memory(pid));
    }
  })();
  // Saturation: as many clients as fill a batch. Overload: ten times the rows that may wait.
  for (let phase = 0; performance.now() < until; phase++) {
    const overloaded = phase % 2 === 1;
    const stop = { now: false };
    const length = Math.min(30_000, until - performance.now());
    setTimeout(() => {
      stop.now = true;
    }, length);
    const { counts, answered, withoutRetry } = await storm(
      server.port,
      overloaded ? 640 : 32,
      stop,
      overloaded ? 8 : 1,
    );
    for (const [key, count] of Object.entries(counts)) totals.counts[key] = (totals.counts[key] ?? 0) + count;
    totals.withoutRetry += withoutRetry;
    const kept = latencies[overloaded ? 'overloaded' : 'saturated'];
    for (const ms of answered) kept.push(ms);
  }
  going = false;
  await Promise.all([reloading, watching]);
  const health = await (await fetch(`${server.url}/healthz`)).json();
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const code = await server.stop();
  const { 200: good = 0, 503: shed = 0, 429: busy = 0, ...others } = totals.counts;
  check(
    'every request is answered or refused',
    Object.keys(others).length === 0,
    `${good} answered, ${shed + busy} refused, others ${JSON.stringify(others)}`,
  );
  check(
    'every refusal says when to come again',
    totals.withoutRetry === 0,
    `${totals.withoutRetry} without Retry-After`,
  );
  for (const [name, found] of Object.entries(latencies)) {
    found.sort((a, b) => a - b);
    const [p50, p99, most] = [quantile(found, 0.5), quantile(found, 0.99), quantile(found, 1)].map((ms) =>
      ms.toFixed(0),
    );
    console.log(
      `        seen by clients, ${name}: p50 ${p50} ms, p99 ${p99} ms, max ${most} ms of ${found.length}`,
    );
  }
  // The server's own clock: from the head of a request to its answer.
  const within = (/** @type {string} */ le) =>
    Number(
      new RegExp(`espalier_predict_seconds_bucket\\{le="${le.replace('+', '\\+')}"\\} (\\d+)`).exec(
        metrics,
      )?.[1],
    );
  check(
    'every answer is given within its deadline of 2 s',
    within('2.5') === within('+Inf'),
    `${within('0.1')} within 0.1 s, ${within('1')} within 1 s, ${within('2.5')} within 2.5 s, of ${within('+Inf')}`,
  );
  const failed = Number(/espalier_reloads_failed_total (\d+)/.exec(metrics)?.[1]);
  const taken = Number(/espalier_reloads_total (\d+)/.exec(metrics)?.[1]);
  check(
    'models are replaced under load',
    failed === 0 && taken > 0,
    `${reloads} written, ${taken} taken over, ${failed} failed, serving ${health.model}`,
  );
  const third = Math.floor(samples.length / 3);
  const median = (/** @type {number[]} */ list) =>
    quantile(
      list.toSorted((a, b) => a - b),
      0.5,
    );
  const [first, last] = [median(samples.slice(0, third)), median(samples.slice(-third))];
  check(
    'memory is flat',
    last < 1.15 * first + 2 ** 24,
    `median of the first third ${MiB(first)}, of the last ${MiB(last)}, most ${MiB(Math.max(...samples))}`,
  );
  check('the server ends with code 0', code === 0, `${code}`);
}

/**
 * Opens a socket, sends `bytes`, and tells what came back until it closed or `ms` passed.
 * @param {number} port @param {string | Buffer} bytes @param {number} ms @param {{ half?: boolean, drip?: number }} how
 */
function poke(port, bytes, ms, { half = false, drip = 0 } = {}) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: half });
    let got = '';
    let error = '';
    const timers = /** @type {NodeJS.Timeout[]} */ ([setTimeout(() => socket.destroy(), ms)]);
    socket.on('data', (part) => {
      got += part;
    });
    socket.on('error', (cause) => {
      error = /** @type {NodeJS.ErrnoException} */ (cause).code ?? cause.message;
    });
    socket.on('close', () => {
      for (const timer of timers) clearTimeout(timer);
      resolve({ got, error });
    });
    socket.on('connect', () => {
      socket.write(bytes);
      if (half) socket.end();
      if (drip > 0) timers.push(setInterval(() => socket.writable && socket.write('x'), drip));
    });
  });
}

/** Streams a body of `size` bytes without a declared length, as fast as the server reads. */
function flood(/** @type {number} */ port, /** @type {number} */ size) {
  return new Promise((resolve) => {
    const block = Buffer.alloc(1 << 16, 0x20);
    let sentBytes = 0;
    let status = 0;
    const sent = request(
      {
        ...{ port, host: '127.0.0.1', path: '/predict', method: 'POST' },
        headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
      },
      (response) => {
        status = response.statusCode ?? 0;
        response.resume();
      },
    );
    const write = () => {
      while (sentBytes < size && !sent.destroyed) {
        sentBytes += block.length;
        if (!sent.write(block)) return void sent.once('drain', write);
      }
      sent.end();
    };
    sent.on('error', () => {});
    sent.on('close', () => resolve({ status, sentBytes }));
    write();
  });
}

async function hostile() {
  const server = await startServing(run);
  const pid = server.child.pid ?? 0;
  const { port } = server;
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const before = await memory(pid);
  // A well-behaved client asks all the while.
  const stop = { now: false };
  const times = /** @type {number[]} */ ([]);
  const failed = /** @type {string[]} */ ([]);
  const witness = (async () => {
    while (!stop.now) {
      const { status, ms, error } = await ask(port, agent, bodyOf());
      if (status === 200) times.push(ms);
      else failed.push(error || String(status));
      await sleep(20);
    }
  })();

  const slow = await Promise.all(
    Array.from({ length: 300 }, () =>
      poke(port, 'POST /predict HTTP/1.1\r\nHost: localhost\r\nX-Slow: ', 20_000, { drip: 1_000 }),
    ),
  );
  const ended = slow.filter(({ got }) => got.startsWith('HTTP/1.1 408')).length;
  check(
    'clients that send a header byte a second are cut off',
    ended === 300,
    `${ended} of 300 got 408 within 20 s`,
  );

  const complete = `POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{"text":"w"}`;
  // NOTE: a client that closes its side counts as gone, as everywhere in Node: under overload nobody works for it.
  const started = performance.now();
  const halves = await Promise.all(
    Array.from({ length: 200 }, () => poke(port, complete, 10_000, { half: true })),
  );
  const closedIn = (performance.now() - started) / 1000;
  const clean = halves.filter(({ got }) => got === '' || /^HTTP\/1.1 (200|503)/.test(got)).length;
  check(
    'clients that close their side are let go',
    clean === 200 && closedIn < 9,
    `200 connections closed within ${closedIn.toFixed(1)} s`,
  );

  const abandoned = await Promise.all(
    Array.from({ length: 500 }, () => poke(port, complete, 1 + Math.random() * 3)),
  );
  const afterwards = await ask(port, agent, bodyOf());
  check(
    'clients that leave before the answer do no harm',
    afterwards.status === 200,
    `${abandoned.length} left, the next question got ${afterwards.error || afterwards.status}`,
  );

  const header = await Promise.all(
    Array.from({ length: 100 }, () =>
      poke(port, `GET / HTTP/1.1\r\nHost: localhost\r\n${'X-A: b\r\n'.repeat(50_000)}\r\n`, 5_000),
    ),
  );
  const large = header.filter(({ got, error }) => got.startsWith('HTTP/1.1 431') || error !== '').length;
  check('floods of headers are refused', large === 100, `${large} of 100 refused`);

  const deep = `{"fields":${'{"a":'.repeat(150_000)}1${'}'.repeat(150_000)}}`;
  const wide = `{"text":[${'"",'.repeat(300_000)}""]}`;
  const lists = `${'['.repeat(500_000)}${']'.repeat(500_000)}`;
  const odd = await Promise.all([deep, wide, lists].map((body) => ask(port, agent, body)));
  check(
    'deep and wide JSON is refused',
    odd.every(({ status }) => status === 400),
    odd.map(({ status }) => status).join(', '),
  );

  const floods = await Promise.all(Array.from({ length: 4 }, () => flood(port, 2 ** 30)));
  const most = Math.max(...floods.map(({ sentBytes }) => sentBytes));
  check(
    'bodies of 1 GiB are refused early',
    floods.every(({ status }) => status === 413 || status === 0) && most < 2 ** 28,
    `statuses ${floods.map(({ status }) => status).join(', ')}, at most ${MiB(most)} of each were taken`,
  );

  const wanted = Number(options.idle);
  const idle = /** @type {import('node:net').Socket[]} */ ([]);
  let refused = 0;
  for (let i = 0; i < wanted; i += 250) {
    await Promise.all(
      Array.from(
        { length: Math.min(250, wanted - i) },
        () =>
          new Promise((resolve) => {
            const socket = connect(port, '127.0.0.1', () => resolve(idle.push(socket)));
            socket.on('error', () => {
              refused++;
              resolve(0);
            });
          }),
      ),
    );
  }
  const crowded = await ask(port, new Agent(), bodyOf());
  check(
    `${wanted} idle connections keep nobody out`,
    crowded.status === 200 && refused === 0,
    `${idle.length} open, ${refused} refused, an answer in ${crowded.ms.toFixed(0)} ms (status ${crowded.status})`,
  );
  const closed = await new Promise((resolve) => {
    const started = performance.now();
    const timer = setInterval(() => {
      const left = idle.filter((socket) => !socket.destroyed && !socket.readableEnded).length;
      if (left > 0 && performance.now() - started < 30_000) return;
      clearInterval(timer);
      resolve({ left, seconds: (performance.now() - started) / 1000 });
    }, 500);
    for (const socket of idle) socket.resume();
  });
  check(
    'idle connections are closed',
    closed.left === 0,
    `${closed.left} left after ${closed.seconds.toFixed(0)} s`,
  );
  for (const socket of idle) socket.destroy();

  stop.now = true;
  await witness;
  agent.destroy();
  times.sort((a, b) => a - b);
  check(
    'a client that behaves is answered all the while',
    failed.length === 0,
    `${times.length} answers, p50 ${quantile(times, 0.5).toFixed(1)} ms, p99 ${quantile(times, 0.99).toFixed(0)} ms, ${failed.length} failed ${failed.slice(0, 3).join(' ')}`,
  );
  const after = await memory(pid);
  check('memory stays bounded', after < before + 256 * 2 ** 20, `${MiB(before)} before, ${MiB(after)} after`);
  const code = await server.stop();
  check('the server ends with code 0', code === 0, `${code}`);
}

async function drain() {
  let lost = 0;
  const causes = new Set();
  const rounds = Number(options.rounds);
  let inFlight = 0;
  const codes = [];
  const seconds = [];
  for (let round = 0; round < rounds; round++) {
    const server = await startServing(run);
    const agent = new Agent({ keepAlive: true, maxSockets: 64 });
    let killedAt = Number.POSITIVE_INFINITY;
    const clients = Array.from({ length: 64 }, async () => {
      for (;;) {
        const { status, sentAt, ms, close, error } = await ask(server.port, agent, bodyOf(4));
        if (sentAt < killedAt) {
          if (sentAt + ms > killedAt) inFlight++;
          if (status !== 200 && status !== 503) {
            lost++;
            causes.add(error || String(status));
          }
        }
        if (status === 0 || close) return;
      }
    });
    await sleep(500 + 100 * round);
    killedAt = performance.now();
    codes.push(await server.stop());
    seconds.push((performance.now() - killedAt) / 1000);
    await Promise.all(clients);
    agent.destroy();
  }
  check(
    'SIGTERM under load loses no request sent before it',
    lost === 0,
    `${inFlight} in flight over ${rounds} rounds, ${lost} lost ${[...causes].join(' ')}`,
  );
  check(
    'it ends by itself',
    codes.every((code) => code === 0),
    `codes ${codes.join(' ')}, ${Math.max(...seconds).toFixed(2)} s at most`,
  );
}

try {
  await saveRandomModel(run, shape);
  const parts = { soak, hostile, drain };
  for (const name of chosen(options.only, Object.keys(parts))) {
    console.log(`\n== ${name}`);
    await parts[/** @type {keyof typeof parts} */ (name)]();
  }
} finally {
  await rm(home, { recursive: true, force: true });
}
verdict('server');
