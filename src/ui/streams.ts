/** Server-sent events to every open page; a page that does not keep up is let go, and comes back by itself. */
import type { ServerResponse } from 'node:http';

const mostBuffered = 8 << 20;
const aliveMs = 15_000;

export class EventStreams {
  readonly #open = new Set<ServerResponse>();
  readonly #alive = setInterval(() => this.#write(': alive\n\n'), aliveMs).unref();

  get count(): number {
    return this.#open.size;
  }

  add(response: ServerResponse): void {
    this.#open.add(response);
    response.on('close', () => this.#open.delete(response));
    response.on('error', () => this.#open.delete(response));
  }

  send(event: string, data: unknown): void {
    this.#write(textOf(event, data));
  }

  sendTo(response: ServerResponse, event: string, data: unknown): void {
    response.write(textOf(event, data));
  }

  close(): void {
    clearInterval(this.#alive);
    for (const response of this.#open) response.end();
  }

  #write(text: string): void {
    for (const response of this.#open) {
      if (response.writableLength > mostBuffered) response.destroy();
      else response.write(text);
    }
  }
}

const textOf = (event: string, data: unknown) => `event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
