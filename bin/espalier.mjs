#!/usr/bin/env node
// The program. It stands here and not in dist/, so that npx, which keeps what it once found, finds it before the first build.
import { existsSync } from 'node:fs';

const program = new URL('../dist/cli/main.js', import.meta.url);
if (existsSync(program)) await import(program.href);
else {
  console.error('espalier is not built yet: npm run build');
  process.exitCode = 1;
}
