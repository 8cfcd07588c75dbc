/** The C++ compiler of this machine: found, asked for its version, run without a shell. */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { type ErrorFacts, EspalierError } from '../errors.js';

export interface Compiler {
  readonly path: string;
  /** First line of `--version`. */
  readonly version: string;
}

/**
 * The C++ compiler that a build would use: the CXX variable, else c++, g++, clang++ from PATH.
 * @throws EspalierError BUILD_NO_COMPILER
 */
export async function findCompiler(): Promise<Compiler> {
  const wanted = process.env.CXX;
  const names = wanted ? [wanted] : ['c++', 'g++', 'clang++'];
  for (const name of names) {
    const path = which(name);
    if (path === undefined) continue;
    const { code, output } = await capture(path, ['--version']);
    if (code === 0) return { path, version: output.split('\n')[0].trim() };
  }
  throw buildError('BUILD_NO_COMPILER', 'no C++ compiler was found', {
    expected: 'a compiler with C++17 (g++ 9 or clang++ 9, or newer)',
    received: wanted ? `CXX=${wanted}, which does not run` : `none of ${names.join(', ')} on PATH`,
    hint:
      process.platform === 'darwin'
        ? 'run `xcode-select --install`, then build again'
        : 'run `apt install g++` (or `dnf install gcc-c++`, `apk add g++`), then build again',
  });
}

/** Runs the compiler towards `output`, gone again on failure; the error carries the tail of what was printed. */
export async function compile(
  compiler: Compiler,
  args: readonly string[],
  output: string,
  code: 'BUILD_COMPILE' | 'BUILD_LINK',
  problem: string,
): Promise<void> {
  const result = await capture(compiler.path, [...args, '-o', output]);
  if (result.code === 0) return;
  await rm(output, { force: true });
  throw buildError(code, problem, {
    received: `exit status ${result.code} of ${compiler.path}\n${tail(result.output, 30)}\n`,
    hint: 'CXX=/path/to/another/compiler selects another one',
  });
}

export function buildError(
  code: string,
  problem: string,
  more: Pick<ErrorFacts, 'expected' | 'received' | 'hint' | 'cause'>,
): EspalierError {
  return new EspalierError({ code, kind: 'system', op: 'build', problem, ...more });
}

function which(name: string): string | undefined {
  if (name.includes('/')) return existsSync(name) ? name : undefined;
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder !== '' && existsSync(join(folder, name))) return join(folder, name);
  }
  return undefined;
}

function capture(path: string, args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((done) => {
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-100_000);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', (error) => done({ code: -1, output: error.message }));
    child.on('close', (code) => done({ code: code ?? -1, output }));
  });
}

function tail(text: string, lines: number): string {
  return text.trimEnd().split('\n').slice(-lines).join('\n');
}
