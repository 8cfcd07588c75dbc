import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { DenseStepArgs, FanInStepArgs, Kernels, OutputUpdate } from './face.js';
import { availableIsas, loadNative } from './native.js';
import { addonPath } from './native-build.js';

const built = existsSync(addonPath());

const none = { m: null, v: null };
const noUpdate: OutputUpdate = {
  rule: null,
  weightMoments: none,
  biasMoments: none,
  dWeights: null,
  dBias: null,
  updateScale: 1,
};
const sizes = { batch: 70, inputs: 50, labels: 300, fanIn: 7, chunk: 32 };

/** Numbers in [-1, 1), the same for the same seed. */
function floats(n: number, seed: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => (Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453) % 1);
}

function columnsOf<T extends Uint16Array | Uint32Array>(columns: T): T {
  const { fanIn, inputs } = sizes;
  for (let s = 0; s < columns.length; s++)
    columns[s] = (Math.floor(s / fanIn) * 11 + (s % fanIn) * 5) % inputs;
  return columns;
}

function indexOf(k: Kernels, columns: Uint16Array | Uint32Array): Uint16Array {
  const index = new Uint16Array(k.fanInIndexLength(sizes));
  k.fanInIndexBuild({ ...sizes, columns, index, begin: 0, end: sizes.labels });
  return index;
}

function common(workspace: number, weights: number) {
  const { batch, inputs, labels, chunk } = sizes;
  return {
    ...{ batch, inputs, labels, chunk, begin: 0, end: labels },
    h: floats(batch * inputs, 1),
    dh: new Float32Array(batch * inputs),
    positives: { count: 2, label: Uint32Array.of(3, 250), row: Uint32Array.of(69, 0) },
    loss: 'bce' as const,
    norms: null,
    gradScale: 1 / batch,
    update: noUpdate,
    backward: true,
    squares: null,
    workspace: new Float32Array(workspace),
    weights: floats(weights, 2),
    bias: floats(labels, 3),
  };
}

function fanInArgs(k: Kernels, columns: Uint16Array | Uint32Array): FanInStepArgs {
  const { labels, fanIn } = sizes;
  return { ...common(k.fanInWorkspace(sizes), labels * fanIn), fanIn, columns, index: null };
}

