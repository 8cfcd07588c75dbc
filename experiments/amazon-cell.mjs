/** One run at the shape of Amazon-3M: makes the data in a process of its own, trains or goes on, scores. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { data, kernels, train } from '../dist/index.js';
import { scoreDataset } from '../dist/model/score.js';

const home = '.cache/experiments/amazon-3m';
const testRows = 4000;
/** Labels seen so often are scored. */
const seen = 5;

/** Frequencies fall like 1 / (rank + 100): the most frequent label is on about 0.3 % of the rows, as in Amazon-3M. */
const rowsOf = ({ labels, features, seed }, split, rows) =>
  data.plantedDataset({ rows, features, labels, seed, split, evenness: 100 });

async function build(path, cell) {
  await data.writeDatasetDirectory(`${path}.tmp`, {
    ...{ name: 'planted at the shape of Amazon-3M', origin: 'made', licence: 'none' },
    train: rowsOf(cell, 'train', cell.steps * cell.batch),
    test: rowsOf(cell, 'test', testRows),
  });
  await rename(`${path}.tmp`, path);
}

export async function run(cell) {
  const { labels, steps, batch, width, spec, seed, name, scored: isScored = true } = cell;
  const path = join(home, `data-${labels}-${steps}`);
  if (!existsSync(path)) {
    await rm(`${path}.tmp`, { recursive: true, force: true });
    // Aside, or the memory of making the data would count as that of training.
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), path, JSON.stringify(cell)]);
  }
  const out = join(home, `run-${name}-${steps}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => stop.abort());
  const times = [];
  let before = null;
  let shown = performance.now();
  const result = await train(
    {
      ...{ data: path, out, seed, batch, epochs: 1, optimizer: { kind: 'adam', rate: 7e-3 } },
      outputOptimizer: { kind: 'sgd' },
      model: { encoder: { embedding: width, activation: 'relu', dropout: 0 }, output: spec },
      validation: { rows: 0 },
      checkpoint: { everyMinutes: 10, keep: 1 },
    },
    {
      resume: existsSync(join(out, 'config.json')),
      signal: stop.signal,
      onEvent: (event) => {
        if (event.event !== 'progress') return;
        const now = performance.now();
        if (before !== null) times.push((now - before.at) / (event.step - before.step) / 1000);
        before = { at: now, step: event.step };
        if (now - shown < 30_000) return;
        shown = now;
        console.error(`  step ${event.step} of ${event.steps}, loss ${event.loss.toFixed(3)}`);
      },
    },
  );
  if (!result.finished) {
    console.error('  stopped; the next call goes on from here');
    process.exit(3);
  }
  const { output } = result.classifier;
  const directory = await data.DatasetDirectory.open(path);
  const scored = isScored
    ? await score(result.classifier, await directory.load('test'), result.frequencies)
    : {};
  const { bytes } = await output.plan({ batch, positives: 5 * batch });
  const report = {
    ...{ labels, steps: result.steps, kernels: kernels.selectKernels().name, ...scored },
    // Of steps since the last start; a machine that slept or did other work moves a mean, not this.
    secondsPerStep: times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? null,
    outputBytes: bytes.weights + bytes.indices + bytes.optimizer,
    accountedPeak: result.memory.accountedPeak,
    peakRss: result.memory.peakRss,
  };
  await rm(out, { recursive: true, force: true });
  return report;
}

/** P@1 over rows with a label seen often enough, such labels counting alone; and of always naming the most frequent. */
async function score(classifier, test, frequencies) {
  const most = frequencies.indexOf(frequencies.reduce((a, b) => Math.max(a, b), 0));
  const counts = { rows: 0, hits: 0, frequent: 0 };
  const add = ({ k, labels }, rows, ids) => {
    for (const [i, row] of ids.entries()) {
      const own = rows.labelIds.subarray(rows.labelIndptr[row], rows.labelIndptr[row + 1]);
      const known = Array.from(own).filter((label) => frequencies[label] >= seen);
      if (known.length === 0) continue;
      counts.rows++;
      counts.hits += known.includes(labels[i * k]) ? 1 : 0;
      counts.frequent += known.includes(most) ? 1 : 0;
    }
  };
  await scoreDataset(classifier, test, { add }, { batch: 256, k: 1 });
  const labels = frequencies.reduce((n, f) => n + (f >= seen ? 1 : 0), 0);
  const { rows, hits, frequent } = counts;
  return { p1: hits / rows, frequent: frequent / rows, scoredRows: rows, scoredLabels: labels };
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await build(process.argv[2], JSON.parse(process.argv[3]));
