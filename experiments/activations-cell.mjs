/** One cell of `activations`: trains, scores the test split once. */
import { join } from 'node:path';
import { blockSparse, data, kernels, network, nn } from '../dist/index.js';

export const dense = { inputs: { kind: 'dense' }, masks: false };

/** Networks of 28 x 28 images with ten classes. */
const makers = {
  resmlp: (spec, device, stream) =>
    new nn.ResMLP(device, { ...spec, stream, channels: 1, height: 28, width: 28, classes: 10 }),
  mlp: (spec, device, stream) => {
    const widths = [784, ...spec.hidden];
    const hidden = spec.hidden.map(
      (width, i) => new nn.Linear(device, widths[i], width, { stream, activation: 'relu' }),
    );
    const head = new nn.Linear(device, widths.at(-1), 10, { stream });
    return new nn.Sequential(new nn.Flatten(), ...hidden, head);
  },
  resnet: (spec, device, stream) => new nn.SmallResNet(device, { ...spec, stream }),
};

/** @param {{ images: string, config: any, picture?: boolean }} cell */
export async function run({ images, config, picture }) {
  const { batch, saved } = config;
  const splits = await data.readMnist(join(process.env.ESPALIER_DATA ?? '../shared/data', images), images);
  const backend = kernels.selectKernels();
  const imageBytes = [splits.train, splits.test].reduce(
    (sum, { pixels, labels }) => sum + pixels.length + labels.length,
    0,
  );
  const make = (size, how) => training(splits, backend, config, size, how);
  // A plan without measurements, which keep one layer dense.
  const bare = { ...saved, sampleEvery: 0 };
  const planned = (size, how) => make(size, how).phases.at(-1).totalBytes - imageBytes;

  const largestBatch = largest(batch, planned(batch, dense), (size) => planned(size, bare));
  const cosines = new Map();
  const here = make(batch, saved);
  const started = performance.now();
  await network.runNetwork(here, {
    onEvent: (event) => {
      // A layer without any gradient has no direction.
      if (event.event === 'gradient-cosine' && Number.isFinite(event.cosine)) {
        const name = `${event.layer} ${event.op}`;
        cosines.set(name, [...(cosines.get(name) ?? []), event.cosine]);
      }
      if (event.event === 'progress' && event.step % 100 < 5)
        console.error(`  step ${event.step} of ${event.steps}: loss ${event.loss.toFixed(3)}`);
    },
  });
  const seconds = (performance.now() - started) / 1000;
  const panels = [];
  for (const [title, how] of picture ? Object.entries({ dense, 'as kept': bare }) : []) {
    panels.push({ title, timeline: await make(batch, how).recordStep() });
  }
  return {
    config,
    kernels: backend.name,
    accuracy: here.evaluate('test').accuracy,
    steps: here.taken,
    msPerStep: (1000 * seconds) / here.taken,
    peakBytes: planned(batch, bare),
    measuredPeakBytes: here.peaks.at(-1).accountedBytes - imageBytes,
    residentBytes: here.peaks.at(-1).residentBytes,
    arenaBytes: here.phases.at(-1).arenaBytes,
    arenaGrowths: here.device.arena.growths,
    keptBytes: here.saved.report().bytes,
    denseBytes: here.saved.report().denseBytes,
    largestBatch,
    cosines: Object.fromEntries(
      [...cosines].map(([name, values]) => [name, values.reduce((sum, v) => sum + v, 0) / values.length]),
    ),
    ...(picture ? { memorySvg: blockSparse.memorySvg(panels) } : {}),
  };
}

/** The training of a cell, planned and not begun. */
export function training(splits, backend, { seed, epochs, optimizer, model, products }, batch, saved) {
  const make = (device, stream) => makers[model.kind](model, device, stream);
  return new network.NetworkTraining(network.imageTask({ ...splits, batch, seed, model: make }), {
    ...{ kernels: backend, products },
    optimizer,
    schedule: { kind: 'cosine', warmup: 0.05, floor: 0 },
    epochs,
    seed,
    saved: new blockSparse.SavedActivations(saved),
  });
}

/** The largest batch, to 8, whose step takes no more than `budget`. */
function largest(start, budget, bytesOf) {
  let low = start;
  while (low > 8 && bytesOf(low) > budget) low = Math.ceil(low / 2);
  let high = 2 * low;
  while (high < 10_000 && bytesOf(high) <= budget) [low, high] = [high, 2 * high];
  while (high - low > 8) {
    const middle = Math.round((low + high) / 16) * 8;
    if (bytesOf(middle) <= budget) low = middle;
    else high = middle;
  }
  return low;
}
