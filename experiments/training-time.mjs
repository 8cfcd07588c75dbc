/**
 * The time of one training step under several settings, which take turns, so that a busy moment meets all of them. A turn is
 * as many steps as a moment holds: in training, too, a step finds in the caches what the last one left there.
 */
import { data, kernels } from '../dist/index.js';
import { parseConfig } from '../dist/train/config.js';
import { TrainSession } from '../dist/train/session.js';
import { trainStep } from '../dist/train/step.js';

const WARM_UP = 2;
const TURN_MS = 250;

export async function run({ dataset, settings, rounds }) {
  const directory = await data.DatasetDirectory.open(`data/${dataset}`);
  const rows = await directory.load('train');
  const names = Object.keys(settings);
  const sessions = new Map();
  for (const name of names) {
    const config = parseConfig({ ...settings[name], data: directory.path, out: 'unused' });
    sessions.set(
      name,
      await TrainSession.create(config, kernels.selectKernels(), { rows, validation: null, baseRss: 0 }),
    );
  }
  const times = new Map(names.map((name) => [name, []]));
  let stepsPerEpoch = 0;
  const taken = new Map(names.map((name) => [name, 0]));
  for (let round = 0; round < WARM_UP + rounds; round++) {
    for (const [name, session] of sessions) {
      const { classifier, optimizer, order, batch, auxiliary, saved } = session;
      stepsPerEpoch = order.stepsPerEpoch;
      const start = performance.now();
      let steps = 0;
      let elapsed = 0;
      for (; elapsed < TURN_MS; elapsed = performance.now() - start) {
        const step = (taken.get(name) + steps++) % stepsPerEpoch;
        data.fillBatch(rows, order.rowIds({ epoch: 0, step }), batch);
        await trainStep(classifier, optimizer, batch, session.rates(step), auxiliary, saved);
      }
      taken.set(name, taken.get(name) + steps);
      if (round >= WARM_UP) times.get(name).push(elapsed / steps);
    }
  }
  const quantile = (list, share) => list.sort((a, b) => a - b)[Math.floor(share * (list.length - 1))];
  const summary = (list) => ({
    median: quantile(list, 0.5),
    low: quantile(list, 0.25),
    high: quantile(list, 0.75),
  });
  return {
    stepsPerEpoch,
    rounds,
    times: Object.fromEntries(names.map((name) => [name, summary(times.get(name))])),
  };
}
