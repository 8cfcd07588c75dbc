/**
 * Runs one cell of an experiment in its own process: trains, scores one split (the test split unless told otherwise) once,
 * prints one JSON line.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { data, kernels, load, remember, train } from '../dist/index.js';
import { momentsPerWeight } from '../dist/optim/rules.js';
import { modelBytes } from '../dist/reports/index.js';
import { evaluateRares } from '../dist/train/evaluate.js';
import { writeLists } from './lib/lists.mjs';

const inPercent = (at) =>
  at.map(({ k, precision, ndcg, psp }) => ({
    k,
    precision: 100 * precision.value,
    ndcg: 100 * ndcg.value,
    psp: 100 * psp.value,
  }));

const { config, split, ks, module, lists, rares, remember: memory } = JSON.parse(process.argv[2]);
if (module !== undefined) {
  // A cell that is no training run.
  const { run } = await import(new URL(module, import.meta.url).href);
  const line = `${JSON.stringify(await run(JSON.parse(process.argv[2])))}\n`;
  // NOTE: exit() drops what a pipe has not taken yet, here the end of a long result.
  await new Promise((done) => process.stdout.write(line, done));
  process.exit(0);
}
const home = await mkdtemp(join(tmpdir(), 'espalier-cell-'));
try {
  const out = join(home, 'run');
  const curve = [];
  let seconds = 0;
  let norms = 0;
  let count = 0;
  const start = performance.now();
  const result = await train(
    { ...config, out },
    {
      onEvent: (event) => {
        if (event.event === 'progress') {
          seconds = (performance.now() - start) / 1000;
          norms += event.encoderNorm;
          count++;
        }
        if (event.event === 'validation') {
          const p = Object.values(event.precision).map((v) => v.toFixed(2));
          curve.push({ epoch: event.epoch, seconds, p1: event.precision[1] ?? event.precision['1'] });
          console.error(`  epoch ${event.epoch.toFixed(1)}: P@1/3/5 ${p.join('/')} on validation rows`);
        }
      },
    },
  );
  const directory = await data.DatasetDirectory.open(config.data);
  // By score, as the published figures are: calibrations would rank some cells otherwise and not all of them alike.
  const scored = { ...(await load(out)), calibration: null };
  // The split is scored once: as it is, and with rare labels favoured by so much each time.
  const favours = [0, ...(rares ?? [])];
  const [report, ...favoured] = await evaluateRares(scored, directory, split, favours, { ks });
  if (lists !== undefined) await writeLists(lists, scored, await directory.load(split));
  const remembered = memory && (await withRows(memory, directory, favours));
  const { output, intermediate } = result.classifier;
  const { model: weights, optimizer } = output.state();
  // The encoder's optimiser trains what stands before the layer.
  const perWeight = 4 * (1 + momentsPerWeight(result.config.optimizer));
  const before = intermediate?.parameters().reduce((sum, { size }) => sum + perWeight * size, 0) ?? 0;
  const outputBytes = [...weights, ...optimizer].reduce(
    (sum, { data: array }) => sum + array.byteLength,
    before,
  );
  console.log(
    JSON.stringify({
      config,
      split,
      kernels: kernels.selectKernels().name,
      at: inPercent(report.at),
      rares: rares && favoured.map(({ rare, at }) => ({ rare, at: inPercent(at) })),
      bytes: memory && (await modelBytes(scored.directory)),
      remembered,
      seconds: result.seconds,
      examplesPerSecond: result.examplesPerSecond,
      accountedPeak: result.memory.accountedPeak,
      peakRss: result.memory.peakRss,
      outputBytes,
      labels: directory.info.labels,
      curve,
      encoderNorm: norms / Math.max(1, count),
    }),
  );

  /** The same model with the votes of its training rows, weights in bfloat16. */
  async function withRows({ votes, features = false, words = false }, rows, favours) {
    const place = join(home, 'remembering');
    // Cells that do not speak of features, or of words of names, are from before these counted.
    const own = { ...(!features && { featureWeight: 0 }), ...(!words && { textWeight: 0 }), ...votes };
    const options = { out: place, votes: own, precision: 'bf16' };
    const report = await remember(out, config.data, options);
    const voted = { ...(await load(place)), calibration: null };
    const scores = async (model) =>
      (await evaluateRares(model, rows, split, favours, { ks })).map(({ rare, at }) => ({
        rare,
        at: inPercent(at),
      }));
    const { remembered } = voted;
    const without = (off) =>
      scores({ ...voted, remembered: { ...remembered, settings: { ...remembered.settings, ...off } } });
    return {
      votes: report.votes,
      bytes: report.bytes,
      rares: await scores(voted),
      // By votes alone, where what labels are called counts too, and by hidden directions alone.
      ...(report.votes.namesake && { unnamed: await without({ namesake: 0 }) }),
      ...(report.votes.featureWeight && {
        featureless: await without({ namesake: 0, featureWeight: 0 }),
      }),
    };
  }
} finally {
  await rm(home, { recursive: true, force: true });
}
