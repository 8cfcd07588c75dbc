import { describe, expect, it } from 'vitest';
import { RandomStream } from '../kernels/random.js';
import { referenceKernels } from '../kernels/reference/index.js';
import { Device } from '../tensor/device.js';
import { Sampler } from './sampler.js';

const device = new Device(referenceKernels('float64'));
const stream = (name: string) => RandomStream.named(4, name);

describe('Sampler', () => {
  it.each([undefined, Float64Array.from({ length: 50 }, (_, l) => (l === 7 ? 40 : l % 5))])(
    'draws label l with the probability that its correction says (%#)',
    (shares) => {
      const sampler = new Sampler(device, { labels: 50, draws: 12, shares });
      const seen = new Float64Array(50);
      const rounds = 20_000;
      const draws = stream('law');
      for (let t = 0; t < rounds; t++) {
        const drawn = sampler.draw(draws);
        for (let i = 0; i < drawn.length; i++) {
          if (i > 0) expect(drawn[i]).toBeGreaterThan(drawn[i - 1]);
          seen[drawn[i]]++;
        }
      }
      for (let l = 0; l < 50; l++) {
        const p = Math.exp(-sampler.correction(l));
        const sigma = Math.sqrt((p * (1 - p)) / rounds);
        expect(Math.abs(seen[l] / rounds - p)).toBeLessThan(5 * sigma + 1e-12);
      }
    },
  );
});
