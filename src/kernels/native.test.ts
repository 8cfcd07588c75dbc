import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Kernels } from './face.js';
import { availableIsas, loadNative } from './native.js';
import { addonPath } from './native-build.js';

const addon = addonPath();
const built = existsSync(addon);

/** Numbers in [-1/2, 1/2), the same for the same seed. */
function floats(n: number, seed: number): Float32Array {
  return Float32Array.from(
    { length: n },
    (_, i) => ((Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453) % 1) / 2,
  );
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

describe.skipIf(!built)('native kernels (skipped without build/espalier.node)', () => {
  const reductions: Record<string, (k: Kernels) => Floats32> = {
    gemm: (k) => {
      const c = new Float32Array(90 * 150);
      k.gemm({ m: 90, n: 150, k: 1000, a: floats(90_000, 1), b: floats(150_000, 2), c });
      return c;
    },
    'gemm of a small batch': (k) => {
      const c = new Float32Array(7 * 500);
      k.gemm({ transB: true, m: 7, n: 500, k: 900, a: floats(6300, 1), b: floats(450_000, 2), c });
      return c;
    },
    columnSum: (k) => {
      const out = new Float32Array(333);
      k.columnSum(700, 333, floats(700 * 333, 3), out, false);
      return out;
    },
    layerNormBackward: (k) => {
      const [rows, dim] = [300, 400];
      const ones = new Float32Array(dim).fill(1);
      const grads = {
        dx: new Float32Array(rows * dim),
        dgamma: new Float32Array(dim),
        dbeta: new Float32Array(dim),
      };
      const stats = { mean: floats(rows, 4), rstd: new Float32Array(rows).fill(2) };
      const x = floats(rows * dim, 5);
      k.layerNormBackward({ rows, dim, x, gamma: ones, ...stats, dy: floats(rows * dim, 6), ...grads });
      return Float32Array.of(...grads.dgamma, ...grads.dbeta);
    },
    'sum and sumSquares': (k) => {
      const x = floats(300_001, 7);
      return new Float32Array(Float64Array.of(k.sum(x.length, x), k.sumSquares(x.length, x)).buffer);
    },
  };
  type Floats32 = Float32Array;

  for (const isa of built ? availableIsas() : []) {
    it.each(Object.keys(reductions))(`${isa}: %s has the same bits on 1, 2 and 5 threads`, (name) => {
      const one = reductions[name](loadNative({ isa, threads: 1 }));
      for (const threads of [2, 5]) {
        expect(Buffer.from(reductions[name](loadNative({ isa, threads })).buffer)).toEqual(
          Buffer.from(one.buffer),
        );
      }
    });
  }

  it('instances keep their own instruction set and threads when used in turn', () => {
    const isas = availableIsas();
    const instances = isas.map((isa, i) => loadNative({ isa, threads: i + 1 }));
    expect(instances.map((k) => k.name)).toEqual(isas.map((isa) => `native/${isa}`));
    const x = floats(1000, 1);
    // A dot product rounds differently at every width, so an instance that forgot to switch would show.
    const dot = (k: Kernels) => {
      const c = new Float32Array(1);
      k.gemm({ transB: true, m: 1, n: 1, k: 1000, a: x, b: x, c });
      return c[0];
    };
    const alone = instances.map(dot);
    expect([...instances].reverse().map(dot).reverse()).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(isas.length > 1 ? 1 : 0);
  });

  it('computes on views over a SharedArrayBuffer, offset included', () => {
    const shared = new Float32Array(new SharedArrayBuffer(64), 8, 4);
    shared.set([-1, 2, -3, 4]);
    loadNative().relu(4, shared, shared);
    expect([...shared]).toEqual([0, 2, 0, 4]);
  });

  it('refuses short buffers, float64 and indices out of range, with a code', () => {
    const k = loadNative();
    expect(codeOf(() => k.relu(5, floats(4, 1), floats(5, 1)))).toBe('KERNEL_BUFFER_SHORT');
    expect(codeOf(() => k.relu(1, new Float64Array(1), new Float64Array(1)))).toBe('KERNEL_PRECISION');
    const bag = { rows: 1, indptr: Int32Array.of(0, 1), values: null, vocab: 3, dim: 1, bias: null };
    const table = floats(3, 1);
    const forward = (index: number) =>
      k.bagForward({ ...bag, indices: Uint32Array.of(index), table, out: new Float32Array(1) });
    expect(codeOf(() => forward(2))).toBeUndefined();
    expect(codeOf(() => forward(3))).toBe('KERNEL_INDEX_RANGE');
    const backwards = { ...bag, indptr: Int32Array.of(1, 0), indices: Uint32Array.of(0) };
    expect(codeOf(() => k.bagForward({ ...backwards, table, out: new Float32Array(1) }))).toBe(
      'KERNEL_INDEX_RANGE',
    );
    const rule = { kind: 'sgd', rate: 1, momentum: 0, nesterov: false, weightDecay: 0 } as const;
    const w = floats(4, 1);
    const rows = { rule, count: 1, dim: 2, w, g: floats(2, 2), m: null, v: null, gradScale: 1 };
    expect(codeOf(() => k.updateRows({ ...rows, rows: Uint32Array.of(2) }))).toBe('KERNEL_INDEX_RANGE');
    expect(w).toEqual(floats(4, 1));
  });

  it('a row that occurs twice in updateRows is updated twice, in order', () => {
    const rule = { kind: 'sgd', rate: 1, momentum: 0, nesterov: false, weightDecay: 0 } as const;
    const dim = 20_000;
    const w = new Float32Array(dim);
    const g = new Float32Array(3 * dim).fill(1);
    const rows = Uint32Array.of(0, 0, 0);
    loadNative({ threads: 3 }).updateRows({
      rule,
      count: 3,
      dim,
      rows,
      w,
      g,
      m: null,
      v: null,
      gradScale: 1,
    });
    expect(w.every((value) => value === -3)).toBe(true);
  });

  it('refuses an unknown instruction set and impossible thread counts', () => {
    expect(codeOf(() => loadNative({ isa: 'mmx' as never }))).toBe('NATIVE_ISA');
    for (const threads of [0, 1.5, 257, Number.NaN])
      expect(codeOf(() => loadNative({ threads }))).toBe('NATIVE_THREADS');
    vi.stubEnv('ESPALIER_ISA', 'mmx');
    expect(codeOf(() => loadNative())).toBe('NATIVE_ISA');
    vi.stubEnv('ESPALIER_ISA', 'scalar');
    expect(loadNative().name).toBe('native/scalar');
  });

  it('process.exit ends at once while pool threads wait', () => {
    const program = `
      const a = require(${JSON.stringify(addon)});
      a.set_threads(3);
      const x = new Float32Array(1 << 20);
      a.relu(x.length, x, x);
      process.exit(7);`;
    const { status, signal } = spawnSync(process.execPath, ['-e', program], { timeout: 20_000 });
    expect({ status, signal }).toEqual({ status: 7, signal: null });
  });

  it('a worker that loaded the addon first may end; pool threads outlive it', () => {
    const program = `
      const { Worker } = require('node:worker_threads');
      const path = ${JSON.stringify(addon)};
      const body = 'const a = require(' + JSON.stringify(path) + '); a.set_threads(3);' +
        'const x = new Float32Array(1 << 20); a.relu(x.length, x, x);';
      new Worker(body, { eval: true }).on('exit', () => setTimeout(() => {
        const a = require(path);
        a.set_threads(3);
        const x = new Float32Array(1 << 20).fill(-1);
        a.relu(x.length, x, x);
        process.exitCode = x.every((v) => v === 0) ? 7 : 8;
      }, 50));`;
    const { status, signal } = spawnSync(process.execPath, ['-e', program], { timeout: 20_000 });
    expect({ status, signal }).toEqual({ status: 7, signal: null });
  });

  it('worker threads with different contexts compute side by side what each computes alone', async () => {
    const body = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { addon, isa, threads, rounds } = workerData;
      const a = require(addon);
      a.set_isa(isa);
      a.set_threads(threads);
      const [m, n, k] = [40, 200, 300];
      const x = Float32Array.from({ length: m * k }, (_, i) => Math.sin(i));
      const y = Float32Array.from({ length: k * n }, (_, i) => Math.cos(i));
      const c = new Float32Array(m * n);
      const seen = new Set();
      for (let i = 0; i < rounds; i++) {
        a.gemm(false, false, m, n, k, x, y, c, false, null, 0, false);
        seen.add(Buffer.from(c.buffer).toString('base64'));
      }
      parentPort.postMessage([...seen]);`;
    const run = (isa: number, threads: number, rounds: number) =>
      new Promise<string[]>((done, fail) => {
        new Worker(body, { eval: true, workerData: { addon, isa, threads, rounds } })
          .on('message', done)
          .on('error', fail);
      });
    const best = availableIsas().length - 1;
    const contexts = [
      [0, 2],
      [best, 2],
      [best, 3],
    ];
    const alone: string[][] = [];
    for (const [isa, threads] of contexts) alone.push(await run(isa, threads, 1));
    expect(await Promise.all(contexts.map(([isa, threads]) => run(isa, threads, 50)))).toEqual(alone);
  });
});

describe('objects compiled for wide instruction sets', () => {
  const folder = join(dirname(addon), 'objects');
  const wide = existsSync(folder) ? readdirSync(folder).filter((name) => /-avx(2|512)\.o$/.test(name)) : [];
  const nm = spawnSync('nm', ['--version']).status === 0;

  it.skipIf(wide.length === 0 || !nm)(
    'define nothing that an older processor could run (skipped without nm)',
    () => {
      for (const name of wide) {
        const isa = name.includes('avx512') ? 'es_avx512' : 'es_avx2';
        const args = ['--demangle', '--defined-only', '--extern-only', '--format=posix', join(folder, name)];
        const lines = spawnSync('nm', args, { encoding: 'utf8' })
          .stdout.split('\n')
          .filter((line) => line !== '');
        expect(lines.filter((line) => !line.startsWith(`${isa}::`))).toEqual([]);
      }
    },
  );
});

describe('choosing a backend', () => {
  it('without an addon, auto falls back to the reference and says which files it tried', async () => {
    vi.stubEnv('ESPALIER_ADDON', '/nowhere/espalier.node');
    vi.resetModules();
    const { chooseKernels } = await import('./choose.js');
    const { kernels, reason, fallback } = chooseKernels();
    expect(kernels.name).toBe('reference/float32');
    expect(fallback?.code).toBe('NATIVE_MISSING');
    expect(reason).toContain('/nowhere/espalier.node');
    expect(reason).toContain('espalier build');
    expect(codeOf(() => chooseKernels({ backend: 'native' }))).toBe('NATIVE_MISSING');
  });

  it('ESPALIER_BACKEND forces, an option beats it, and unknown names are refused', async () => {
    const { chooseKernels } = await import('./choose.js');
    vi.stubEnv('ESPALIER_BACKEND', 'reference');
    expect(chooseKernels()).toMatchObject({
      kernels: { name: 'reference/float32' },
      reason: 'ESPALIER_BACKEND=reference',
    });
    vi.stubEnv('ESPALIER_BACKEND', 'gpu');
    expect(codeOf(() => chooseKernels())).toBe('KERNEL_BACKEND');
    expect(chooseKernels({ backend: 'reference', precision: 'float64' }).kernels.name).toBe(
      'reference/float64',
    );
    expect(codeOf(() => chooseKernels({ backend: 'native', precision: 'float64' }))).toBe('KERNEL_PRECISION');
  });
});
