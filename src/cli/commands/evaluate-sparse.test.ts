import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encode } from 'fast-png';
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import { saveSparse, sparseNetwork } from '../../model/sparse/index.js';
import { LeNet300100 } from '../../nn/index.js';
import { Device } from '../../tensor/device.js';
import { runProgram } from '../program.js';

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'espalier-evaluate-'));
});
afterAll(() => rm(scratch, { recursive: true, force: true }));
afterEach(() => vi.restoreAllMocks());

it('scores an exported network on PNG folders, beside the same weights with their zeros', async () => {
  const stream = RandomStream.named(1, 'evaluate');
  for (const split of ['train', 'test']) {
    for (const name of ['a', 'b', 'c']) {
      await mkdir(join(scratch, 'images', split, name), { recursive: true });
      for (let i = 0; i < 5; i++) {
        const data = Uint8Array.from({ length: 36 }, () => stream.below(256));
        const file = join(scratch, 'images', split, name, `${i}.png`);
        await writeFile(file, encode({ width: 6, height: 6, channels: 1, data }));
      }
    }
  }
  const kernels = selectKernels();
  const learner = new LeNet300100(new Device(kernels), { stream, inputs: 36, classes: 3 });
  for (const parameter of learner.parameters())
    for (let i = 0; i < parameter.size; i++) parameter.data[i] = i % 10 === 3 ? Math.sin(i) / 10 : 0;
  const path = join(scratch, 'small.safetensors');
  const pixels = { scale: Float32Array.of(1 / 60), shift: Float32Array.of(-2) };
  await saveSparse(path, sparseNetwork(kernels, learner, { input: [1, 6, 6] }), { pixels });
  const lines: string[] = [];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
  expect(await runProgram(['evaluate', path, join(scratch, 'images'), '--json'])).toBe(0);
  const report = JSON.parse(lines.join(''));
  expect(report).toMatchObject({ images: 15, differ: 0, weights: { left: 4110, of: 41_100 } });
  expect(report.accuracy).toBe(report.denseAccuracy);
  lines.length = 0;
  expect(await runProgram(['evaluate', path, join(scratch, 'images')])).toBe(0);
  expect(lines.join('')).toMatch(/15 test images[\s\S]*answered differently +0\n[\s\S]*\(10\.00 %\)/);
  expect(await runProgram(['evaluate', path, join(scratch, 'images'), '--split', 'validation'])).toBe(2);
});
