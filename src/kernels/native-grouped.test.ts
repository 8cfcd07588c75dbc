import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { GroupedStepArgs, Kernels } from './face.js';
import { availableIsas, loadNative } from './native.js';
import { addonPath } from './native-build.js';

const built = existsSync(addonPath());
const sizes = { batch: 70, inputs: 50, labels: 300, fanIn: 7, groupSize: 16 };
const groups = 25; // of 12 labels: smaller than they may be

/** Numbers in [-1, 1), the same for the same seed. */
function floats(n: number, seed: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => (Math.sin(i * 12.9898 + seed * 78.233) * 43758.5453) % 1);
}

function stepArgs(
  k: Kernels,
  Columns: typeof Uint16Array | typeof Uint32Array = Uint16Array,
): GroupedStepArgs {
  const { batch, inputs, labels, fanIn } = sizes;
  const none = { m: null, v: null };
  return {
    ...{ ...sizes, groups, chunk: 4, begin: 0, end: groups },
    h: floats(batch * inputs, 1),
    dh: new Float32Array(batch * inputs),
    positives: { count: 2, label: Uint32Array.of(3, 250), row: Uint32Array.of(69, 0) },
    ...({ loss: 'bce', norms: null, gradScale: 1 / batch, backward: true, squares: null } as const),
    update: {
      ...{ rule: null, weightMoments: none, biasMoments: none },
      ...{ dWeights: null, dBias: null, updateScale: 1 },
    },
    workspace: new Float32Array(k.groupedWorkspace(sizes)),
    starts: Uint32Array.from({ length: groups + 1 }, (_, g) => 12 * g),
    columns: new Columns(Array.from({ length: groups * fanIn }, (_, i) => (i * 11) % inputs)),
    weights: floats(labels * fanIn, 2),
    bias: floats(labels, 3),
  };
}

function topArgs(k: Kernels, step: GroupedStepArgs, rows: number) {
  const { labels } = sizes;
  return {
    ...step,
    ...{ batch: rows, k: 9 },
    labelOf: Uint32Array.from({ length: labels }, (_, s) => (s * 7) % labels),
    topLabels: new Uint32Array(rows * 9),
    topScores: new Float32Array(rows * 9),
    workspace: new Float32Array(k.groupedTopKWorkspace({ ...sizes, batch: rows }, 9)),
  };
}

function codeOf(call: () => unknown): string | undefined {
  try {
    call();
  } catch (error) {
    return (error as { code?: string }).code;
  }
  return undefined;
}

describe.skipIf(!built)('native kernels of groups (skipped without build/espalier.node)', () => {
  for (const isa of built ? availableIsas() : []) {
    const k = loadNative({ isa, threads: 2 });

    it.each([Uint16Array, Uint32Array])(
      `${isa}: a column outside of the inputs is refused (%o)`,
      (Columns) => {
        const args = stepArgs(k, Columns);
        expect(codeOf(() => k.groupedStep(args))).toBeUndefined();
        args.columns[123] = sizes.inputs;
        expect(codeOf(() => k.groupedStep(args))).toBe('KERNEL_INDEX_RANGE');
        for (const rows of [1, 5, 70]) {
          expect(codeOf(() => k.groupedTopK(topArgs(k, args, rows)))).toBe('KERNEL_INDEX_RANGE');
        }
      },
    );

    it(`${isa}: groups that are too large, out of order or outside of the labels are refused`, () => {
      for (const [at, value] of [
        [3, 45],
        [3, 10],
        [groups, 301],
      ]) {
        const args = stepArgs(k);
        args.starts[at] = value;
        expect(
          codeOf(() => k.groupedStep(args)),
          `start ${at}`,
        ).toBe('KERNEL_INDEX_RANGE');
        expect(
          codeOf(() => k.groupedTopK(topArgs(k, args, 3))),
          `start ${at}`,
        ).toBe('KERNEL_INDEX_RANGE');
      }
    });

    it(`${isa}: a workspace that is too short, or not the one of the slabs before, is refused`, () => {
      const args = stepArgs(k);
      const short = args.workspace.subarray(1);
      expect(codeOf(() => k.groupedStep({ ...args, workspace: short }))).toBe('KERNEL_BAD_ARGUMENT');
      expect(codeOf(() => k.groupedStep({ ...args, begin: 4 }))).toBe('KERNEL_BAD_ARGUMENT');
      expect(codeOf(() => k.groupedStep({ ...args, end: 3 }))).toBe('KERNEL_BAD_ARGUMENT');
      const bits = { weights: new Uint16Array(2100), rounding: { key0: 1, key1: 2, counter: 0 } };
      expect(codeOf(() => k.groupedStep({ ...args, bf16: bits }))).toBe('KERNEL_BAD_ARGUMENT');
      expect(
        codeOf(() => k.groupedStep({ ...args, bf16: { ...bits, weights: new Uint16Array(2099) } })),
      ).toBe('KERNEL_BUFFER_SHORT');
    });

    it(`${isa}: the best labels do not depend on the number of threads, ties by the smaller label`, () => {
      const best = (threads: number) => {
        const kernels = loadNative({ isa, threads });
        return [1, 5, 70].map((rows) => {
          const step = stepArgs(kernels);
          // Few distinct weights: many ties.
          const top = topArgs(
            kernels,
            { ...step, weights: step.weights.map(Math.sign), bias: step.bias.fill(0) },
            rows,
          );
          const h = top.h.map(Math.sign);
          kernels.groupedTopK({ ...top, h });
          return [top.topLabels, top.topScores];
        });
      };
      const [one, three] = [best(1), best(3)];
      expect(three).toEqual(one);
      for (const [labels, scores] of one) {
        for (let i = 1; i < labels.length; i++) {
          if (i % 9 > 0 && scores[i] === scores[i - 1]) expect(labels[i]).toBeGreaterThan(labels[i - 1]);
        }
      }
    });
  }
});
