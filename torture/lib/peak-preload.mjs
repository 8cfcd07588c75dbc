/** Loaded before a program (`node --import`): says at its end the most memory that it held, in a file. */
import { writeFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

const file = process.env.TORTURE_PEAK;
// NOTE: threads load this too; the peak is that of the whole process.
if (isMainThread && file !== undefined) {
  process.on('exit', () => writeFileSync(file, String(1024 * process.resourceUsage().maxRSS)));
}
