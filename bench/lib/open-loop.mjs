/** Requests that arrive by chance, whether or not earlier ones were answered: what a service sees of many users. */
import { Agent, request } from 'node:http';

/**
 * Posts JSON texts to `url` with exponential gaps, `rate` per second on the average, and returns milliseconds from the
 * moment each was due, sorted; a request that waits for a late client counts as waiting.
 * @param {{ url: string, bodies: readonly string[], rate: number, seconds: number }} load
 */
export async function arriveByChance({ url, bodies, rate, seconds }) {
  const agent = new Agent({ keepAlive: true });
  /** @type {number[]} */
  const latencies = [];
  let failed = 0;
  /** @type {Promise<void>[]} */
  const asked = [];
  const began = performance.now();
  for (let due = 0; due < 1000 * seconds; due += (-Math.log(1 - Math.random()) * 1000) / rate) {
    const wait = began + due - performance.now();
    if (wait >= 1) await new Promise((resolve) => setTimeout(resolve, Math.floor(wait)));
    while (performance.now() < began + due) await new Promise((resolve) => setImmediate(resolve));
    asked.push(
      post(url, agent, bodies[asked.length % bodies.length]).then((status) => {
        if (status === 200) latencies.push(performance.now() - began - due);
        else failed++;
      }),
    );
  }
  await Promise.all(asked);
  agent.destroy();
  return { latencies: latencies.sort((a, b) => a - b), failed };
}

/** Resolves with the status once the whole answer is there; 0 where there is none. */
function post(/** @type {string} */ url, /** @type {Agent} */ agent, /** @type {string} */ body) {
  return new Promise((/** @type {(status: number) => void} */ resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = request(url, { method: 'POST', agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode ?? 0));
    });
    sent.on('error', () => resolve(0));
    sent.end(body);
  });
}
