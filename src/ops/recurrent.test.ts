import { describe, expect, it } from 'vitest';
import { arrivals, float64Device, gradcheck, parameter } from '../autograd/gradcheck.testing.js';
import { Tape } from '../autograd/tape.js';
import { gru, lstm, rnn } from './recurrent.js';

const [steps, batch, inputs, hidden] = [4, 2, 3, 5];

function parts(gates: number) {
  const d = float64Device();
  const x = parameter(d, [steps, batch, inputs], 'x');
  const inputWeight = parameter(d, [gates * hidden, inputs], 'w');
  const stateWeight = parameter(d, [gates * hidden, hidden], 'u');
  const bias = parameter(d, [gates * hidden], 'b');
  const stateBias = parameter(d, [gates * hidden], 'b2');
  return { d, x, inputWeight, stateWeight, bias, stateBias };
}

describe.each(arrivals)('on $name, backward through all steps equals finite differences:', ({ via }) => {
  it.each([0, 1])('rnn, lstm and gru, from a given state: %s', (given) => {
    for (const [op, gates] of [
      [rnn, 1],
      [lstm, 4],
      [gru, 3],
    ] as const) {
      const { d, stateBias, ...p } = parts(gates);
      const state = () =>
        given
          ? d.fromArray(
              [batch, hidden],
              Array.from({ length: batch * hidden }, (_, i) => Math.cos(i)),
            )
          : null;
      const list = [p.x, p.inputWeight, p.stateWeight, p.bias, ...(gates === 3 ? [stateBias] : [])];
      gradcheck(d, list, (tape) => {
        const through = { x: via(tape, p.x), inputWeight: via(tape, p.inputWeight), bias: via(tape, p.bias) };
        const args = { ...through, stateWeight: via(tape, p.stateWeight), stateBias: via(tape, stateBias) };
        return tape.run(op as typeof lstm, { ...args, h: state(), c: state() });
      });
    }
  });
});

describe('recurrent operations', () => {
  it('carry their state: one sequence in two pieces gives the outputs of the whole', () => {
    for (const [op, gates] of [
      [rnn, 1],
      [lstm, 4],
      [gru, 3],
    ] as const) {
      const { d, ...p } = parts(gates);
      const whole = new Tape(d).run(op as typeof lstm, { ...p, h: null, c: null });
      const [h, c] = [0, 0].map(() => d.fromArray([batch, hidden], new Float64Array(batch * hidden)));
      const pieces = [0, 1].map((half) => {
        const from = p.x.data.subarray(half * 2 * batch * inputs, (half + 1) * 2 * batch * inputs);
        const x = d.fromArray([2, batch, inputs], from);
        return Array.from(new Tape(d).run(op as typeof lstm, { ...p, x, h, c }).data);
      });
      expect(pieces.flat()).toEqual(Array.from(whole.data));
    }
  });

  it('refuse weights that do not fit', () => {
    const { x, inputWeight, stateWeight, bias } = parts(4);
    const run = (args: object) => () =>
      new Tape(float64Device()).run(lstm, { x, inputWeight, stateWeight, bias, h: null, c: null, ...args });
    expect(run({ bias: parameter(float64Device(), [3], 'short') })).toThrow(/SHAPE_MISMATCH/);
    expect(run({ inputWeight: stateWeight })).toThrow(/SHAPE_MISMATCH/);
    expect(run({ h: bias })).toThrow(/SHAPE_MISMATCH/);
  });
});
