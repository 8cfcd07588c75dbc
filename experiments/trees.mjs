/**
 * Linear label trees, the rival that tables name: unbalanced k-means over label features, 100 clusters a level and three levels
 * at most, linear classifiers by dual coordinate descent at every node, beam search, three trees: Bonsai (Khandagale et al.
 * 2020) with the settings of omikuji (--cluster.k 100 --cluster.unbalanced --max_depth 3). Our own, so that whoever doubts the
 * figures in the tables can have them: one thread, a few minutes.
 *
 *   node experiments/trees.mjs wordnet-related [seed]
 *
 * Trains on training and validation rows of data/NAME, which it makes where it is not there, and scores the test split.
 */
import { existsSync } from 'node:fs';
import { data } from '../dist/index.js';

const TREES = 3;
const CLUSTERS = 100;
const LEAST_CLUSTER = 2; // smaller clusters are disbanded
const LEAST_BRANCH = 100; // nodes with fewer labels are leaves
const DEPTH = 3; // the root has depth 1; nodes at this depth are leaves
const CLUSTER_EPS = 1e-4; // k-means stops when the mean cosine rises by less
const COST = 1;
const SVM_EPS = 0.1;
const SVM_PASSES = 20;
const LEAST_WEIGHT = 0.1; // weights of at most this magnitude become 0, the bias too
const BEAM = 10;

/** Marsaglia's xorshift32. */
class Random {
  constructor(seed) {
    this.state = Math.imul(seed + 1, 0x9e3779b1) >>> 0 || 1;
    for (let i = 0; i < 8; i++) this.below(1);
  }
  below(n) {
    let s = this.state;
    s ^= s << 13;
    s ^= s >>> 17;
    s ^= s << 5;
    this.state = s >>> 0;
    return Math.floor((this.state / 4294967296) * n);
  }
  shuffle(list) {
    for (let i = list.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const kept = list[i];
      list[i] = list[j];
      list[j] = kept;
    }
  }
}

/** The same rows scaled to l2 norm 1 (they are already, but for rounding). */
function unitRows(data) {
  const values = data.values.slice();
  for (let r = 0; r < data.rows; r++) unit(values, data.indptr[r], data.indptr[r + 1]);
  const { rows, features, labels, indptr, indices, labelIndptr, labelIds } = data;
  return { rows, features, labels, indptr, indices, values, labelIndptr, labelIds };
}

function unit(values, start = 0, end = values.length) {
  let square = 0;
  for (let i = start; i < end; i++) square += values[i] * values[i];
  if (square === 0) return;
  const scale = 1 / Math.sqrt(square);
  for (let i = start; i < end; i++) values[i] *= scale;
}

/** Per label the l2-normalised sum of its rows: {ids, vectors: [{indices, values}]}, labels without rows left out. */
function labelVectors(data) {
  const rowsOf = Array.from({ length: data.labels }, () => []);
  for (let r = 0; r < data.rows; r++)
    for (let j = data.labelIndptr[r]; j < data.labelIndptr[r + 1]; j++) rowsOf[data.labelIds[j]].push(r);
  const sum = new Float64Array(data.features);
  const vectors = rowsOf.map((rows) => {
    const touched = [];
    for (const r of rows)
      for (let i = data.indptr[r]; i < data.indptr[r + 1]; i++) {
        const f = data.indices[i];
        if (sum[f] === 0) touched.push(f);
        sum[f] += data.values[i];
      }
    const indices = Uint32Array.from(touched).sort();
    const values = Float32Array.from(indices, (f) => sum[f]);
    for (const f of touched) sum[f] = 0;
    unit(values);
    return { indices, values };
  });
  return { ids: rowsOf.flatMap((rows, label) => (rows.length > 0 ? [label] : [])), vectors };
}

/**
 * Spherical k-means of labels, not balanced. Starts at k different labels' vectors; every label goes to the centre of
 * largest cosine; centres become the normalised sums of their labels; ends when the mean cosine rises by < 1e-4.
 * Then, smallest first, clusters below LEAST_CLUSTER are disbanded and their labels go to their next best centre.
 */
