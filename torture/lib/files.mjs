/** The bits of directories. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What says when and where a model was made, not what it is. */
const passing = new Set(['espalier.json']);

/** SHA-256 by file of a model directory. */
export async function filesOf(/** @type {string} */ directory) {
  /** @type {Record<string, string>} */
  const found = {};
  for (const file of (await readdir(directory)).sort()) {
    if (passing.has(file)) continue;
    found[file] = createHash('sha256')
      .update(await readFile(join(directory, file)))
      .digest('hex');
  }
  if (!Object.keys(found).some((file) => file.endsWith('.safetensors')))
    throw new Error(`no weights in ${directory}`);
  return found;
}
