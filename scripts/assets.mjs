/** Copies what the compiler leaves behind (pages, styles, scripts of browsers) beside the compiled code. */
import { cpSync } from 'node:fs';

for (const folder of ['serve/page']) {
  cpSync(new URL(`../src/${folder}`, import.meta.url), new URL(`../dist/${folder}`, import.meta.url), {
    recursive: true,
  });
}
