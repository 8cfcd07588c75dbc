/** Requests that arrive by chance, whether or not earlier ones were answered: what a service sees of many users. */
import { Agent, request } from 'node:http';

/**
 * Posts JSON texts to `url` with exponential gaps, `rate` per second on the average. Returns milliseconds from sending to
 * the end of each answer, and how late requests were sent: a timer of Node fires up to a millisecond late, and
 * waiting more exactly would take the processor from the server.
 * @param {{ url: string, bodies: readonly string[], rate: number, seconds: number }} load
 */
export async function arriveByChance({ url, bodies, rate, seconds }) {
  const agent = new Agent({ keepAlive: true });
  /** @type {number[]} */
  const latencies = [];
  /** @type {number[]} */
  const late = [];
  let failed = 0;
  /** @type {Promise<void>[]} */
  const asked = [];
  const began = performance.now();
  for (let due = 0; due < 1000 * seconds; due += (-Math.log(1 - Math.random()) * 1000) / rate) {
    const wait = began + due - performance.now();
    if (wait >= 1) await new Promise((resolve) => setTimeout(resolve, Math.floor(wait)));
    const sent = performance.now();
    late.push(sent - began - due);
    asked.push(
      post(url, agent, bodies[asked.length % bodies.length]).then((status) => {
        if (status === 200) latencies.push(performance.now() - sent);
        else failed++;
      }),
    );
  }
  await Promise.all(asked);
  agent.destroy();
  return { latencies, late, failed };
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