function cluster(labels, vectors, features, random) {
  const n = labels.length;
  const k = CLUSTERS;
  // Centres lie feature by feature (all k values of one feature together), over the features that occur.
  const local = new Int32Array(features).fill(-1);
  let used = 0;
  for (const label of labels) for (const f of vectors[label].indices) if (local[f] < 0) local[f] = used++;
  const centres = new Float32Array(used * k);
  const add = (label, c) => {
    const { indices, values } = vectors[label];
    for (let i = 0; i < indices.length; i++) centres[local[indices[i]] * k + c] += values[i];
  };
  const order = Uint32Array.from(labels);
  random.shuffle(order);
  for (let c = 0; c < k; c++) add(order[c], c);

  const cosines = new Float32Array(n * k);
  const assigned = new Int32Array(n);
  const nearest = (i) => {
    let best = 0;
    for (let c = 1; c < k; c++) if (cosines[i * k + c] >= cosines[i * k + best]) best = c; // the last of equals
    return best;
  };
  for (let previous = -2; ; ) {
    cosines.fill(0);
    let total = 0;
    for (let i = 0; i < n; i++) {
      const { indices, values } = vectors[labels[i]];
      for (let j = 0; j < indices.length; j++) {
        const from = local[indices[j]] * k;
        const value = values[j];
        for (let c = 0; c < k; c++) cosines[i * k + c] += value * centres[from + c];
      }
      assigned[i] = nearest(i);
      total += cosines[i * k + assigned[i]];
    }
    if (total / n - previous < CLUSTER_EPS) break;
    previous = total / n;
    centres.fill(0);
    for (let i = 0; i < n; i++) add(labels[i], assigned[i]);
    const squares = new Float64Array(k);
    for (let at = 0; at < centres.length; at++) squares[at % k] += centres[at] * centres[at];
    for (let at = 0; at < centres.length; at++)
      if (centres[at] !== 0) centres[at] /= Math.sqrt(squares[at % k]);
  }

  const clusters = Array.from({ length: k }, () => []);
  for (let i = 0; i < n; i++) clusters[assigned[i]].push(i);
  for (;;) {
    let smallest = -1;
    for (let c = 0; c < k; c++)
      if (clusters[c].length > 0 && (smallest < 0 || clusters[c].length < clusters[smallest].length))
        smallest = c;
    const members = clusters[smallest];
    if (members.length >= LEAST_CLUSTER || members.length === n) break;
    for (let i = 0; i < n; i++) cosines[i * k + smallest] = -Infinity;
    clusters[smallest] = [];
    for (const i of members) clusters[nearest(i)].push(i);
  }
  return clusters.filter((c) => c.length > 0).map((c) => c.map((i) => labels[i]));
}

/** The rows `rows` of `data` with features renumbered 0.. in rising order; `columns` gives the old numbers. */
function takeRows(data, rows) {
  const local = new Int32Array(data.features).fill(-1);
  let nnz = 0;
  for (const r of rows)
    for (let i = data.indptr[r]; i < data.indptr[r + 1]; i++, nnz++) local[data.indices[i]] = 0;
  const columns = [];
  for (let f = 0; f < data.features; f++) if (local[f] === 0) local[f] = columns.push(f) - 1;
  const part = {
    indptr: new Uint32Array(rows.length + 1),
    indices: new Uint32Array(nnz),
    values: new Float32Array(nnz),
  };
  let at = 0;
  for (let s = 0; s < rows.length; s++) {
    for (let i = data.indptr[rows[s]]; i < data.indptr[rows[s] + 1]; i++, at++) {
      part.indices[at] = local[data.indices[i]];
      part.values[at] = data.values[i];
    }
    part.indptr[s + 1] = at;
  }
  return { ...part, rows: rows.length, columns: Uint32Array.from(columns) };
}

/**
 * L2-regularised L2-loss SVM by dual coordinate descent with shrinking (Hsieh et al. 2008, algorithm 3):
 *   min over a >= 0 of  1/2 a'(Q + D)a - sum a,   Q_ij = y_i y_j x_i'x_j,  D_ii = 1/(2C),  w = sum y_i a_i x_i
 * A step on a_i:  G = y_i w'x_i - 1 + D a_i,  a_i <- max(0, a_i - G / (x_i'x_i + D)).
 * x ends with the bias feature 1, whose weight is w[last].  All positions are shuffled on every pass,
 * also when rows are shrunk away, so that which rows rest changes from pass to pass.
 */
