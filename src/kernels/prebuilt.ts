/**
 * Compiled kernels that came as a package of their own, for machines without a compiler: found, and believed only where
 * they are made of the very sources that this package carries, and whole.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, extname, join, sep } from 'node:path';
import { packageRoot } from './native-build.js';

/** Packages by `platform-arch`; npm installs the one whose `os`, `cpu` and `libc` fit. */
export const prebuiltPackages: Readonly<Record<string, string>> = {
  'linux-x64': '@espalier/linux-x64-gnu',
};

export const provenanceFile = 'provenance.json';
const FORMAT = 'espalier-prebuilt';

/** How an addon was made, as stored beside it. */
export interface Provenance {
  readonly format: typeof FORMAT;
  /** Of the package whose sources it was made of. */
  readonly version: string;
  /** `sourceDigest` of these sources. */
  readonly sources: string;
  readonly addon: { readonly sha256: string; readonly bytes: number };
  /** First line of `--version`. */
  readonly compiler: string;
  /** By kind of source, and of the linker. */
  readonly flags: Readonly<Record<string, readonly string[]>>;
  /** Of `node-api-headers`. */
  readonly headers: string;
  /** The oldest C library that has all symbols it asks for, e.g. `glibc 2.34`; null where that is not known. */
  readonly needs: string | null;
}

export interface Prebuilt {
  /** Name and version, e.g. `@espalier/linux-x64-gnu 0.1.0`. */
  readonly name: string;
  readonly path: string;
  readonly provenance: Provenance | null;
  /** Why it must not be loaded; null where nothing speaks against it. */
  readonly refusal: string | null;
}

/**
 * SHA-256 over names and contents of all C++ files below `native`, in the order of their names: the same on every machine.
 */
export function sourceDigest(root = packageRoot()): string {
  const native = join(root, 'native');
  const files = readdirSync(native, { recursive: true, encoding: 'utf8' })
    .filter((file) => ['.cpp', '.h'].includes(extname(file)))
    .map((file) => ({ file, name: file.split(sep).join('/') }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const hash = createHash('sha256');
  for (const { file, name } of files) {
    const content = readFileSync(join(native, file));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest('hex');
}

/** What an addon is known by. */
export function addonDigest(path: string): Provenance['addon'] {
  const bytes = readFileSync(path);
  return { sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length };
}

/**
 * The package of compiled kernels for this machine, or undefined where none is installed. It is compared with the sources
 * and the version of this package, and the addon with its checksum, before any of it is loaded.
 *
 * @example findPrebuilt()?.refusal // null: loadable
 */
export function findPrebuilt(root = packageRoot()): Prebuilt | undefined {
  const wanted = prebuiltPackages[`${process.platform}-${process.arch}`];
  if (wanted === undefined) return undefined;
  let manifest: string;
  try {
    manifest = createRequire(join(root, 'package.json')).resolve(`${wanted}/package.json`);
  } catch {
    return undefined;
  }
  const folder = dirname(manifest);
  const path = join(folder, 'espalier.node');
  try {
    const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string };
    const mine = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
    const provenance = JSON.parse(readFileSync(join(folder, provenanceFile), 'utf8')) as Provenance;
    const refusal = refusalOf(provenance, version, mine.version, root, path);
    return { name: `${wanted} ${version}`, path, provenance, refusal };
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    return {
      ...{ name: wanted, path, provenance: null },
      refusal: `the package cannot be read: ${problem}`,
    };
  }
}

function refusalOf(
  { format, version, sources, addon }: Provenance,
  packaged: string,
  mine: string,
  root: string,
  path: string,
): string | null {
  if (format !== FORMAT) return `${provenanceFile} does not say ${FORMAT}`;
  if (version !== mine || packaged !== mine)
    return `it is made for version ${version === mine ? packaged : version}, and this is ${mine}`;
  const digest = sourceDigest(root);
  if (sources !== digest)
    return `it is made of other sources (SHA-256 ${short(sources)}) than this package carries (${short(digest)})`;
  const found = addonDigest(path);
  if (addon?.sha256 !== found.sha256)
    return `espalier.node is not the file that was packed (SHA-256 ${short(found.sha256)}, expected ${short(addon?.sha256)})`;
  return null;
}

const short = (digest: unknown) => `${String(digest).slice(0, 12)}...`;
