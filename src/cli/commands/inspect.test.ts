import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it, vi } from 'vitest';
import { selectKernels } from '../../kernels/index.js';
import { RandomStream } from '../../kernels/random.js';
import { saveSparse, sparseNetwork } from '../../model/sparse/index.js';
import { LeNet300100 } from '../../nn/index.js';
import { Device } from '../../tensor/device.js';
import { runProgram } from '../program.js';

afterEach(() => vi.restoreAllMocks());

it('counts what is left of an exported network, layer by layer, and draws it', async () => {
  const scratch = await mkdtemp(join(tmpdir(), 'espalier-inspect-'));
  try {
    const kernels = selectKernels();
    const learner = new LeNet300100(new Device(kernels), { stream: RandomStream.named(1, 'inspect') });
    // The first layer looks at the tenth pixel only: 300 of 235,200 weights.
    for (let i = 0; i < learner.first.weight.size; i++) if (i % 784 !== 9) learner.first.weight.data[i] = 0;
    const path = join(scratch, 'small.safetensors');
    await saveSparse(path, sparseNetwork(kernels, learner, { input: [1, 28, 28] }));
    const lines: string[] = [];
    vi.spyOn(process.stdout, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
    vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
    expect(await runProgram(['inspect', path, '--svg', join(scratch, 'out')])).toBe(0);
    const text = lines.join('');
    expect(text).toContain('31300 of 266200 weights are not 0 (11.76 %)');
    expect(text).toMatch(/first +.*0\.13 %/);
    expect(text).toContain('first [300 x 784]');
    expect(await readdir(join(scratch, 'out'))).toEqual(['first-layer.svg', 'layers.svg', 'weights.svg']);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
});
