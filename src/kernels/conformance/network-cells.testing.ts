/** Cases of recurrent cells, masks and gates. */
import { expect } from 'vitest';
import type { Kernels, UpdateRule } from '../face.js';
import { type Case, Data, type Lab, type Outputs, RAGGED } from './case.testing.js';

const LENGTHS = [0, ...RAGGED, 100_003] as const;

export const TANH_CASES: readonly Case[] = LENGTHS.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab) => {
    const x = new Data(`tanh ${n}`).floats(n, 4);
    for (let i = 0; i < n; i += 5) x[i] *= 1e-3;
    if (n > 10) x.set([0, 0.625, -0.625, 50, -50, 1e-30]);
    const y = lab.output(n);
    kernels.tanh(n, lab.input(x), y);
    return { y };
  },
  // A few units of the value, which is at most 1 and at most |x|.
  bounds: ({ unit }) => {
    const x = new Data(`tanh ${n}`).floats(n, 4);
    for (let i = 0; i < n; i += 5) x[i] *= 1e-3;
    if (n > 10) x.set([0, 0.625, -0.625, 50, -50, 1e-30]);
    return { y: Float64Array.from(x, (v) => 12 * unit * Math.min(1, Math.abs(v))) };
  },
}));

export const TANH_BACKWARD_CASES: readonly Case[] = LENGTHS.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab) => {
    const data = new Data(`tanh backward ${n}`);
    const [y, dy] = [lab.input(data.floats(n)), data.floats(n)];
    const [dx, inPlace] = [lab.output(n), lab.inout(dy)];
    kernels.tanhBackward(n, y, lab.input(dy), dx);
    kernels.tanhBackward(n, y, inPlace, inPlace);
    return { dx, inPlace };
  },
  bounds: ({ unit }) => ({ dx: 4 * unit, inPlace: 4 * unit }),
}));

const CELLS = [
  [1, 1],
  [3, 7],
  [5, 16],
  [4, 33],
  [32, 128],
  [0, 4],
] as const;

/** Sums of size 3, states of size 2: values below 8, each made of a few operations on an exponential or two. */
const cells = (
  name: string,
  run: (kernels: Kernels, lab: Lab, batch: number, hidden: number, data: Data) => Outputs,
) =>
  CELLS.map(([batch, hidden]): Case => {
    return {
      name: `${batch} x ${hidden}`,
      run: (kernels, lab) => run(kernels, lab, batch, hidden, new Data(`${name}/${batch}/${hidden}`)),
      bounds: ({ unit }) => {
        const of = ['gates', 'c', 'h', 'dc', 'dgates', 'alone', 'dfromH', 'dhBefore'];
        return Object.fromEntries(of.map((key) => [key, 200 * unit]));
      },
    };
  });

export const LSTM_CELL_CASES = cells('lstm', (kernels, lab, batch, hidden, data) => {
  const n = batch * hidden;
  const [gates, cBefore] = [lab.inout(data.floats(4 * n, 3)), lab.input(data.floats(n, 2))];
  const [c, h] = [lab.output(n), lab.output(n)];
  kernels.lstmCell({ batch, hidden, gates, cBefore, c, h });
  return { gates, c, h };
});

export const LSTM_CELL_BACKWARD_CASES = cells('lstm backward', (kernels, lab, batch, hidden, data) => {
  const n = batch * hidden;
  const values = data.between(4 * n, 0, 1);
  const [cBefore, c, dh] = [data.floats(n, 2), data.floats(n, 2), data.floats(n)];
  const states = { cBefore: lab.input(cBefore), c: lab.input(c), dh: lab.input(dh) };
  const later = data.floats(n);
  const [dc, dgates] = [lab.inout(later), lab.output(4 * n)];
  kernels.lstmCellBackward({
    batch,
    hidden,
    ...states,
    gates: lab.input(values),
    dhNext: lab.input(later),
    dc,
    dgates,
  });
  const alone = lab.inout(values);
  const last = lab.inout(new Float32Array(n));
  kernels.lstmCellBackward({ batch, hidden, ...states, gates: alone, dhNext: null, dc: last, dgates: alone });
  return { dc, dgates, alone };
});

export const GRU_CELL_CASES = cells('gru', (kernels, lab, batch, hidden, data) => {
  const n = batch * hidden;
  const gates = lab.inout(data.floats(3 * n, 2));
  const [fromH, hBefore, h] = [lab.input(data.floats(3 * n)), lab.input(data.floats(n)), lab.output(n)];
  kernels.gruCell({ batch, hidden, gates, fromH, hBefore, h });
  return { gates, h };
});

