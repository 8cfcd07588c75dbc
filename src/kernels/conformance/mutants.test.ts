import { describe, expect, it } from 'vitest';
import { nearestBf16, widenBf16 } from '../bf16.js';
import type { Floats, KernelName, Kernels } from '../face.js';
import { referenceKernels } from '../reference/index.js';
import { deviations, Lab, roundingOf } from './case.testing.js';
import { CASES } from './cases.testing.js';

const oracle = referenceKernels('float64');
const sound = referenceKernels('float32');

/** Mistakes as one makes them, each small; a suite that passes one of them is too loose. */
const MISTAKES: Readonly<Record<string, Partial<Kernels>>> = {
  'gemm forgets the last term of long sums': {
    gemm: (args) => {
      sound.gemm(args);
      const { m, n, k, a, b, c, transA, transB } = args;
      if (k > 8 && m * n > 0 && !transA && !transB) c[m * n - 1] -= a[m * k - 1] * b[k * n - 1];
    },
  },
  'bagForward rounds the table to bfloat16': {
    bagForward: (args) => sound.bagForward({ ...args, table: args.table.map(toBfloat16) as Floats }),
  },
  'balancedSplit sends ties to the right': {
    balancedSplit: (args) => {
      // The reversed list meets its ties from the other end.
      const { order, bounds, starts, segments } = args;
      const turned = starts.slice();
      for (let s = 0; s < segments; s++) {
        order.subarray(bounds[s], bounds[s + 1]).reverse();
        for (const i of [2 * s, 2 * s + 1])
          turned[i] = Math.max(0, bounds[s + 1] - bounds[s] - 1 - starts[i]);
      }
      sound.balancedSplit({ ...args, starts: turned });
      for (let s = 0; s < segments; s++) {
        const middle = bounds[s] + Math.ceil((bounds[s + 1] - bounds[s]) / 2);
        order.subarray(bounds[s], middle).reverse();
        order.subarray(middle, bounds[s + 1]).reverse();
      }
    },
  },
  'layerNorm takes eps for its square root': {
    layerNorm: (args) => sound.layerNorm({ ...args, eps: args.eps ** 2 }),
  },
  'gelu is the tanh approximation': {
    gelu: (n, x, y) => {
      for (let i = 0; i < n; i++) {
        y[i] = (x[i] / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x[i] + 0.044715 * x[i] ** 3)));
      }
    },
  },
  'multiply writes one element too many': {
    multiply: (n, a, b, out) => {
      sound.multiply(n, a, b, out);
      new Float32Array(out.buffer, out.byteOffset, n + 1)[n] = 0;
    },
  },
  'relu writes into its input': {
    relu: (n, x, y) => {
      sound.relu(n, x, y);
      if (n > 0) x[0] = y[0] + 1;
    },
  },
  'sum adds up in float32': {
    sum: (n, x) => {
      let total = 0;
      for (let i = 0; i < n; i++) total = Math.fround(total + x[i]);
      return total;
    },
  },
  'uniform starts one block late': {
    uniform: (args) => sound.uniform({ ...args, counter: args.counter + 1 }),
  },
  'adam has no eps': {
    update: (args) =>
      sound.update(args.rule.kind === 'adam' ? { ...args, rule: { ...args.rule, eps: 0 } } : args),
  },
  'updateRows scales the gradient by a rounded constant': {
    updateRows: (args) => sound.updateRows({ ...args, gradScale: args.gradScale * (1 + 1e-5) }),
  },
  'the fan-in step decays the bias a little': {
    fanInStep: (args) => {
      const loss = sound.fanInStep(args);
      const { rule } = args.update;
      if (args.backward && rule !== null && args.end > args.begin)
        args.bias[args.begin] *= 1 - rule.rate * rule.weightDecay;
      return loss;
    },
  },
  'the fan-in step computes dh from the updated weights': {
    fanInStep: (args) => {
      const loss = sound.fanInStep(args);
      const update = { ...args.update, rule: null, dWeights: null, dBias: null };
      if (args.backward && args.update.rule !== null) sound.fanInStep({ ...args, update, squares: null });
      return loss;
    },
  },
  'the fan-in step starts its dh anew with every slab': {
    fanInStep: (args) => {
      args.dh?.fill(0);
      return sound.fanInStep(args);
    },
  },
  'the dense step scales gradients by a hair too much': {
    denseStep: (args) => sound.denseStep({ ...args, gradScale: args.gradScale * (1 + 1e-4) }),
  },
  'the grouped step reads the inputs of the group before': {
    groupedStep: (args) => {
      const columns = args.columns.slice();
      columns.copyWithin(args.fanIn, 0, args.fanIn);
      return sound.groupedStep({ ...args, columns });
    },
  },
  'the grouped top-k names slots': {
    groupedTopK: (args) => sound.groupedTopK({ ...args, labelOf: args.labelOf.map((_, slot) => slot) }),
  },
  'the grouped step rounds bfloat16 weights to the nearest': {
    groupedStep: (args) => {
      if (!args.bf16) return sound.groupedStep(args);
      const { bf16, bias } = args;
      const weights = new (bias.constructor as Float32ArrayConstructor)(bf16.weights.length);
      widenBf16(bf16.weights, weights);
      const loss = sound.groupedStep({ ...args, weights, bf16: null });
      if (args.backward && args.update.rule !== null) bf16.weights.set(Array.from(weights, nearestBf16));
      return loss;
    },
  },
  'the dense step draws for other weights': {
    denseStep: (args) => {
      if (!args.bf16) return sound.denseStep(args);
      const { rounding } = args.bf16;
      const later = { ...rounding, counter: rounding.counter + 1 };
      return sound.denseStep({ ...args, bf16: { ...args.bf16, rounding: later } });
    },
  },
  'pairScatter forgets all but the last pair of a label': {
    pairScatter: (args) => {
      const last = new Map(Array.from(args.label.subarray(0, args.count), (label, i) => [label, i]));
      const coefficients = args.coefficients.map((c, i) => (last.get(args.label[i]) === i ? c : 0)) as Floats;
      sound.pairScatter({ ...args, coefficients });
    },
  },
  'settleRows forgets what earlier changes add to a row': {
    settleRows: (args) => sound.settleRows({ ...args, cross: args.cross.map(() => 0) as Floats }),
  },
  'settleRows makes every change again': {
    settleRows: (args) => {
      args.stamps.fill(0);
      sound.settleRows(args);
    },
  },
  'accumulate keeps its sums in float32': {
    accumulate: (n, args) => {
      sound.accumulate(n, args);
      for (let i = 0; i < n; i++) args.master[i] = args.copy[i];
    },
  },
  'accumulateSymmetric adds x twice instead of its transpose': {
    accumulateSymmetric: (n, args) => sound.accumulate(n * n, { ...args, alpha: 2 * args.alpha }),
  },
  'invert leaves the columns exchanged': {
    invert: (n, a) => {
      const pivot = sound.invert(n, a);
      for (let i = 0; i < n && n > 1; i++) [a[i * n], a[i * n + 1]] = [a[i * n + 1], a[i * n]];
      return pivot;
    },
  },
  'conv2d pads on one side only': {
    conv2d: (args) => {
      const { height, width, padding, x } = args;
      const shifted = x.slice();
      if (padding > 0) for (let i = 0; i < x.length; i += height * width) shifted[i] = 0;
      sound.conv2d({ ...args, x: shifted });
    },
  },
  'conv2dBackwardWeight forgets the last image': {
    conv2dBackwardWeight: (args) => {
      const size = args.x.length / Math.max(1, args.batch);
      const x = args.x.slice();
      if (args.batch > 1) x.fill(0, (args.batch - 1) * size);
      sound.conv2dBackwardWeight({ ...args, x });
    },
  },
  'maxPool takes the last of equal numbers': {
    maxPool: (args) => {
      sound.maxPool(args);
      const { kernel, places, height, width } = args;
      if (kernel === 2 && height * width > 4) places[0] = 3 - places[0];
    },
  },
  'batchNorm forgets n / (n - 1)': {
    batchNorm: (args) => {
      const before = args.runningVar.slice();
      sound.batchNorm(args);
      const n = args.batch * args.plane;
      for (let c = 0; n > 0 && c < args.channels; c++) {
        const added = args.runningVar[c] - (1 - args.momentum) * before[c];
        args.runningVar[c] -= added / n;
      }
    },
  },
  'lstmCellBackward forgets the gradient of later steps': {
    lstmCellBackward: (args) => sound.lstmCellBackward({ ...args, dhNext: null }),
  },
  'softmaxCrossEntropy smooths over the other classes only': {
    softmaxCrossEntropy: (args) => {
      const { classes, smoothing } = args;
      const other = classes > 1 ? (smoothing * classes) / (classes - 1) : smoothing;
      sound.softmaxCrossEntropy({ ...args, smoothing: Math.min(other, 0.999) });
    },
  },
  'gateUpdate scales the penalties too': {
    gateUpdate: (args) => {
      const { gradScale, bimodal, spread } = args;
      sound.gateUpdate({ ...args, bimodal: gradScale * bimodal, spread: gradScale * spread });
    },
  },
  'top-k puts the larger label first in ties': {
    fanInTopK: (args) => {
      sound.fanInTopK(args);
      const { topLabels, topScores, k } = args;
      for (let i = 1; i < topLabels.length; i++) {
        if (i % k === 0 || topScores[i] !== topScores[i - 1] || topLabels[i] === 0xffffffff) continue;
        [topLabels[i], topLabels[i - 1]] = [topLabels[i - 1], topLabels[i]];
        return;
      }
    },
  },
};

describe('the suite notices that', () => {
  it.each(Object.keys(MISTAKES))('%s', (name) => {
    const mistaken = { ...sound, ...MISTAKES[name] };
    // As strict as it is with a backend that sums in float32, no stricter.
    const rounding = roundingOf({ ...sound, name: 'native' });
    const [kernel] = Object.keys(MISTAKES[name]) as KernelName[];
    const caught = CASES[kernel].some((one) => {
      const lab = new Lab('float32');
      const outputs = one.run(mistaken, lab);
      const expected = one.run(oracle, new Lab('float64'));
      const bounds = one.bounds?.(rounding, oracle) ?? {};
      return lab.verify().length > 0 || deviations(outputs, expected, bounds, 'float32').length > 0;
    });
    expect(caught).toBe(true);
  });
});

function toBfloat16(x: number): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] &= 0xffff0000;
  return new Float32Array(bits.buffer)[0];
}
