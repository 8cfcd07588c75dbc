/**
 * JSON without silent losses. JSON has no NaN and no infinities, and `JSON.stringify` turns them into null; here
 * they are null as well, so that any tool reads a gap, and an added member `nonFinite` tells which they were:
 *
 *     {"loss":null,"nonFinite":{"/loss":"NaN"}}
 *
 * with JSON pointers (RFC 6901) as keys. `decodeJson` puts the numbers back and removes the member. What JSON would
 * lose otherwise (typed arrays, maps, dates, bigints, functions) is refused.
 */
import { EspalierError } from '../errors.js';
import { nestsTooDeep } from '../nesting.js';

export type JsonObject = { [key: string]: unknown };

const nonFiniteNames = new Map<unknown, number>([
  ['NaN', Number.NaN],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
]);

const deepest = 100;

/** `record` as JSON, on one line unless `indent` is given; members that are undefined are left out. */
export function encodeJson(op: string, record: object, indent?: number): string {
  const found: [string, string][] = [];
  visit(record, '', 0);
  if (found.length === 0 && !Object.hasOwn(record, 'nonFinite')) return JSON.stringify(record, null, indent);
  if (Object.hasOwn(record, 'nonFinite'))
    throw refusal('/nonFinite', 'a member called nonFinite', 'rename it');
  return JSON.stringify({ ...record, nonFinite: Object.fromEntries(found) }, null, indent);

  function visit(value: unknown, path: string, depth: number): void {
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return;
    if (typeof value === 'number') {
      if (!Number.isFinite(value)) found.push([path, String(value)]);
      return;
    }
    if (depth > deepest) throw refusal(path, 'values nested too deep', 'remove the cycle');
    if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) visit(value[i], `${path}/${i}`, depth + 1);
      return;
    }
    if (!isPlain(value)) {
      const what = typeof value === 'object' ? value.constructor?.name : typeof value;
      throw refusal(path, `${what}`, 'convert it to numbers, texts, arrays and plain objects');
    }
    for (const [key, member] of Object.entries(value)) {
      if (member !== undefined) visit(member, `${path}/${escaped(key)}`, depth + 1);
    }
  }

  function refusal(path: string, received: string, hint: string): EspalierError {
    const problem = `the value at ${path === '' ? 'the root' : path} has no place in JSON`;
    return new EspalierError({ code: 'JSON_VALUE', kind: 'usage', op, problem, received, hint });
  }
}

/** The object in `text`, numbers restored; throws `JSON_DAMAGED` when there is none. */
export function decodeJson(op: string, text: string, file: string, line?: number): JsonObject {
  if (nestsTooDeep(text)) throw damaged(op, file, line, 'values are nested too deep', text.slice(0, 40));
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged(op, file, line, 'this is not JSON', `${cause}`);
  }
  if (!isPlain(value)) throw damaged(op, file, line, 'this is not a JSON object', `${text.slice(0, 40)}`);
  if (Object.hasOwn(value, 'nonFinite')) {
    const { nonFinite } = value;
    delete value.nonFinite;
    if (!isPlain(nonFinite)) throw damaged(op, file, line, 'nonFinite is not an object of numbers');
    for (const [path, name] of Object.entries(nonFinite)) {
      if (!putBack(value, path, nonFiniteNames.get(name))) {
        throw damaged(op, file, line, 'nonFinite names a value that is not there', JSON.stringify(path));
      }
    }
  }
  return value;
}

/** Only own members that are null are replaced: a path cannot reach a prototype. */
function putBack(root: JsonObject, path: string, number: number | undefined): boolean {
  const keys = path.split('/').slice(1).map(unescaped);
  const last = keys.pop();
  if (number === undefined || last === undefined) return false;
  let at: unknown = root;
  for (const key of keys) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false;
    at = (at as JsonObject)[key];
  }
  if (typeof at !== 'object' || at === null || !Object.hasOwn(at, last)) return false;
  if ((at as JsonObject)[last] !== null) return false;
  (at as JsonObject)[last] = number;
  return true;
}

const escaped = (key: string) => key.replaceAll('~', '~0').replaceAll('/', '~1');
const unescaped = (key: string) => key.replaceAll('~1', '/').replaceAll('~0', '~');

export function isPlain(value: unknown): value is JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

export function damaged(
  op: string,
  file: string,
  line: number | undefined,
  problem: string,
  received?: string,
): EspalierError {
  const hint = 'the file was edited or damaged: restore it, or fall back to an older save';
  return new EspalierError({ code: 'JSON_DAMAGED', kind: 'data', op, problem, received, hint, file, line });
}
