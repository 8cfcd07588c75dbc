/** Requests that arrive by chance, whether or not earlier ones were answered: what a service sees of many users. */
import { connect } from 'node:net';

/**
 * Posts JSON texts to `url` with exponential gaps, `rate` per second on the average. Returns milliseconds from sending to
 * the end of each answer, and how late requests were sent: a timer of Node fires up to a millisecond late, and
 * waiting more exactly would take the processor from the server. Connections are kept and spoken to in plain bytes: Node's
 * own client takes longer for a request than the server does, on the same two cores.
 * @param {{ url: string, bodies: readonly string[], rate: number, seconds: number }} load
 */
export async function arriveByChance({ url, bodies, rate, seconds }) {
  const { hostname, port, pathname } = new URL(url);
  const requests = bodies.map((body) =>
    Buffer.from(
      `POST ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  );
  /** @type {Line[]} */
  const idle = [];
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
    const line = idle.pop() ?? new Line(hostname, Number(port));
    const sent = performance.now();
    late.push(sent - began - due);
    asked.push(
      line.ask(requests[asked.length % requests.length]).then((status) => {
        if (status === 200) latencies.push(performance.now() - sent);
        else failed++;
        if (status !== 0) idle.push(line);
      }),
    );
  }
  await Promise.all(asked);
  for (const line of idle) line.close();
  return { latencies, late, failed };
}

/** One connection, one request at a time; answers name their length. */
class Line {
  #answer = '';
  /** @type {(status: number) => void} */
  #resolve = () => {};

  /** @param {string} host @param {number} port */
  constructor(host, port) {
    this.socket = connect({ host, port, noDelay: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (part) => {
      this.#answer += part;
      const head = this.#answer.indexOf('\r\n\r\n');
      if (head < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(this.#answer)?.[1]);
      if (this.#answer.length >= head + 4 + length) this.#resolve(Number(this.#answer.slice(9, 12)));
    });
    for (const end of ['error', 'close']) this.socket.on(end, () => this.#resolve(0));
  }

  /** The status, once the whole answer is there; 0 where there is none. @param {Buffer} request */
  ask(request) {
    this.#answer = '';
    this.socket.write(request);
    return new Promise((/** @type {(status: number) => void} */ resolve) => {
      this.#resolve = resolve;
    });
  }

  close() {
    this.socket.destroy();
  }
}
