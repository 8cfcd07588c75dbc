// What the package brings along. Works without a network but for the audit:
//   npm run torture -- supply-chain [--out sbom.cdx.json]
// Writes a software bill of materials (CycloneDX), asks the registry about known faults, and runs the tests of licences,
// scripts and packed files.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { check, tell, verdict } from './lib/report.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: { out: { type: 'string', default: join(root, 'build', 'sbom.cdx.json') } },
});
const npm = (/** @type {string[]} */ ...args) =>
  spawnSync('npm', args, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 28 });

const { status, stdout } = npm('sbom', '--sbom-format', 'cyclonedx', '--package-lock-only');
const bom = status === 0 ? JSON.parse(stdout) : { components: [] };
writeFileSync(options.out, `${JSON.stringify(bom, null, 2)}\n`);
const development = (/** @type {any} */ { properties = [] }) =>
  properties.some(({ name, value }) => name === 'cdx:npm:package:development' && value === 'true');
const shipped = bom.components.filter((one) => !development(one));
const hashed = shipped.filter(({ hashes = [] }) => hashes.length > 0);
check(
  'there is a bill of materials, with a checksum of everything that comes along at run time',
  status === 0 && shipped.length > 0 && hashed.length === shipped.length,
  `${shipped.length} packages at run time, ${bom.components.length - shipped.length} tools, in ${options.out}`,
);

for (const [what, args] of [
  ['at run time', ['--omit=dev']],
  ['in tools too', []],
]) {
  const audit = npm('audit', '--json', ...args);
  const answer = (() => {
    try {
      return JSON.parse(audit.stdout);
    } catch {
      return {};
    }
  })();
  const counts = answer.metadata?.vulnerabilities;
  if (counts === undefined) {
    tell(
      `no answer from the registry about known faults ${what}: ${answer.message ?? audit.stderr.trim().split('\n')[0]}`,
    );
  } else
    check(
      `no known faults ${what}`,
      counts.total === 0,
      `${counts.total} of ${answer.metadata.dependencies.total} packages`,
    );
}

const tests = spawnSync('npx', ['vitest', 'run', 'test/supply-chain.test.ts', 'test/package.test.ts'], {
  cwd: root,
  stdio: 'inherit',
});
check(
  'licences, scripts and the origin of packed files',
  tests.status === 0,
  'test/supply-chain.test.ts, test/package.test.ts',
);
verdict('supply-chain');
