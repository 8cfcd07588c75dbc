/**
 * One cell of `new-labels`: trains on rows in which some labels were never marked, adds these labels to the saved
 * model in one pass over the rows with all marks, in several ways, and scores the test split before and after.
 */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { data, load, train } from '../dist/index.js';

/** The rows with the labels of `places` alone (new number, or -1); rows that have none of them go. */
function relabelled(dataset, places, labelNames, wanted = () => true) {
  const { rows, features, indptr, indices, values, labelIndptr, labelIds } = dataset;
  const builder = new data.CsrBuilder({ features, labels: labelNames.length });
  for (let row = 0; row < rows; row++) {
    const marks = labelIds.subarray(labelIndptr[row], labelIndptr[row + 1]);
    const own = Array.from(marks, (label) => places[label]).filter((label) => label >= 0);
    if (own.length === 0 || !wanted(own)) continue;
    const [from, to] = [indptr[row], indptr[row + 1]];
    builder.row([...indices.subarray(from, to)], [...values.subarray(from, to)], own);
  }
  return new data.CsrDataset({ ...builder.finish(), labelNames });
}

async function store(path, train, validation, featurizer) {
  const about = {
    name: 'new-labels',
    origin: 'wordnet-hypernym with labels held out',
    licence: 'as its source',
  };
  await data.writeDatasetDirectory(path, { ...about, train, validation, featurizer });
  return path;
}

/**
 * P@1 over rows without any new label, and over rows with one; and of the old labels alone (in rows without new ones),
 * and of the new labels alone, how often the best ranked is right.
 */
async function score(path, rows, old) {
  const { classifier, shape } = await load(path);
  const size = 256;
  const batch = new data.Batch(data.batchShape(rows, size));
  const sums = { old: [0, 0], new: [0, 0], newFirst: [0, 0], oldFirst: [0, 0] };
  for (let from = 0; from < rows.rows; from += size) {
    const ids = Uint32Array.from({ length: Math.min(size, rows.rows - from) }, (_, i) => from + i);
    data.fillBatch(rows, ids, batch);
    classifier.device.arena.reset();
    const { labels } = await classifier.output.topK(
      classifier.infer(batch.features),
      Math.min(200, shape.labels),
    );
    const k = labels.length / ids.length;
    for (const [i, row] of ids.entries()) {
      const marks = rows.labelIds.subarray(rows.labelIndptr[row], rows.labelIndptr[row + 1]);
      const isNew = marks.some((label) => label >= old);
      const part = sums[isNew ? 'new' : 'old'];
      part[1]++;
      if (marks.includes(labels[i * k])) part[0]++;
      // Among themselves: how well labels are told from each other, whatever the others do.
      const among = labels
        .subarray(i * k, (i + 1) * k)
        .find((label) => label < shape.labels && label >= old === isNew);
      const first = sums[isNew ? 'newFirst' : 'oldFirst'];
      first[1]++;
      if (among !== undefined && marks.includes(among)) first[0]++;
    }
  }
  return Object.fromEntries(Object.entries(sums).map(([part, [hits, n]]) => [part, (100 * hits) / n]));
}

export async function run({ seed, share, settings, dataset, ways, validation }) {
  const source = await data.DatasetDirectory.open(join('data', dataset));
  const { labelNames } = await source.names();
  const featurizer = await source.featurizer();
  const [whole, heldOut, test] = [
    await source.load('train'),
    await source.load('validation'),
    await source.load('test'),
  ];
  // Labels of at least two rows: of one row nothing can be learnt that is also in the test.
  const count = new Uint32Array(whole.labels);
  for (const label of whole.labelIds) count[label]++;
  const draws = labelNames.map((name) => createHash('sha256').update(`${seed} ${name}`).digest('hex'));
  const order = Array.from(draws.keys()).sort((a, b) => (draws[a] < draws[b] ? -1 : 1));
  const held = new Set(order.filter((l) => count[l] >= 2).slice(0, Math.round(share * whole.labels)));
  const kept = order.filter((l) => !held.has(l)).sort((a, b) => a - b);
  const now = [...kept, ...[...held].sort((a, b) => a - b)];
  const places = new Int32Array(whole.labels);
  for (const [place, label] of now.entries()) places[label] = place;
  const names = now.map((label) => labelNames[label]);
  const old = kept.length;
  const first = places.map((place) => (place < old ? place : -1));

  const home = await mkdtemp(join(tmpdir(), 'espalier-new-labels-'));
  try {
    const at = (name) => join(home, name);
    const of = (name, places, names, wanted) =>
      store(
        at(name),
        relabelled(whole, places, names, wanted),
        relabelled(heldOut, places, names),
        featurizer,
      );
    const paths = {
      base: await of('base', first, names.slice(0, old)),
      all: await of('all', places, names),
      new: await of('new', places, names, (own) => own.some((l) => l >= old)),
    };
    const asked = relabelled(test, places, names);
    const results = { base: null, ways: {}, retrained: null, old, added: held.size };
    const timed = async (config) => {
      const { seconds } = await train({ seed, ...config });
      const found = await score(config.out, asked, old);
      console.error(
        `  ${config.out.slice(home.length + 1)}: ${JSON.stringify(found)} in ${seconds.toFixed(0)} s`,
      );
      return { ...found, seconds };
    };
    results.base = await timed({ ...settings, validation, data: paths.base, out: at('run-base') });
    results.retrained = await timed({ ...settings, validation, data: paths.all, out: at('run-all') });
    for (const [name, { on, newLabels, learn, ...changes }] of Object.entries(ways)) {
      const start = { model: at('run-base'), newLabels, learn };
      const out = at(`run-${Object.keys(results.ways).length}`);
      results.ways[name] = await timed({ start, validation, data: paths[on], out, ...changes });
    }
    return results;
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}
