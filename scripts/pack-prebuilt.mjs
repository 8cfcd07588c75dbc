// Packs what is published: this package, and its compiled kernels as an optional package of their own, for machines
// without a compiler. After `npm run build`:
//   npm run pack:prebuilt -- [--out DIR]
// The optional dependency stands in the packed manifest alone: this repository installs from its lock file without it.
// Publish the kernels first.
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { buildFlags, buildNative } from '../dist/kernels/native-build.js';
import { addonDigest, prebuiltPackages, provenanceFile, sourceDigest } from '../dist/kernels/prebuilt.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: options } = parseArgs({
  options: { out: { type: 'string', default: join(root, 'build', 'npm') } },
});
const out = resolve(options.out);
const platform = `${process.platform}-${process.arch}`;
const name = prebuiltPackages[platform];
/** @type {{ header: { glibcVersionRuntime?: string } }} */
const report = /** @type {any} */ (process.report.getReport());
if (name === undefined || report.header.glibcVersionRuntime === undefined) {
  console.error(
    `kernels are packed for ${Object.keys(prebuiltPackages).join(', ')} with glibc; this is ${platform}`,
  );
  process.exit(2);
}

const json = (/** @type {string} */ file) => JSON.parse(readFileSync(file, 'utf8'));
const npm = (/** @type {string} */ cwd, /** @type {string[]} */ ...args) => {
  const said = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', ...args], { cwd, encoding: 'utf8' }),
  );
  // A list, or an object by name, as the version of npm has it.
  return Object.values(said)[0];
};
const write = (/** @type {string} */ file, /** @type {unknown} */ value) =>
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);

const manifest = json(join(root, 'package.json'));
const { version, license, engines } = manifest;
const stage = mkdtempSync(join(tmpdir(), 'espalier-pack-'));
mkdirSync(out, { recursive: true });
try {
  const kernels = join(stage, 'kernels');
  mkdirSync(kernels);
  const addon = join(kernels, 'espalier.node');
  // What every machine with glibc has: the C++ library is taken along, and nothing of it is seen from outside.
  const linkFlags = ['-static-libstdc++', '-static-libgcc', '-Wl,--exclude-libs,ALL', '-Wl,-s'];
  const { compiler } = await buildNative({ addon, linkFlags });
  rmSync(`${addon}.stamp`);
  const symbols = [...readFileSync(addon, 'latin1').matchAll(/\bGLIBC_(\d+)\.(\d+)/g)];
  const newest = symbols
    .map(([, major, minor]) => [Number(major), Number(minor)])
    .sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const flags = buildFlags();
  /** @type {import('../dist/kernels/prebuilt.js').Provenance} */
  const provenance = {
    format: 'espalier-prebuilt',
    version,
    sources: sourceDigest(root),
    addon: addonDigest(addon),
    compiler: compiler.version,
    flags: { ...flags, link: [...flags.link, ...linkFlags] },
    headers: json(createRequire(import.meta.url).resolve('node-api-headers/package.json')).version,
    needs: newest.length === 0 ? null : `glibc ${newest[newest.length - 1].join('.')}`,
  };
  write(join(kernels, provenanceFile), provenance);
  write(join(kernels, 'package.json'), {
    name,
    version,
    description: `Compiled kernels of espalier for ${platform} with ${provenance.needs ?? 'glibc'} or newer.`,
    license,
    engines,
    os: [process.platform],
    cpu: [process.arch],
    libc: ['glibc'],
    files: ['espalier.node', provenanceFile],
    preferUnplugged: true,
  });
  writeFileSync(
    join(kernels, 'README.md'),
    `# ${name}

The compiled kernels of espalier ${version} for ${platform} with
${provenance.needs ?? 'glibc'} or newer: scalar, AVX2 and AVX-512, chosen at run time. Nothing here is run when it is
installed. espalier loads \`espalier.node\` only where it was made of the very sources that espalier itself carries
(\`sources\` in \`${provenanceFile}\`, which also tells compiler and flags) and has its checksum; \`npx espalier doctor\`
says which kernels run. \`npx espalier build\` makes your own of those sources, which then go first.
`,
  );
  cpSync(join(root, 'LICENSE'), join(kernels, 'LICENSE'));
  const packed = [npm(kernels, '--pack-destination', out)];

  const main = join(stage, 'main');
  for (const { path } of npm(root, '--dry-run').files) {
    mkdirSync(dirname(join(main, path)), { recursive: true });
    cpSync(join(root, path), join(main, path));
  }
  write(join(main, 'package.json'), { ...manifest, optionalDependencies: { [name]: version } });
  packed.push(npm(main, '--pack-destination', out));
  for (const { filename, size } of packed)
    console.log(`${join(out, filename)}  ${(size / 1024).toFixed(0)} KiB`);
} finally {
  rmSync(stage, { recursive: true, force: true });
}
