/** Who may ask, how much at once, and under which name. */
import type { FastifyInstance } from 'fastify';
import type { ServeLimits } from './limits.js';
import { Refusal } from './problems.js';

export interface ClientRules {
  readonly limits: ServeLimits;
  /** Names beside localhost by which a server on loopback may be called; null: any name. */
  readonly allowHosts: readonly string[] | null;
  /** Told of every refusal. */
  readonly metrics?: { refused(reason: string): void };
}

const loopback: readonly string[] = ['localhost', '127.0.0.1', '[::1]', '::1'];

/** Whether a server that listens there is reached from this machine alone. */
export const isLoopback = (host: string): boolean => loopback.includes(host);

/**
 * A page on the web may not talk to a server on loopback by pointing a name of its own at 127.0.0.1 (DNS rebinding):
 * such requests come with that name. And one address cannot fill the server alone.
 */
export function guardClients(app: FastifyInstance, { limits, allowHosts, metrics }: ClientRules): void {
  const allowed = allowHosts === null ? null : new Set([...loopback, ...allowHosts]);
  const open = new Map<string, number>();
  app.addHook('onRequest', async (request, reply) => {
    const name = request.hostname.toLowerCase();
    if (allowed !== null && !allowed.has(name)) {
      metrics?.refused('host');
      throw new Refusal(421, 'HOST_UNKNOWN', 'this server is not called by that name', {
        received: name.slice(0, 80),
        hint: 'start it with --allow-host NAME when a proxy passes that name on',
      });
    }
    const { ip } = request;
    const mine = open.get(ip) ?? 0;
    if (mine >= limits.perClient) {
      metrics?.refused('client');
      throw new Refusal(429, 'CLIENT_BUSY', 'this address has too many requests here at once', {
        expected: `at most ${limits.perClient}`,
        retryAfter: 1,
      });
    }
    open.set(ip, mine + 1);
    reply.raw.once('close', () => {
      const left = (open.get(ip) ?? 1) - 1;
      if (left === 0) open.delete(ip);
      else open.set(ip, left);
    });
  });
}
