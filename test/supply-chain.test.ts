/** What comes along with this package, and what it may run: read from the lock file, without a network. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const read = (name: string) =>
  JSON.parse(readFileSync(fileURLToPath(new URL(`../${name}`, import.meta.url)), 'utf8'));
const manifest = read('package.json') as { scripts: Record<string, string>; license: string };
const lock = read('package-lock.json') as {
  packages: Record<
    string,
    {
      version: string;
      license?: string;
      integrity?: string;
      dev?: boolean;
      hasInstallScript?: boolean;
      link?: boolean;
    }
  >;
};
const packages = Object.entries(lock.packages).filter(([path]) => path !== '');
const runtime = packages.filter(([, { dev }]) => dev !== true);

/** Licences under which dependencies may come along with an Apache-2.0 package. */
const shipped = new Set([
  'MIT',
  'ISC',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'Apache-2.0',
  '0BSD',
  'BlueOak-1.0.0',
]);
/** Further ones of tools that only build and test. */
const tools = new Set([
  ...shipped,
  'Python-2.0',
  'MPL-2.0',
  'CC-BY-4.0',
  'MIT OR Apache-2.0',
  '(MIT AND Zlib)',
]);

describe('the supply chain', () => {
  it('runs nothing when it is installed, neither ours nor that of a dependency at run time', () => {
    const hooks = [
      'preinstall',
      'install',
      'postinstall',
      'prepare',
      'prepublish',
      'preprepare',
      'postprepare',
    ];
    expect(Object.keys(manifest.scripts).filter((name) => hooks.includes(name))).toEqual([]);
    expect(runtime.filter(([, { hasInstallScript }]) => hasInstallScript).map(([path]) => path)).toEqual([]);
  });

  it('has only licences of the list', () => {
    const foreign = (list: typeof packages, allowed: ReadonlySet<string>) =>
      list
        .filter(([, { license }]) => !allowed.has(license ?? 'none'))
        .map(([path, { license }]) => `${path}: ${license}`);
    expect(manifest.license).toBe('Apache-2.0');
    expect(foreign(runtime, shipped)).toEqual([]);
    expect(foreign(packages, tools)).toEqual([]);
  });

  it('is pinned: every package of the lock file has a checksum', () => {
    expect(packages.filter(([, { integrity, link }]) => integrity === undefined && link !== true)).toEqual(
      [],
    );
  });

  it('stays small: what comes along at run time is counted, so that growth is a decision', () => {
    expect(runtime.length).toBeLessThanOrEqual(64);
  });
});
