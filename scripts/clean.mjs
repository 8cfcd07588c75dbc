/** Removes the build folders named on the command line, so that no file of an older build stays behind. */
import { rmSync } from 'node:fs';

for (const folder of process.argv.slice(2)) {
  if (!['dist', 'build'].includes(folder)) throw new Error(`not a build folder: ${folder}`);
  rmSync(new URL(`../${folder}`, import.meta.url), { recursive: true, force: true });
}
