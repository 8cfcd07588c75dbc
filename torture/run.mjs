/** `npm run torture -- NAME [options]`: what the project claims of long runs, faults and hostile input, rerun. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const known = readdirSync(here)
  .filter((file) => file.endsWith('.mjs') && file !== 'run.mjs')
  .map((file) => file.slice(0, -'.mjs'.length));
const [name, ...options] = process.argv.slice(2);
if (name === undefined || !known.includes(name)) {
  console.error(`npm run torture -- NAME [options]; the names are: ${known.join(', ')}`);
  process.exit(2);
}
process.exitCode =
  spawnSync(process.execPath, [join(here, `${name}.mjs`), ...options], {
    stdio: 'inherit',
  }).status ?? 1;
