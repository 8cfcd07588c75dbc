/** The package as a stranger gets it: packed, installed in an empty project, built there, used once. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const fixture = join(root, 'fixtures/planted');
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
let project: string;

/**
 * Which file of the repository a packed file is, or is made of: by `npm run build:ts`, its compiler, then the copies and
 * the bundle of scripts/assets.mjs (the dashboard's script, with preact and uplot in it).
 */
function sourcesOf(file: string): string[] {
  const compiled = /^dist\/(.*?)(\.d\.ts|\.js)$/.exec(file);
  const copied = /^dist\/(serve\/page\/.*|ui\/page\/page\.(?:css|html))$/.exec(file);
  if (file === 'dist/ui/page/page.js') return ['src/ui/page/main.tsx'];
  if (copied !== null) return [`src/${copied[1]}`];
  if (compiled !== null) return [`src/${compiled[1]}.ts`];
  // NOTE: binaries are made on the machine of the user: none may be packed.
  return /^native\/.*\.(h|cpp|md)$|^(README|CHANGELOG)\.md$|^LICENSE$|^bin\/espalier\.mjs$|^package\.json$|^docs\/glossary\.md$/.test(
    file,
  )
    ? [file]
    : [];
}

const espalier = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  run(process.execPath, [join(project, 'node_modules/espalier/bin/espalier.mjs'), ...args], {
    cwd: project,
    env: { ...process.env, ...env },
  });

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'espalier-package-'));
  const { stdout } = await run(npm, ['pack', '--json', '--ignore-scripts', '--pack-destination', project], {
    cwd: root,
  });
  const packed = JSON.parse(stdout) as unknown;
  const [{ filename }] = (Array.isArray(packed) ? packed : Object.values(packed as object)) as {
    filename: string;
  }[];
  await writeFile(join(project, 'package.json'), '{ "name": "stranger", "type": "module", "private": true }');
  const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'];
  await run(npm, ['install', ...quiet, join(project, filename)], { cwd: project });
}, 180_000);
afterAll(() => rm(project, { recursive: true, force: true }));

describe('the packed package', () => {
  it('carries no install script, no test and no source of ours beyond dist and native', async () => {
    const files = await readdir(join(project, 'node_modules/espalier'), { recursive: true });
    expect(files.filter((file) => /\.test\.|\.testing\.|^src\//.test(file))).toEqual([]);
    expect(files).toEqual(
      expect.arrayContaining(['README.md', 'LICENSE', 'dist/index.d.ts', 'native/include/kernels.h']),
    );
  });

  it('has a file for every one of its files: in the repository, or made of it by a named step', async () => {
    const base = join(project, 'node_modules/espalier');
    const entries = await readdir(base, { recursive: true, withFileTypes: true });
    const orphans = entries
      .filter((entry) => entry.isFile())
      .map((entry) => relative(base, join(entry.parentPath ?? entry.path, entry.name)))
      .filter((file) => !sourcesOf(file).some((source) => existsSync(join(root, source))));
    expect(orphans).toEqual([]);
  });

  it('without compiled kernels says so, and how to get them, and still works', async () => {
    const { stdout } = await espalier(['doctor']);
    expect(stdout).toMatch(/^kernels +reference/m);
    expect(stdout).toMatch(/espalier build/);
  });

  it('compiles its kernels with `espalier build`, then runs on them', async () => {
    await espalier(['build']);
    const { stdout } = await espalier(['doctor', '--json']);
    expect(JSON.parse(stdout).backend).toMatch(/^native\//);
  }, 600_000);

  it('trains and predicts through its public API', async () => {
    await espalier([
      'data',
      '--from',
      join(fixture, 'train.txt'),
      '--test',
      join(fixture, 'test.txt'),
      '--out',
      'd',
    ]);
    await writeFile(
      join(project, 'use.mjs'),
      `import { train, load, predictRows } from 'espalier';
       const { model } = await train({ data: 'd', out: 'run', epochs: 2, batch: 16,
         model: { encoder: { embedding: 16 }, output: { fanIn: 4 } } });
       const [row] = await predictRows(await load(model), [{ indices: [1], values: [1] }], 3);
       console.log(JSON.stringify(row.map(({ label }) => label)));`,
    );
    const { stdout } = await run(process.execPath, ['use.mjs'], { cwd: project });
    expect(new Set(JSON.parse(stdout)).size).toBe(3);
  });
});
