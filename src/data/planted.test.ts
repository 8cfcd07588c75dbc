import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { rowRecords } from './arbitrary.testing.js';
import { DatasetDirectory } from './cache.js';
import { buildDataset } from './named-datasets.js';
import { type PlantedOptions, plantedDataset } from './planted.js';
import { labelFrequencies } from './statistics.js';
import { readXc, xcLines } from './xc.js';

/** The birth certificate of fixtures/planted: `npm run build:ts && node fixtures/make-planted.mjs`. */
const fixture: PlantedOptions = { rows: 400, features: 160, labels: 40, seed: 1 };

it.each(['train', 'test'])('fixtures/planted/%s.txt is what the generator makes', async (split) => {
  const rows = split === 'train' ? 400 : 100;
  const made = plantedDataset({ ...fixture, rows, split });
  const stored = await readXc(`fixtures/planted/${split}.txt`);
  expect(rowRecords(stored)).toEqual(rowRecords(made));
  expect([...xcLines(stored)]).toEqual([...xcLines(made)]);
});

it('planted data have unit rows, a long tail, and the same signatures in every split', () => {
  const train = plantedDataset({ ...fixture, rows: 3000, noise: 0 });
  for (const { values, labels } of rowRecords(train)) {
    expect(values.reduce((sum, v) => sum + v * v, 0)).toBeCloseTo(values.length === 0 ? 0 : 1, 5);
    expect(labels.length).toBeGreaterThanOrEqual(1);
    expect(labels.length).toBeLessThanOrEqual(5);
  }
  const frequencies = labelFrequencies(train);
  expect(frequencies[0]).toBeGreaterThan(5 * frequencies[20]);
  expect(frequencies.every((f) => f > 0)).toBe(true);

  const featuresOf = (split: string) => {
    const rows = rowRecords(plantedDataset({ ...fixture, rows: 3000, noise: 0, labelsPerRow: 1, split }));
    return new Set(rows.filter(({ labels }) => labels[0] === 0).flatMap(({ features }) => features));
  };
  expect(featuresOf('test')).toEqual(featuresOf('train'));
  expect(featuresOf('train').size).toBeLessThanOrEqual(4);
});

it('planted data can be built by name', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'espalier-planted-'));
  try {
    const stages: string[] = [];
    await buildDataset('planted', join(directory, 'x'), { onProgress: (stage) => stages.push(stage) });
    const opened = await DatasetDirectory.open(join(directory, 'x'));
    expect(opened.rows('trainAll')).toBe(9000);
    expect(stages).toEqual(['making rows', 'writing the dataset']);
  } finally {
    await rm(directory, { recursive: true });
  }
});
