// Same seed, same threads, same instruction set: same bits. After `npm run build`:
//   npm run torture -- determinism [--runs 20] [--only dense,...] [--epochs 8] [--isa scalar,avx2,avx512]
// Every method is trained `--runs` times in processes of its own; then once per instruction set and thread count, which
// is reported beside what docs/reliability.md promises.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadAddon } from '../dist/kernels/native-addon.js';
import { filesOf } from './lib/files.mjs';
import { argumentsFor, makeData, methods } from './lib/methods.mjs';
import { start } from './lib/program.mjs';
import { check, chosen, tell, verdict } from './lib/report.mjs';

const { values: options } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    only: { type: 'string' },
    epochs: { type: 'string', default: '8' },
    isa: { type: 'string' },
  },
});
const isas =
  options.isa?.split(',') ?? ['scalar', 'avx2', 'avx512'].slice(0, loadAddon().addon.best_isa() + 1);
const home = await mkdtemp(join(tmpdir(), 'espalier-torture-determinism-'));
const data = join(home, 'data');
let count = 0;

/** The bits of one training. */
async function bitsOf(name, { env = {}, threads = 2 } = {}) {
  const run = join(home, `run-${count++}`);
  const how = { home, data, run, epochs: Number(options.epochs), threads, checkpointMs: 600_000 };
  const end = await start(await argumentsFor(name, how), { env }).ended;
  if (end.code !== 0) throw new Error(`${name}: ${end.err}`);
  const bits = JSON.stringify(await filesOf(join(run, 'model')));
  await rm(run, { recursive: true });
  return bits;
}

try {
  await makeData(data);
  for (const name of chosen(options.only, Object.keys(methods))) {
    const found = new Set();
    for (let r = 0; r < Number(options.runs); r++) found.add(await bitsOf(name));
    check(
      `${name}: same seed, same threads, same bits`,
      found.size === 1,
      `${options.runs} runs, ${found.size} outcomes`,
    );
    const [first] = found;
    const other = { threads: [], isa: [] };
    for (const threads of [1, 3])
      if ((await bitsOf(name, { threads })) === first) other.threads.push(threads);
    const perIsa = new Map();
    for (const isa of isas) perIsa.set(isa, await bitsOf(name, { env: { ESPALIER_ISA: isa } }));
    for (const isa of isas) {
      const again = await bitsOf(name, { env: { ESPALIER_ISA: isa } });
      check(`${name} on ${isa}: repeats`, again === perIsa.get(isa), 'two runs');
    }
    const same = isas.filter((isa) => perIsa.get(isa) === perIsa.get(isas.at(-1)));
    tell(
      `not promised, seen: as with 2 threads: ${other.threads.join(', ') || 'none'} of 1, 3; as on ${isas.at(-1)}: ${same.join(', ')}`,
    );
  }
} finally {
  await rm(home, { recursive: true, force: true });
}
verdict('determinism');