export const GRU_CELL_BACKWARD_CASES = cells('gru backward', (kernels, lab, batch, hidden, data) => {
  const n = batch * hidden;
  const [values, sums] = [data.between(3 * n, 0, 1), data.floats(3 * n)];
  const states = { hBefore: lab.input(data.floats(n)), dh: lab.input(data.floats(n)) };
  const [dgates, dfromH, dhBefore] = [lab.output(3 * n), lab.output(3 * n), lab.output(n)];
  const dhNext = lab.input(data.floats(n));
  const apart = { gates: lab.input(values), fromH: lab.input(sums), dhNext, dgates, dfromH, dhBefore };
  kernels.gruCellBackward({ batch, hidden, ...states, ...apart });
  const [alone, ofH] = [lab.inout(values), lab.inout(sums)];
  const inPlace = { gates: alone, fromH: ofH, dgates: alone, dfromH: ofH, dhBefore: lab.output(n) };
  kernels.gruCellBackward({ batch, hidden, ...states, ...inPlace, dhNext: null });
  return { dgates, dfromH, dhBefore, alone };
});

const bitsOf = (n: number, data: Data) =>
  Uint32Array.from({ length: Math.ceil(n / 32) }, () => data.stream.uint32());

export const MASK_APPLY_CASES: readonly Case[] = LENGTHS.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab) => {
    const data = new Data(`mask ${n}`);
    const [x, bits] = [data.floats(n), lab.u32(bitsOf(n, data))];
    if (n > 20) x[7] = Number.NaN;
    const [y, inPlace] = [lab.output(n), lab.inout(x)];
    kernels.maskApply(n, bits, lab.input(x), y);
    kernels.maskApply(n, bits, inPlace, inPlace);
    return { y, inPlace };
  },
}));

export const GATE_APPLY_CASES: readonly Case[] = LENGTHS.map((n) => ({
  name: `${n} elements`,
  run: (kernels, lab) => {
    const data = new Data(`gates ${n}`);
    const gates = data.between(n, 0, 1);
    for (let i = 0; i < n; i += 3) gates[i] = [0, 0.5, 1][(i / 3) % 3];
    const [w, g] = [lab.input(data.floats(n)), lab.input(gates)];
    const words = Math.ceil(n / 32);
    const [bits, sampledBits] = [lab.u32Output(words), lab.u32Output(words)];
    const [effective, sampled] = [lab.output(n), lab.output(n)];
    kernels.gateApply({ n, key: null, w, g, bits, effective });
    const key = { key0: 5, key1: 2 ** 32 - 1, counter: 2 ** 40 };
    kernels.gateApply({ n, key, w, g, bits: sampledBits, effective: sampled });
    return { bits, effective, sampledBits, sampled };
  },
}));

const RULES: readonly (readonly [string, UpdateRule])[] = [
  ['sgd', { kind: 'sgd', rate: 0.1, momentum: 0, nesterov: false, weightDecay: 0 }],
  ['momentum and decay', { kind: 'sgd', rate: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }],
  [
    'adam',
    {
      kind: 'adam',
      rate: 0.01,
      beta1: 0.9,
      beta2: 0.99,
      eps: 0.1,
      weightDecay: 0,
      decoupled: false,
      correction1: 0.2,
      correction2: 0.3,
    },
  ],
  ['adagrad', { kind: 'adagrad', rate: 0.1, eps: 0.1, weightDecay: 0 }],
];

export const GATE_UPDATE_CASES: readonly Case[] = [0, 33, 513, 40_001].flatMap((n) =>
  RULES.map(
    ([name, rule]): Case => ({
      name: `${n} elements, ${name}`,
      run: (kernels, lab) => {
        const data = new Data(`gate update ${n}`);
        const bits = lab.u32(bitsOf(n, data));
        const grad = lab.input(data.floats(n));
        const [weights, gates] = [data.floats(n), data.between(n, 0, 1)];
        const starts = [data.between(n, 0, 0.5), data.between(n, 0, 0.5)];
        const state = () => ({ m: lab.inout(starts[0]), v: lab.inout(starts[1]) });
        const common = { n, rule, bits, grad, gradScale: 0.5, bimodal: 0.2, spread: 0.3 };
        const [w, g, moments, gateMoments] = [lab.inout(weights), lab.inout(gates), state(), state()];
        kernels.gateUpdate({ ...common, w, moments, gateRule: rule, g, gateMoments });
        const [still, kept] = [lab.inout(weights), lab.input(gates)];
        kernels.gateUpdate({
          ...common,
          w: still,
          moments: state(),
          gateRule: null,
          g: kept,
          gateMoments: state(),
        });
        const { m, v } = moments;
        const within = Number(g.every((x) => x >= 0 && x <= 1));
        return { w, g, m, v, still, gateM: gateMoments.m, gateV: gateMoments.v, within };
      },
      // Numbers of size 1, a handful of operations each; Adam divides by 0.1 at least.
      bounds: ({ unit }) => {
        const of = ['w', 'g', 'm', 'v', 'still', 'gateM', 'gateV'];
        return Object.fromEntries(of.map((key) => [key, 40 * unit]));
      },
      law: ({ within }) => expect(within).toBe(1),
    }),
  ),
);