function denseArgs(k: Kernels): DenseStepArgs {
  return common(k.denseWorkspace({ ...sizes, fanIn: 0 }), sizes.labels * sizes.inputs);
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

describe.skipIf(!built)('native output kernels (skipped without build/espalier.node)', () => {
  for (const isa of built ? availableIsas() : []) {
    const k = loadNative({ isa, threads: 2 });

    for (const Columns of [Uint16Array, Uint32Array]) {
      const wrong = columnsOf(new Columns(sizes.labels * sizes.fanIn));
      wrong[1234] = sizes.inputs;

      it(`${isa}: a column outside of the inputs is refused by every kernel that reads it (${Columns.name})`, () => {
        const { batch, labels } = sizes;
        const args = fanInArgs(k, wrong);
        const workspace = new Float32Array(k.topKWorkspace(sizes, 3));
        const top = { topLabels: new Uint32Array(batch * 3), topScores: new Float32Array(batch * 3) };
        const out = new Float32Array(batch * labels);
        expect(codeOf(() => k.fanInStep(args))).toBe('KERNEL_INDEX_RANGE');
        expect(codeOf(() => k.fanInStep({ ...args, backward: false }))).toBe('KERNEL_INDEX_RANGE');
        expect(codeOf(() => k.fanInTopK({ ...args, ...top, workspace, k: 3 }))).toBe('KERNEL_INDEX_RANGE');
        expect(codeOf(() => k.fanInLogits({ ...args, out, workspace }))).toBe('KERNEL_INDEX_RANGE');
        expect(codeOf(() => indexOf(k, wrong))).toBe('KERNEL_INDEX_RANGE');
      });
    }

    it(`${isa}: an index that is not of these columns' shape is refused, whatever it holds`, () => {
      const columns = columnsOf(new Uint16Array(sizes.labels * sizes.fanIn));
      const sound = indexOf(k, columns);
      const step = (index: Uint16Array) => codeOf(() => k.fanInStep({ ...fanInArgs(k, columns), index }));
      expect(step(sound)).toBeUndefined();
      expect(step(new Uint16Array(sound.length))).toBe('KERNEL_INDEX_RANGE');
      expect(step(new Uint16Array(sound.length).fill(0xffff))).toBe('KERNEL_INDEX_RANGE');
      // One number too large in the first record: groups, features, a count and its features, the first input, slots.
      for (const at of [0, 1, 2, 3, 42, 92, 92 + sizes.chunk * sizes.fanIn - 1]) {
        const damaged = sound.slice();
        damaged[at] = 0xfff0;
        expect(step(damaged), `at ${at}`).toBe('KERNEL_INDEX_RANGE');
      }
      expect(step(sound.subarray(1))).toBe('KERNEL_BUFFER_SHORT');
    });

    it(`${isa}: positives outside of the labels or the batch, or out of order, are refused`, () => {
      const bad = [
        [Uint32Array.of(3, 300), Uint32Array.of(0, 0)],
        [Uint32Array.of(3, 250), Uint32Array.of(0, 70)],
        [Uint32Array.of(250, 3), Uint32Array.of(0, 0)],
      ];
      const columns = columnsOf(new Uint16Array(sizes.labels * sizes.fanIn));
      for (const [label, row] of bad) {
        const positives = { count: 2, label, row };
        expect(codeOf(() => k.fanInStep({ ...fanInArgs(k, columns), positives }))).toBe('KERNEL_INDEX_RANGE');
        expect(codeOf(() => k.denseStep({ ...denseArgs(k), positives }))).toBe('KERNEL_INDEX_RANGE');
      }
    });

    it(`${isa}: a workspace that is too short, or not the one of the slabs before, is refused`, () => {
      const columns = columnsOf(new Uint16Array(sizes.labels * sizes.fanIn));
      const sparse = fanInArgs(k, columns);
      const dense = denseArgs(k);
      const short = (workspace: FanInStepArgs['workspace']) => workspace.subarray(0, workspace.length - 1);
      expect(codeOf(() => k.fanInStep({ ...sparse, workspace: short(sparse.workspace) }))).toBe(
        'KERNEL_BAD_ARGUMENT',
      );
      expect(codeOf(() => k.denseStep({ ...dense, workspace: short(dense.workspace) }))).toBe(
        'KERNEL_BAD_ARGUMENT',
      );
      expect(codeOf(() => k.fanInStep({ ...sparse, begin: 32 }))).toBe('KERNEL_BAD_ARGUMENT');
      expect(codeOf(() => k.denseStep({ ...dense, begin: 32 }))).toBe('KERNEL_BAD_ARGUMENT');
    });

    it(`${isa}: the same step twice gives the same bits`, () => {
      const columns = columnsOf(new Uint16Array(sizes.labels * sizes.fanIn));
      const run = () => {
        const sparse = { ...fanInArgs(k, columns), index: indexOf(k, columns) };
        const dense = denseArgs(k);
        return [k.fanInStep(sparse), sparse.dh, k.denseStep(dense), dense.dh];
      };
      expect(run()).toEqual(run());
    });

    it(`${isa}: the best labels do not depend on the number of threads`, () => {
      const { batch, labels, inputs, fanIn } = sizes;
      const columns = columnsOf(new Uint16Array(labels * fanIn));
      const best = (threads: number) => {
        const kernels = loadNative({ isa, threads });
        return [1, 5, batch].flatMap((rows) =>
          [true, false].map((sparse) => {
            const shape = { ...sizes, batch: rows, fanIn: sparse ? fanIn : 0 };
            const args = {
              ...shape,
              k: 9,
              h: floats(batch * inputs, 1),
              // Few distinct weights: many ties.
              weights: floats(labels * inputs, 2).map(Math.sign),
              bias: new Float32Array(labels),
              topLabels: new Uint32Array(rows * 9),
              topScores: new Float32Array(rows * 9),
              workspace: new Float32Array(kernels.topKWorkspace(shape, 9)),
            };
            if (sparse) kernels.fanInTopK({ ...args, columns });
            else kernels.denseTopK(args);
            return [args.topLabels, args.topScores];
          }),
        );
      };
      expect(best(3)).toEqual(best(1));
    });
  }

  it('weights, columns and backward index take at most 8.5 bytes per connection at 768 inputs and fan-in 32', () => {
    const shape = { inputs: 768, labels: 131_072, fanIn: 32, chunk: 128 };
    const connections = shape.labels * shape.fanIn;
    const index = 2 * loadNative({ threads: 1 }).fanInIndexLength(shape);
    expect(index).toBeGreaterThan(0);
    expect(4 + 2 + index / connections).toBeLessThanOrEqual(8.5);
  });
});
