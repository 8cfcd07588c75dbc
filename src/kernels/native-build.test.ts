import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import type { EspalierError } from '../errors.js';
import { buildNative, isaLevels } from './native-build.js';
import { findCompiler } from './native-compiler.js';

const compiler = await findCompiler().catch(() => undefined);
const root = mkdtempSync(join(tmpdir(), 'espalier-build-'));

function put(path: string, text: string): void {
  const file = join(root, 'native', path);
  mkdirSync(join(file, '..'), { recursive: true });
  writeFileSync(file, text);
}

async function refusal(work: Promise<unknown>): Promise<EspalierError> {
  return work.then(
    () => Promise.reject(new Error('nothing was refused')),
    (error) => error,
  );
}

describe.skipIf(compiler === undefined)('buildNative (skipped without a C++ compiler)', () => {
  beforeEach(() => {
    vi.unstubAllEnvs();
    rmSync(root, { recursive: true, force: true });
    put('kernels/one.cpp', '#include "one.h"\nnamespace ES_NS { int one() { return ONE; } }\n');
    put('kernels/one.h', '#define ONE 1\n');
    put('kernels/two.cpp', 'namespace ES_NS { int two() { return 2; } }\n');
    put('runtime/main.cpp', 'int main_of_all() { return 0; }\n');
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  const build = () => buildNative({ packageRoot: root });
  const levels = isaLevels().length;

  it('compiles kernels once per instruction set, everything else once, and then nothing', async () => {
    expect(await build()).toMatchObject({ compiled: 2 * levels + 1, reused: 0 });
    expect(await build()).toMatchObject({ compiled: 0, reused: 2 * levels + 1 });
  });

  it('compiles again exactly what includes a changed header', async () => {
    await build();
    put('kernels/one.h', '#define ONE 11\n');
    expect(await build()).toMatchObject({ compiled: levels, reused: levels + 1 });
  });

  it('a build folder that was copied is made anew of the sources beside it', async () => {
    await build();
    const copy = join(root, 'copy');
    for (const part of ['native', 'build']) cpSync(join(root, part), join(copy, part), { recursive: true });
    writeFileSync(
      join(copy, 'native', 'kernels', 'two.cpp'),
      'namespace ES_NS { int two() { return 22; } }\n',
    );
    expect(await buildNative({ packageRoot: copy })).toMatchObject({ compiled: 2 * levels + 1 });
  });

  it('a source that does not compile is named with what the compiler said, and nothing half made stays', async () => {
    put('kernels/two.cpp', 'int two( { return 2; }\n');
    const error = await refusal(build());
    expect(error.code).toBe('BUILD_COMPILE');
    expect(error.message).toContain(join('native', 'kernels', 'two.cpp'));
    expect(error.facts.received).toMatch(/error/);
    expect(readdirSync(join(root, 'build'))).not.toContain('espalier.node');
    put('kernels/two.cpp', 'namespace ES_NS { int two() { return 2; } }\n');
    await build();
    expect(readdirSync(join(root, 'build'))).toContain('espalier.node');
  });

  it('a missing compiler is refused with the remedy', async () => {
    vi.stubEnv('CXX', '/nowhere/c++');
    const error = await refusal(build());
    expect(error.code).toBe('BUILD_NO_COMPILER');
    expect(error.facts.hint).toMatch(/apt install g\+\+|xcode-select/);
  });
});