function trainSvm(x, positive, norms, w, alpha, order, random) {
  const { rows, indptr, indices, values } = x;
  const bias = x.columns.length;
  const D = 0.5 / COST;
  w.fill(0, 0, bias + 1);
  alpha.fill(0, 0, rows);
  let active = rows;
  let highestBefore = Infinity;
  for (let pass = 0; pass < SVM_PASSES; pass++) {
    let highest = -Infinity;
    let lowest = Infinity;
    random.shuffle(order);
    for (let s = 0; s < active; ) {
      const r = order[s];
      const y = positive[r] ? 1 : -1;
      const start = indptr[r];
      const end = indptr[r + 1];
      let z = w[bias];
      for (let i = start; i < end; i++) z += w[indices[i]] * values[i];
      const a = alpha[r];
      const gradient = y * z - 1 + D * a;
      if (a === 0 && gradient > highestBefore) {
        active--;
        order[s] = order[active];
        order[active] = r;
        continue;
      }
      const projected = a === 0 ? Math.min(gradient, 0) : gradient;
      if (projected > highest) highest = projected;
      if (projected < lowest) lowest = projected;
      if (Math.abs(projected) > 1e-12) {
        const next = Math.max(0, a - gradient / norms[r]);
        const step = (next - a) * y;
        alpha[r] = next;
        for (let i = start; i < end; i++) w[indices[i]] += step * values[i];
        w[bias] += step;
      }
      s++;
    }
    if (highest - lowest <= SVM_EPS) {
      if (active === rows) break;
      active = rows;
      highestBefore = Infinity;
    } else highestBefore = highest > 0 ? highest : Infinity;
  }
}

/** One-vs-rest classifiers of a node's children; weights stored feature by feature: {columns, start, child, weight}. */
function trainNode(data, rows, rowsOfChild, random) {
  const x = takeRows(data, rows);
  const bias = x.columns.length;
  const norms = new Float64Array(x.rows).fill(1 + 0.5 / COST);
  for (let r = 0; r < x.rows; r++)
    for (let i = x.indptr[r]; i < x.indptr[r + 1]; i++) norms[r] += x.values[i] * x.values[i];
  const w = new Float64Array(bias + 1);
  const alpha = new Float64Array(x.rows);
  const order = Uint32Array.from({ length: x.rows }, (_, r) => r);
  const positive = new Uint8Array(x.rows);
  const start = new Uint32Array(bias + 2);
  const kept = rowsOfChild.map((members) => {
    positive.fill(0);
    for (const s of members) positive[s] = 1;
    trainSvm(x, positive, norms, w, alpha, order, random);
    const at = [];
    for (let f = 0; f <= bias; f++) if (Math.abs(w[f]) > LEAST_WEIGHT) at.push(f);
    for (const f of at) start[f + 1]++;
    return { at: Uint32Array.from(at), w: Float32Array.from(at, (f) => w[f]) };
  });
  for (let f = 0; f <= bias; f++) start[f + 1] += start[f];
  const next = start.slice();
  const child = new Uint32Array(start[bias + 1]);
  const weight = new Float32Array(start[bias + 1]);
  for (const [c, { at, w: values }] of kept.entries())
    for (const [i, f] of at.entries()) {
      child[next[f]] = c;
      weight[next[f]++] = values[i];
    }
  return { columns: x.columns, start, child, weight, size: kept.length };
}

/** Positions in `rows` of the rows that have any label of each group. */
function rowsWith(data, rows, groups) {
  const groupOf = new Int32Array(data.labels).fill(-1);
  for (const [g, labels] of groups.entries()) for (const label of labels) groupOf[label] = g;
  const found = groups.map(() => []);
  rows.forEach((r, s) => {
    for (let j = data.labelIndptr[r]; j < data.labelIndptr[r + 1]; j++) {
      const g = groupOf[data.labelIds[j]];
      if (g >= 0 && found[g].at(-1) !== s) found[g].push(s);
    }
  });
  return found;
}

