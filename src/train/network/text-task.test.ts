import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { characters, cutText, TextStreams } from '../../data/text.js';
import { selectKernels } from '../../kernels/index.js';
import { CharacterModel } from '../../nn/recurrent-layers.js';
import { NetworkTraining } from './network.js';
import { networkArrays, runNetwork } from './run.js';
import { textTask } from './text-task.js';

const scratch = mkdtempSync(join(tmpdir(), 'espalier-text-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const { alphabet, symbols } = characters('the quick brown fox jumps over the lazy dog. '.repeat(60));
const training = (kind: 'lstm' | 'gru' | 'rnn' = 'lstm') =>
  new NetworkTraining(
    textTask({
      ...cutText(symbols, 0.1, 0.1),
      ...{ symbols: alphabet.length, batch: 4, steps: 12, seed: 3 },
      model: (device, stream) =>
        new CharacterModel(device, {
          ...{
            stream,
            symbols: alphabet.length,
            batch: 4,
            carry: 4,
            embedding: 8,
            hidden: 24,
            kind,
            dropout: 0.05,
          },
        }),
    }),
    { kernels: selectKernels(), optimizer: { kind: 'adam', rate: 0.02 }, epochs: 4, seed: 3, clip: 1 },
  );

const bytesOf = (one: NetworkTraining) =>
  networkArrays(one).map(({ name, data }) => [name, Array.from(data as Float32Array)]);

describe('textTask', () => {
  it.each(['lstm', 'gru', 'rnn'] as const)(
    'learns a sentence by heart with %s, in the memory that it planned',
    async (kind) => {
      const one = training(kind);
      await runNetwork(one, { evaluate: 'test', evaluateEvery: 2 });
      expect(one.evaluate('test').accuracy).toBeGreaterThan(0.6);
      expect(one.device.arena.growths).toBe(0);
    },
  );

  it('goes on bit for bit from a checkpoint in the middle of an epoch, and past evaluations', async () => {
    const whole = training();
    await runNetwork(whole);
    const directory = join(scratch, 'run');
    await runNetwork(training(), { directory, until: 50 });
    const second = training();
    await runNetwork(second, { directory, resume: true, evaluate: 'validation', evaluateEvery: 0.5 });
    expect(bytesOf(second)).toEqual(bytesOf(whole));
  });
});

describe('TextStreams', () => {
  it('reads each stream on from where the last piece ended, and knows what follows', () => {
    const streams = new TextStreams(
      Uint16Array.from({ length: 14 }, (_, i) => i),
      2,
      3,
    );
    expect(streams.pieces).toBe(2);
    const [inputs, targets] = [new Uint32Array(6), new Uint32Array(6)];
    streams.fill(0, inputs, targets);
    expect([...inputs, ...targets]).toEqual([0, 6, 1, 7, 2, 8, 1, 7, 2, 8, 3, 9]);
    streams.fill(1, inputs, targets);
    expect(Array.from(inputs)).toEqual([3, 9, 4, 10, 5, 11]);
    expect(() => new TextStreams(new Uint16Array(6), 2, 3)).toThrow(/TEXT_SHORT/);
  });

  it('numbers characters by code point, and refuses an empty text', () => {
    expect(characters('ba😀a').alphabet).toEqual(['a', 'b', '😀']);
    expect(Array.from(characters('ba😀a').symbols)).toEqual([1, 0, 2, 0]);
    expect(() => characters('')).toThrow(/TEXT_EMPTY/);
  });
});
