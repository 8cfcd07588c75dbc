/**
 * Compiled kernels as a package of their own: packed, installed beside the main package in an empty project, used there
 * without a compiler, and refused as soon as they are not what they say.
 */
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { findCompiler } from '../src/kernels/native-compiler.js';
import { prebuiltPackages, sourceDigest } from '../src/kernels/prebuilt.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const name = prebuiltPackages[`${process.platform}-${process.arch}`];
const compiler = await findCompiler().catch(() => undefined);
const { glibcVersionRuntime } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } })
  .header;
const packs = name !== undefined && glibcVersionRuntime !== undefined && compiler !== undefined;

describe.skipIf(!packs)('the prebuilt package (skipped without a compiler, and where none is packed)', () => {
  let project: string;
  let folder: string;
  const undo: (() => Promise<void>)[] = [];

  /** As on a machine that has Node and nothing else. */
  const espalier = async (...args: string[]) => {
    const program = join(project, 'node_modules/espalier/dist/cli/main.js');
    const env = { HOME: project, PATH: '/nowhere' };
    return (await run(process.execPath, [program, ...args], { cwd: project, env })).stdout;
  };
  const doctor = async () => JSON.parse(await espalier('doctor', '--json'));

  /** Changes a file of the installed kernels until the end of the test. */
  async function change(file: string, how: (content: Buffer) => Buffer | string): Promise<void> {
    const path = join(folder, file);
    const before = await readFile(path);
    undo.push(() => writeFile(path, before));
    await writeFile(path, how(Buffer.from(before)));
  }

  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'espalier-prebuilt-'));
    folder = join(project, 'node_modules', ...name.split('/'));
    await run(process.execPath, [join(root, 'scripts/pack-prebuilt.mjs'), '--out', project], { cwd: root });
    await writeFile(join(project, 'package.json'), '{ "name": "stranger", "private": true }');
    const packed = (await readdir(project))
      .filter((file) => file.endsWith('.tgz'))
      .map((file) => `./${file}`);
    expect(packed).toHaveLength(2);
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts'];
    await run('npm', ['install', ...quiet, ...packed], { cwd: project });
  }, 600_000);
  afterEach(async () => {
    for (const back of undo.splice(0)) await back();
  });
  afterAll(() => rm(project, { recursive: true, force: true }));

  it('is named by the packed manifest, by version, and by no manifest of the repository', async () => {
    const packed = JSON.parse(await readFile(join(project, 'node_modules/espalier/package.json'), 'utf8'));
    expect(packed.optionalDependencies).toEqual({ [name]: packed.version });
    const { optionalDependencies, ...own } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(optionalDependencies).toBeUndefined();
    expect(packed).toMatchObject(own);
  });

  it('carries the kernels, their papers, and nothing that is run when it is installed', async () => {
    expect((await readdir(folder)).sort()).toEqual(
      ['LICENSE', 'README.md', 'espalier.node', 'package.json', 'provenance.json'].sort(),
    );
    const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
    expect(manifest).toMatchObject({ os: ['linux'], cpu: ['x64'], libc: ['glibc'], license: 'Apache-2.0' });
    expect(manifest.scripts).toBeUndefined();
    const provenance = JSON.parse(await readFile(join(folder, 'provenance.json'), 'utf8'));
    expect(provenance).toMatchObject({ sources: sourceDigest(root), compiler: compiler?.version });
    expect(Object.keys(provenance.flags)).toEqual(expect.arrayContaining(['kernels for avx512', 'link']));
  });

  it('makes native kernels run without a compiler, and the doctor says where they came from', async () => {
    const report = await doctor();
    expect(report).toMatchObject({ compiler: null, remedy: null });
    expect(report.backend).toMatch(/^native\//);
    const [built, prebuilt] = report.addon;
    expect(built.exists).toBe(false);
    expect(prebuilt).toMatchObject({ exists: true, refusal: null, path: join(folder, 'espalier.node') });
    expect(await espalier('doctor')).toContain(`prebuilt: ${name}`);
  });

  it.each<[string, string, (content: Buffer) => Buffer | string, RegExp]>([
    [
      'of other sources',
      'provenance.json',
      (text) => text.toString().replace(/("sources": ")\w{6}/, '$1beef00'),
      /made of other sources \(SHA-256 beef00/,
    ],
    [
      'of another version',
      'package.json',
      (text) => text.toString().replace(/("version": ")[^"]+/, '$19.9.9'),
      /made for version 9\.9\.9/,
    ],
    [
      'with a changed bit',
      'espalier.node',
      (bytes) => {
        bytes[bytes.length >> 1] ^= 1;
        return bytes;
      },
      /not the file that was packed/,
    ],
    ['with unreadable papers', 'provenance.json', () => '{', /cannot be read/],
  ])('%s is refused, and the doctor says why', async (_, file, how, why) => {
    await change(file, how);
    const { backend, reason, addon, remedy } = await doctor();
    expect(backend).toBe('reference/float32');
    expect(reason).toMatch(why);
    expect(addon[1].refusal).toMatch(why);
    expect(remedy).toMatch(/espalier build/);
    expect(await espalier('doctor')).toMatch(/not loaded: /);
  });
});

describe('the digest of the sources', () => {
  it('is that of names and contents, whatever else lies beside them', async () => {
    const one = await mkdtemp(join(tmpdir(), 'espalier-digest-'));
    try {
      await mkdir(join(one, 'native/a'), { recursive: true });
      await writeFile(join(one, 'native/a/b.cpp'), 'int b;');
      const before = sourceDigest(one);
      await writeFile(join(one, 'native/README.md'), 'words');
      expect(sourceDigest(one)).toBe(before);
      await writeFile(join(one, 'native/a/b.cpp'), 'int c;');
      expect(sourceDigest(one)).not.toBe(before);
      await rm(join(one, 'native/a/b.cpp'));
      await writeFile(join(one, 'native/a/c.cpp'), 'int b;');
      expect(sourceDigest(one)).not.toBe(before);
    } finally {
      await rm(one, { recursive: true });
    }
  });
});