function growTree(data, vectors, labels, rows, depth, random) {
  const branch = depth < DEPTH && labels.length >= LEAST_BRANCH;
  const groups = branch ? cluster(labels, vectors, data.features, random) : [];
  if (groups.length < 2) {
    const scores = trainNode(
      data,
      rows,
      rowsWith(
        data,
        rows,
        labels.map((label) => [label]),
      ),
      random,
    );
    return { scores, labels };
  }
  const members = rowsWith(data, rows, groups);
  const scores = trainNode(data, rows, members, random);
  const children = groups.map((group, g) =>
    growTree(
      data,
      vectors,
      group,
      members[g].map((s) => rows[s]),
      depth + 1,
      random,
    ),
  );
  return { scores, children };
}

/** log p of a node's children for one row: -max(0, 1 - w'x)^2, on top of the node's own. */
function childScores({ columns, start, child, weight, size }, indices, values, above) {
  const z = new Float64Array(size);
  for (let at = start[columns.length]; at < start[columns.length + 1]; at++) z[child[at]] += weight[at];
  let from = 0;
  for (let i = 0; i < indices.length; i++) {
    let to = columns.length; // both lists rise: binary search in the rest
    while (from < to) {
      const middle = (from + to) >> 1;
      if (columns[middle] < indices[i]) from = middle + 1;
      else to = middle;
    }
    if (columns[from] !== indices[i]) continue;
    for (let at = start[from]; at < start[from + 1]; at++) z[child[at]] += weight[at] * values[i];
  }
  return z.map((score) => above - Math.max(0, 1 - score) ** 2);
}

const best = (list) => list.sort((a, b) => b[1] - a[1]).slice(0, BEAM);

/** Beam search in every tree, then p = exp(score) averaged over trees; a tree that misses a label counts as 0. */
function predict(trees, indices, values) {
  const totals = new Map();
  for (const root of trees) {
    let beam = [[root, 0]];
    while (beam.some(([node]) => node.children))
      beam = best(
        beam.flatMap(([node, score]) => {
          if (!node.children) return [[node, score]];
          const scores = childScores(node.scores, indices, values, score);
          return node.children.map((child, c) => [child, scores[c]]);
        }),
      );
    for (const [leaf, score] of beam) {
      const scores = childScores(leaf.scores, indices, values, score);
      // The best 10 labels of each leaf, not of all leaves together.
      for (const [label, s] of best(leaf.labels.map((label, c) => [label, scores[c]])))
        totals.set(label, (totals.get(label) ?? 0) + Math.exp(s) / trees.length);
    }
  }
  return [...totals].sort((a, b) => b[1] - a[1]).map(([label]) => label);
}

const weights = (node) =>
  node.scores.weight.length + (node.children ?? []).reduce((sum, child) => sum + weights(child), 0);

/** Precision at 1, 3, 5 in per cent. */
function evaluate(trees, rows) {
  const depths = [1, 3, 5];
  const hits = [0, 0, 0];
  for (let r = 0; r < rows.rows; r++) {
    const truth = new Set(rows.labelIds.subarray(rows.labelIndptr[r], rows.labelIndptr[r + 1]));
    const [from, to] = [rows.indptr[r], rows.indptr[r + 1]];
    const top = predict(trees, rows.indices.subarray(from, to), rows.values.subarray(from, to));
    for (const [d, k] of depths.entries())
      hits[d] += top.slice(0, k).filter((label) => truth.has(label)).length / k;
  }
  return hits.map((sum) => ((100 * sum) / rows.rows).toFixed(2)).join(' / ');
}

const [name = 'wordnet-related', seed = '1'] = process.argv.slice(2);
const path = `data/${name}`;
if (!existsSync(path)) await data.buildDataset(name, path);
const directory = await data.DatasetDirectory.open(path);
const fit = unitRows(await directory.load('trainAll'));
const test = unitRows(await directory.load('test'));
const started = performance.now();
const random = new Random(Number(seed));
const { ids, vectors } = labelVectors(fit);
const all = Array.from({ length: fit.rows }, (_, r) => r);
const trees = [];
for (let t = 0; t < TREES; t++) {
  trees.push(growTree(fit, vectors, ids, all, 1, random));
  console.error(`tree ${t + 1}: ${((performance.now() - started) / 1000).toFixed(0)} s`);
}
const count = trees.reduce((sum, tree) => sum + weights(tree), 0);
console.log(
  `${name}, seed ${seed}: test P@1/3/5 ${evaluate(trees, test)}; ${count} weights, ${((count * 8) / 1e6).toFixed(1)} MB at 8 bytes each`,
);
