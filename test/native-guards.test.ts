/** The harness that fuzzes kernels is built only when someone asks for it: here it is held against their signatures. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { findCompiler } from '../src/kernels/native-compiler.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const compiler = await findCompiler().catch(() => undefined);

describe.skipIf(compiler === undefined)(
  'the fuzzing harness of the kernels (skipped without a compiler)',
  () => {
    it('calls every kernel as it is declared', async () => {
      const harness = join(root, 'torture/native/guards.cpp');
      const said = await run(compiler?.path ?? '', [
        '-std=c++17',
        '-fsyntax-only',
        '-Wall',
        '-Wextra',
        harness,
      ]);
      expect(said.stderr).toBe('');
    });
  },
);
