import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { availableIsas, loadNative } from './native.js';
import { addonPath } from './native-build.js';
import { referenceKernels } from './reference/index.js';

const built = existsSync(addonPath());
const [labels, rows, dim] = [6, 3, 20];

describe.skipIf(!built)('kernels of the factored layer refuse, and touch nothing', () => {
  const backends = [...(built ? availableIsas() : []).map((isa) => loadNative({ isa, threads: 2 }))];
  const slow = referenceKernels('float32');

  it.each([...backends, slow])('labels and rows that do not exist: $name', (kernels) => {
    for (const wrong of [{ label: labels }, { row: rows }]) {
      const pairs = {
        ...{ count: 2, labels, rows, dim },
        label: Uint32Array.of(1, wrong.label ?? 2),
        row: Uint32Array.of(0, wrong.row ?? 1),
      };
      const table = new Float32Array(labels * dim).fill(1);
      const x = new Float32Array(rows * dim).fill(1);
      const coefficients = new Float32Array(2).fill(1);
      const range = /KERNEL_INDEX_RANGE/;
      expect(() => kernels.pairDots({ ...pairs, table, x, out: new Float32Array(2) })).toThrow(range);
      const out = new Float32Array(rows * dim).fill(7);
      expect(() => kernels.pairGather({ ...pairs, table, coefficients, out })).toThrow(range);
      expect(() => kernels.pairScatter({ ...pairs, table, alpha: 1, coefficients, x })).toThrow(range);
      expect(table.every((value) => value === 1) && out.every((value) => value === 7)).toBe(true);
    }
  });

  it.each([...backends, slow])('labels to settle that do not ascend or do not exist: $name', (kernels) => {
    const [left, right] = [0, 1].map(() => new Float32Array(dim).fill(1));
    const cross = new Float32Array(32 * 32);
    const common = { count: 2, labels, dim, rank: 1, left, right, cross };
    for (const label of [Uint32Array.of(labels, labels), Uint32Array.of(3, 2)]) {
      const stamps = new Uint16Array(2);
      const table = new Float32Array(labels * dim).fill(1);
      expect(() => kernels.settleRows({ ...common, label, stamps, table })).toThrow(/KERNEL_INDEX_RANGE/);
    }
  });

  it.each(backends)('buffers that are too short: $name', (kernels) => {
    const short = new Float32Array(3);
    const args = { x: short, keep: 1, alpha: 1, master: new Float64Array(4), copy: new Float32Array(4) };
    expect(() => kernels.accumulate(4, args)).toThrow(/KERNEL_BUFFER_SHORT/);
    expect(() => kernels.invert(3, new Float64Array(8))).toThrow(/KERNEL_BUFFER_SHORT/);
    expect(() => kernels.scaleRows(2, 2, short, short, short, false)).toThrow(/KERNEL_BUFFER_SHORT/);
  });
});
