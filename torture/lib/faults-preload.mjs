/**
 * Loaded before a program with `--import`: makes the system misbehave as FAULT says.
 *   short    every write takes at most some of its bytes
 *   clock    the clock of the wall jumps back by up to an hour at every call
 */
import fs from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generator } from './report.mjs';

const random = generator(Number(process.env.FAULT_SEED ?? 1));
const fault = process.env.FAULT;
const some = (/** @type {number} */ length) => Math.max(1, Math.ceil(length * random()));

if (fault === 'short') {
  const writeSync = fs.writeSync;
  fs.writeSync = (fd, data, offset, length, position) =>
    typeof data === 'string' || length === undefined
      ? writeSync(fd, data, offset, length, position)
      : writeSync(fd, data, offset, some(length), position);
  syncBuiltinESMExports();
  const path = join(tmpdir(), `espalier-fault-${process.pid}`);
  const handle = await open(path, 'w');
  const prototype = Object.getPrototypeOf(handle);
  const { write } = prototype;
  prototype.write = function (data, offset, length, position) {
    return typeof data === 'string' || length === undefined
      ? write.call(this, data, offset, length, position)
      : write.call(this, data, offset, some(length), position);
  };
  await handle.close();
  fs.rmSync(path);
} else if (fault === 'clock') {
  const now = Date.now;
  let back = 0;
  const turned = () => {
    back += 3_600_000 * random();
    return Math.floor(now() - back);
  };
  Date.now = turned;
  globalThis.Date = new Proxy(Date, {
    construct: (target, args) => new target(...(args.length === 0 ? [turned()] : args)),
  });
}
