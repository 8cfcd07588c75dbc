/** Sizes as people write them. */
import { EspalierError } from '../errors.js';

const units: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** `2GiB`, `512 MiB`, `1.5gb`, bytes without a unit. */
export function parseSize(text: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match === null ? undefined : units[match[2].toLowerCase()];
  if (match === null || unit === undefined || !(Number(match[1]) > 0)) {
    throw new EspalierError({
      code: 'SIZE_SYNTAX',
      kind: 'usage',
      op: '--max-memory',
      problem: 'this is no size in bytes',
      expected: 'a number and a unit: 2GiB, 512MiB, 1.5GB',
      received: text,
    });
  }
  return Math.floor(Number(match[1]) * unit);
}
