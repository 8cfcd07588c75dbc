/** Resident memory of training when backward remembers less, in processes that do nothing else. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

interface Held {
  readonly growth: number;
  readonly accounted: number;
  readonly after: number;
  readonly phases: readonly { readonly name: string; readonly residentBytes: number }[];
}

const program = fileURLToPath(new URL('../bench/activation-memory.mjs', import.meta.url));
const shape = ['--batch', '192', '--dim', '80', '--depth', '4', '--steps', '4'];
const MiB = 2 ** 20;

function measure(...names: string[]): Record<string, Held> {
  const args = [program, ...shape, '--json', '--only', names.join('|')];
  const ended = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect(ended.status, ended.stderr).toBe(0);
  return JSON.parse(ended.stdout);
}

describe.skipIf(process.platform !== 'linux')('resident memory of a ResMLP in training', () => {
  const warmedUp = 'dense warm-up, then keep 0.3 + recompute';
  let dense: Held;
  let pruned: Record<string, Held>;
  beforeAll(() => {
    ({ dense, ...pruned } = measure(
      'dense',
      ...[
        'keep 0.3',
        'recompute',
        'recompute, scales 0.1',
        'recompute + bf16',
        'keep 0.3 + recompute',
        warmedUp,
      ],
    ));
  }, 120_000);

  it('grows by what is accounted, dense or pruned', () => {
    expect(dense.accounted).toBeGreaterThan(150 * MiB);
    for (const held of [dense, ...Object.values(pruned)]) {
      expect(held.growth).toBeGreaterThan(0.9 * held.accounted);
      expect(held.growth - held.accounted).toBeLessThan(40 * MiB);
    }
  });

  it('peaks well below that of dense training, which keeps every tensor once', () => {
    expect(pruned['keep 0.3'].growth).toBeLessThan(0.7 * dense.growth);
    expect(pruned['keep 0.3 + recompute'].growth).toBeLessThan(0.52 * dense.growth);
  });

  it('peaks below two thirds with nothing lost, about half with the gradients of scales alone from a tenth', () => {
    expect(pruned.recompute.growth).toBeLessThan(0.68 * dense.growth);
    expect(pruned['recompute, scales 0.1'].growth).toBeLessThan(0.58 * dense.growth);
    expect(pruned['recompute + bf16'].growth).toBeLessThan(0.47 * dense.growth);
  });

  it('falls after a dense warm-up: the arena gives its pages back', () => {
    const warmed = pruned[warmedUp];
    expect(warmed.growth).toBeGreaterThan(0.9 * dense.growth);
    expect(warmed.phases.map(({ name }) => name)).toEqual(['warm-up', 'training']);
    expect(warmed.phases[1].residentBytes).toBeLessThan(0.65 * warmed.phases[0].residentBytes);
    expect(warmed.after).toBeLessThan(0.65 * dense.growth);
  });
});
