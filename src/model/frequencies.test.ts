/** Label frequencies in a model directory: they come back as they were, follow their labels, and damage is refused. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { referenceKernels } from '../kernels/reference/index.js';
import { frequenciesText, parseFrequencies } from './frequencies.js';
import { loadClassifier } from './model-io.js';
import { removeLabels } from './remove-labels.js';
import { adoptModel, shareModel } from './shared-model.js';
import { saveTinyModel, tinyFrequencies } from './tiny-model.testing.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-frequencies-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const kernels = referenceKernels('float32');
const largest = 2 ** 32 - 1;

describe('label frequencies', () => {
  it.each([[[]], [[0]], [[largest, 0, 1, 65_536]]])('of %j come back as they were', (counts) => {
    const state = { rows: largest, counts: Uint32Array.from(counts) };
    expect(parseFrequencies(frequenciesText(state), counts.length)).toEqual(state);
  });

  it('are saved with a model, loaded, and shared between threads without a copy', async () => {
    const path = await saveTinyModel(join(home, 'a'));
    expect((await loadClassifier(path, kernels)).frequencies).toEqual(tinyFrequencies(37));
    const shared = await shareModel(path, kernels);
    expect(shared.frequencies?.counts.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(adoptModel(shared, kernels).frequencies).toBe(shared.frequencies);
  });

  it('follow their labels where some are removed', async () => {
    await saveTinyModel(join(home, 'b'));
    await removeLabels(join(home, 'b'), ['label "0" ŕ', 'label "7" ŕ'], join(home, 'c'), kernels);
    const { rows, counts } = tinyFrequencies(37);
    const left = Array.from(counts.keys()).filter((label) => label !== 0 && label !== 7);
    const expected = { rows, counts: Uint32Array.from(left, (label) => counts[label]) };
    expect((await loadClassifier(join(home, 'c'), kernels)).frequencies).toEqual(expected);
  });

  it.each([
    ['no JSON', '{'],
    ['another thing', '{}'],
    ['another version', JSON.stringify({ ...sound(), version: 2 })],
    ['counts of other labels', frequenciesText(tinyFrequencies(4))],
    ['no base64', JSON.stringify({ ...sound(), counts: '!' })],
    ['a label in more rows than there are', JSON.stringify({ ...sound(), rows: 3 })],
    ['rows below 0', JSON.stringify({ ...sound(), rows: -1 })],
  ])('are refused where the file holds %s', (_, text) => {
    expect(() => parseFrequencies(text, 3, 'a file')).toThrow(
      expect.objectContaining({ code: 'LABEL_FREQUENCIES' }),
    );
  });
});

function sound(): Record<string, unknown> {
  return JSON.parse(frequenciesText(tinyFrequencies(3))) as Record<string, unknown>;
}
