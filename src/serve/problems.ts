/** Refusals as problem documents (RFC 9457). */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Problem } from '../client/types.js';
import { type ErrorFacts, EspalierError } from '../errors.js';

/** A refusal with its status; `retryAfter` in seconds where another try makes sense. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly more: Partial<Pick<Problem, 'expected' | 'received' | 'hint'>> & {
      readonly retryAfter?: number;
      readonly allow?: string;
    } = {},
  ) {
    super(detail);
    this.name = 'Refusal';
  }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad request',
  404: 'Not found',
  405: 'Method not allowed',
  408: 'Request timeout',
  413: 'Content too large',
  415: 'Unsupported media type',
  421: 'Misdirected request',
  422: 'The request does not fit the model',
  429: 'Too many requests',
  431: 'Request header fields too large',
  500: 'Internal error',
  503: 'Service unavailable',
};

export function problemDocument(
  status: number,
  code: string,
  detail: string,
  more: Partial<Problem> = {},
): Problem {
  return {
    type: `urn:espalier:problem:${code}`,
    title: titles[status] ?? `Status ${status}`,
    status,
    detail,
    code,
    ...more,
  };
}

/** What a request did wrong when the model refused it: 4xx for data and usage, 500 for the rest. */
export function refusalOf(facts: ErrorFacts): Refusal {
  // The worker is being replaced: nothing is wrong with the request.
  if (facts.code === 'WORKER_LOST') return new Refusal(503, facts.code, facts.problem, { retryAfter: 1 });
  const own = facts.kind === 'data' || facts.kind === 'usage';
  const { expected, received, hint } = facts;
  return new Refusal(own ? 422 : 500, facts.code, facts.problem, { expected, received, hint });
}

interface HttpError extends Error {
  readonly code?: string;
  readonly statusCode?: number;
}

/** Any error as a refusal: ours, fastify's of the body and the media type, or an unexpected one, of which nothing is told. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof EspalierError) return refusalOf(error.facts);
  const { statusCode = 500, code = 'HTTP', message } = error as HttpError;
  if (error instanceof SyntaxError || code === 'FST_ERR_CTP_INVALID_JSON_BODY') {
    return new Refusal(400, 'BODY_JSON', 'the body is not JSON', { received: message.slice(0, 120) });
  }
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new Refusal(413, 'BODY_TOO_LARGE', 'the body is larger than this server takes', {
      hint: 'send fewer inputs per request, or start the server with a larger --max-body',
    });
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new Refusal(415, 'BODY_MEDIA_TYPE', 'the body has a media type that this server does not read', {
      expected: 'Content-Type: application/json',
    });
  }
  if (code === 'FST_ERR_CTP_EMPTY_JSON_BODY') return new Refusal(400, 'BODY_EMPTY', 'the body is empty');
  if (statusCode >= 400 && statusCode < 500) return new Refusal(statusCode, code, message.slice(0, 200));
  return new Refusal(500, 'INTERNAL', 'the server failed; its log says more under this request id');
}

/** Sends a refusal; unexpected ones are logged with their stack. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = asRefusal(error);
  const { status, code, message, more } = refusal;
  if (status >= 500 && status !== 503) request.log.error({ err: error }, 'request failed');
  const { retryAfter, allow, ...facts } = more;
  if (retryAfter !== undefined) reply.header('retry-after', String(Math.max(1, Math.ceil(retryAfter))));
  if (allow !== undefined) reply.header('allow', allow);
  return reply
    .code(status)
    .type('application/problem+json')
    .send(JSON.stringify(problemDocument(status, code, message, { ...facts, requestId: request.id })));
}
