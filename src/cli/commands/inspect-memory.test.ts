import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { writeDatasetDirectory } from '../../data/cache.js';
import { plantedDataset } from '../../data/planted.js';
import { runProgram } from '../program.js';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'espalier-timeline-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

async function printed(...args: string[]): Promise<{ code: number; text: string; errors: string }> {
  const [lines, errors]: string[][] = [[], []];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => errors.push(String(text)) > 0);
  const code = await runProgram(['inspect', '--memory', ...args]);
  return { code, text: lines.join(''), errors: errors.join('') };
}

const network = {
  model: { kind: 'resmlp', patch: 4, dim: 32, depth: 2 },
  batch: 32,
  saved: { inputs: { kind: 'bsr', keep: 0.3 }, rules: [{ op: 'linear', form: { kind: 'recompute' } }] },
};
const settings = async (name: string, value: object) => {
  const file = join(scratch, `${name}.json`);
  await writeFile(file, JSON.stringify(value));
  return file;
};

interface Panels {
  readonly panels: readonly {
    readonly title: string;
    readonly peakBytes: number;
    readonly marks: readonly { readonly name: string; readonly at: number }[];
    readonly points: readonly Readonly<Record<string, number>>[];
  }[];
}

describe('espalier inspect --memory', () => {
  it('draws a step of a network, dense and as configured, side by side: text and SVG', async () => {
    const { code, text } = await printed(await settings('network', network), '--svg', join(scratch, 'out'));
    expect(code).toBe(0);
    expect(text).toMatch(/MiB +dense +as configured/);
    expect(text).toMatch(/a activations +\d+\.\d\d +\d+\.\d\d\n/);
    expect(text).toMatch(/\^forward +\^backward/);
    const svg = await readFile(join(scratch, 'out', 'memory.svg'), 'utf8');
    expect(svg).toMatch(/>dense: peak [\d.]+ MiB</);
    expect(svg).toMatch(/>as configured: peak [\d.]+ MiB</);
  });

  it('gives every point as JSON: tags add up to the peak, and pruning lowers it', async () => {
    const { text } = await printed(await settings('network', network), '--json');
    const { panels } = JSON.parse(text) as Panels;
    const [dense, pruned] = panels;
    for (const { points, peakBytes, marks } of panels) {
      const sums = points.map((point) => Object.values(point).reduce((sum, bytes) => sum + bytes, 0));
      expect(Math.max(...sums)).toBe(peakBytes);
      expect(marks.map(({ name }) => name)).toEqual(['forward', 'backward', 'update']);
    }
    expect(pruned.peakBytes).toBeLessThan(0.75 * dense.peakBytes);
  });

  it('takes settings on the command line, and every kind of network', async () => {
    const models = [
      { model: { kind: 'mlp', hidden: [64, 32] } },
      { model: { kind: 'lenet-300-100' } },
      { model: { kind: 'lenet-5' } },
      { model: { kind: 'resnet', width: 8 } },
      { model: { kind: 'vgg', widths: [8, 8] } },
      { model: { kind: 'char-lstm', hidden: 32 }, classes: 65, steps: 16, batch: 8 },
    ];
    for (const one of models) {
      const file = await settings(one.model.kind, one);
      const { code, text } = await printed(file, '--json', '--set', 'saved.inputs={"kind":"bsr","keep":0.2}');
      expect(code, one.model.kind).toBe(0);
      const [dense, pruned] = (JSON.parse(text) as Panels).panels;
      expect(pruned.peakBytes, one.model.kind).toBeLessThanOrEqual(dense.peakBytes);
    }
  });

  it('shows a classifier beside its dense twin, from settings and from a run directory', async () => {
    const data = join(scratch, 'data');
    const shape = { features: 200, labels: 3000, seed: 1 };
    await writeDatasetDirectory(data, {
      ...{ name: 'planted', origin: 'made', licence: 'none' },
      train: plantedDataset({ ...shape, rows: 100 }),
    });
    const sets = { encoder: { embedding: 32 }, output: { kind: 'fan-in', fanIn: 8 } };
    const file = await settings('classifier', { data, model: sets });
    const { panels } = JSON.parse((await printed(file, '--json')).text) as Panels;
    expect(panels.map(({ title }) => title)).toEqual(['dense', 'fan-in, as configured']);
    expect(panels[1].peakBytes).toBeLessThan(panels[0].peakBytes);
    expect(panels[1].marks.map(({ name }) => name)).toEqual([
      'encoder',
      'output layer',
      'backward',
      'update',
    ]);
    const run = join(scratch, 'run');
    vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
    const train = ['train', data, '--out', run, '--epochs', '1', '--set', `model=${JSON.stringify(sets)}`];
    expect(await runProgram(train)).toBe(0);
    expect((JSON.parse((await printed(run, '--json')).text) as Panels).panels).toEqual(panels);
  });

  it('refuses settings that are none, with their file', async () => {
    const broken = join(scratch, 'broken.json');
    await writeFile(broken, '[1');
    expect((await printed(broken)).errors).toMatch(/CONFIG_JSON.*broken\.json/);
    const odd = await printed(await settings('odd', { model: { kind: 'resmlp', dim: 0, depth: 1 } }));
    expect(odd.code).toBe(2);
    expect(odd.errors).toMatch(/CONFIG_INVALID[\s\S]*model\.dim/);
  });
});
