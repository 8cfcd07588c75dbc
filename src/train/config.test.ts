import { describe, expect, it } from 'vitest';
import { parseConfig, setPath } from './config.js';

const minimal = { data: 'd', out: 'o' };
const refusal = (input: unknown) => {
  try {
    parseConfig(input);
  } catch (error) {
    return error as { code: string; message: string; exitCode: number };
  }
  throw new Error('accepted');
};

describe('parseConfig', () => {
  it('fills every default, and parsing its own result changes nothing', () => {
    const config = parseConfig(minimal);
    const topology = { kind: 'static', start: 'gradient' };
    expect(config.model.output).toMatchObject({ kind: 'fan-in', topology });
    expect(parseConfig(config)).toEqual(config);
  });

  it.each([
    [{}, 'none', 0.2],
    [{ output: { kind: 'grouped' } }, 'none', 0.2],
    [{ output: { kind: 'bottleneck' }, encoder: { hidden: [] } }, 'none', 0.2],
    [{ encoder: { dropout: 0.4 } }, 'none', 0.4],
    [{ encoder: { activation: 'gelu' } }, 'gelu', 0.2],
    // Linear layers on top of each other would be one; and a dense layer is for few labels.
    [{ encoder: { hidden: [16] } }, 'relu', 0.5],
    [{ output: { kind: 'dense' } }, 'relu', 0.5],
    [{ output: { kind: 'factored' } }, 'relu', 0.5],
  ])(
    'the encoder goes with the kind of output layer: %j has %s and dropout %d',
    (model, activation, dropout) => {
      const { encoder } = parseConfig({ ...minimal, model }).model;
      expect(encoder).toMatchObject({ activation, dropout });
    },
  );

  it('a factored output layer brings its own loss and plain SGD, unless told otherwise', () => {
    const output = { kind: 'factored' as const };
    const config = parseConfig({ ...minimal, batch: 10, model: { output } });
    expect(config.model).toMatchObject({
      loss: 'zLoss',
      output: { kind: 'factored', form: 'factored' },
    });
    expect(config.outputOptimizer).toMatchObject({ kind: 'sgd', rate: 1, momentum: 0 });
    const told = parseConfig({
      ...minimal,
      model: { output, loss: 'taylorSoftmax' },
      outputOptimizer: { rate: 0.5 },
    });
    expect(told.model.loss).toBe('taylorSoftmax');
    expect(told.outputOptimizer).toMatchObject({ kind: 'sgd', rate: 0.5 });
    expect(parseConfig(config)).toEqual(config);
  });

  it('a part of a tagged setting keeps the default tag', () => {
    const { model } = parseConfig({ ...minimal, model: { output: { fanIn: 7, topology: { every: 5 } } } });
    expect(model.output).toMatchObject({ kind: 'fan-in', fanIn: 7, topology: { kind: 'set', every: 5 } });
  });

  it.each([
    [{ ...minimal, epoch: 3 }, 'epochs'],
    [{ ...minimal, model: { encoder: { dropuot: 0.1 } } }, 'dropout'],
    [{ ...minimal, model: { output: { kind: 'fan-in', fanin: 3 } } }, 'fanIn'],
  ])('an unknown key names itself and the nearest known one: %j', (input, near) => {
    const error = refusal(input);
    expect(error.code).toBe('CONFIG_UNKNOWN_KEY');
    expect(error.message).toContain(near);
    expect(error.exitCode).toBe(2);
  });

  it.each([
    [{ ...minimal, epochs: 'many' }, 'epochs'],
    [{ ...minimal, batch: 0 }, 'batch'],
    [{ ...minimal, model: { encoder: { dropout: 1 } } }, 'model.encoder.dropout'],
    [{ ...minimal, optimizer: { kind: 'lion' } }, 'optimizer'],
    [{ out: 'o' }, 'data'],
  ])('a value that does not fit names its path: %j', (input, path) => {
    const error = refusal(input);
    expect(error.code).toBe('CONFIG_INVALID');
    expect(error.message).toContain(path);
  });
});

describe('setPath', () => {
  it('reads values as JSON where they are, else as text', () => {
    const target = {};
    for (const text of ['a.b=1', 'a.c=true', 'a.d=word', 'a.e=[1,2]']) setPath(target, text);
    expect(JSON.parse(JSON.stringify(target))).toEqual({ a: { b: 1, c: true, d: 'word', e: [1, 2] } });
  });

  it('never reaches the prototype of objects', () => {
    setPath({}, '__proto__.polluted=1');
    setPath({}, 'constructor.prototype.polluted=1');
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('refuses an assignment without a value', () => {
    expect(() => setPath({}, 'epochs')).toThrow(/path and a value/);
  });
});
