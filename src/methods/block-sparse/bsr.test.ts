import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { float64Device } from '../../autograd/gradcheck.testing.js';
import { RandomStream } from '../../kernels/random.js';
import { openSafetensors, writeSafetensors } from '../../store/index.js';
import { scratchDirectory } from '../../store/scratch.testing.js';
import { BsrTensor, blockCount, blockSizes, bsrBytes } from '../../tensor/bsr.js';

const filled = (n: number, name: string) => {
  const stream = RandomStream.named(3, name);
  return Float64Array.from({ length: n }, () => stream.normal());
};

const size = fc.integer({ min: 1, max: 70 });

describe('BsrTensor', () => {
  it('with all blocks is the dense tensor again, for any sizes', () => {
    fc.assert(
      fc.property(size, size, fc.constantFrom(...blockSizes), (rows, cols, block) => {
        const d = float64Device();
        const x = d.fromArray([rows, cols], filled(rows * cols, `${rows} ${cols}`));
        const kept = BsrTensor.fromDense(d, x, { block, kept: Infinity });
        expect(kept.entries).toBe(blockCount(x.shape, block));
        expect(Array.from(kept.expand(d).data)).toEqual(Array.from(x.data));
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  it('holds the blocks of largest norm and zeros elsewhere, whole or by block row', () => {
    fc.assert(
      fc.property(
        size,
        size,
        fc.integer({ min: 0, max: 30 }),
        fc.constantFrom('tensor' as const, 'row' as const),
        (rows, cols, kept, scope) => {
          const d = float64Device();
          const block = 8;
          const x = d.fromArray([rows, cols], filled(rows * cols, `${rows} ${cols} ${kept}`));
          const pruned = BsrTensor.fromDense(d, x, { block, kept, scope }).expand(d).data;
          const norms = new Map<number, number>();
          const held = new Set<number>();
          for (let i = 0; i < x.size; i++) {
            const at = Math.floor(i / cols / block) * 100 + Math.floor((i % cols) / block);
            norms.set(at, (norms.get(at) ?? 0) + x.data[i] ** 2);
            if (pruned[i] !== 0) held.add(at);
            expect([0, x.data[i]]).toContain(pruned[i]);
          }
          const groups = scope === 'tensor' ? [[...norms]] : byRow(norms);
          const best = groups.flatMap((group) => group.sort((a, b) => b[1] - a[1]).slice(0, kept));
          expect([...held].sort()).toEqual(best.map(([at]) => at).sort());
        },
      ),
      { numRuns: 60, seed: 2 },
    );
  });

  it('has the bytes of its three buffers, to the byte', () => {
    const d = float64Device();
    const x = d.fromArray([5, 9, 20], filled(900, 'bytes'));
    const kept = BsrTensor.fromDense(d, x, { block: 16, kept: 4 });
    const { values, columns, rowPointers } = kept;
    expect(kept.bytes).toBe(values.data.byteLength + columns.raw.byteLength + rowPointers.raw.byteLength);
    expect(kept.bytes).toBe(4 * (16 * 16 * 8 + 4) + 4 * (3 + 1));
    expect(bsrBytes(x.shape, 16, 4, 8)).toBe(kept.bytes);
    expect(`${kept}`).toBe('BSR [5, 9, 20]: 4 of 6 blocks of 16 x 16 (66.7 %), 8,224 bytes');
  });

  it('goes into a safetensors file and comes back', async () => {
    const d = float64Device();
    const kept = BsrTensor.fromDense(d, d.fromArray([33, 40], filled(1320, 'file')), { block: 8, kept: 7 });
    const path = `${await scratchDirectory()}/x.safetensors`;
    await writeSafetensors(path, kept.arrays('x'));
    const file = await openSafetensors(path);
    for (const { name, shape, data } of kept.arrays('x')) {
      expect(file.tensors.get(name)?.shape).toEqual(shape);
      expect(await file.read(name)).toEqual(data);
    }
    await file.close();
  });

  it.each([
    { block: 4 as 8, kept: 1 },
    { block: 8 as const, kept: -1 },
    { block: 8 as const, kept: Number.NaN },
  ])('refuses $block x $kept', (options) => {
    const d = float64Device();
    expect(() => BsrTensor.fromDense(d, d.fromArray([1, 1], [1]), options)).toThrow(/BSR_OPTIONS/);
  });

  it('gives all its memory back', () => {
    const d = float64Device();
    const x = d.fromArray([64, 64], new Float64Array(4096));
    const before = d.ledger.liveBytes;
    const kept = BsrTensor.fromDense(d, x, { block: 8, kept: 10 });
    expect(d.ledger.liveBytes).toBeGreaterThan(before);
    kept.release(d);
    expect(d.ledger.liveBytes).toBe(before);
  });
});

function byRow(norms: ReadonlyMap<number, number>): [number, number][][] {
  const rows = new Map<number, [number, number][]>();
  for (const [at, norm] of norms) {
    const row = Math.floor(at / 100);
    rows.set(row, [...(rows.get(row) ?? []), [at, norm]]);
  }
  return [...rows.values()];
}
