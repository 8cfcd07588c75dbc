/**
 * Backward that remembers less: ResMLP, an MLP and a small ResNet on images, with the activations that backward needs
 * kept dense, block-sparse, pooled, or computed again. Equal epochs and one recipe per network; the test split is
 * scored once at the end. Memory is of the accounts; `largest batch` is the largest whose planned step, images not
 * counted, fits the budget.
 */
import { halfInterval } from './lib/networks.mjs';
import { lineChart } from './lib/plot.mjs';
import { mean, spread } from './lib/spread.mjs';

const seeds = [1, 2, 3];
const bsr = (keep, block = 16) => ({ kind: 'bsr', block, keep });

const dense = { inputs: { kind: 'dense' }, masks: false };
const inputs = (keep, block) => ({ inputs: bsr(keep, block) });
const again = { op: 'linear', form: { kind: 'recompute' } };
/** The scales that end the branches of a ResMLP layer: outputs of linear layers, which nothing but d numbers is learnt from. */
const scales = (keep) =>
  [2, 4].map((i) => ({ layer: `blocks.*.layers.${i}`, op: 'affine', form: bsr(keep) }));
const exactScales = { op: 'affine', form: { kind: 'dense' } };
const rounded = { kind: 'bf16' };
const ofGelu = (form) => ({ op: 'gelu', form });
const remembered = { inputs: rounded, masks: false, rules: [again, ofGelu(rounded)] };

/** Settings by name; those that are not the main question, or lose points by the handful, have one seed. */
const resmlp = {
  dense: { saved: dense, seeds },
  'keep 1.0': { saved: inputs(1), seeds: [1] },
  'keep 0.7': { saved: inputs(0.7), seeds },
  'keep 0.5': { saved: inputs(0.5), seeds },
  'keep 0.3': { saved: inputs(0.3), seeds },
  'keep 0.1': { saved: inputs(0.1), seeds: [1] },
  'keep 0.3 but for scales': { saved: { ...inputs(0.3), rules: [exactScales] }, seeds },
  'keep 0.3, 8 x 8': { saved: inputs(0.3, 8), seeds },
  'keep 0.3, 32 x 32': { saved: inputs(0.3, 32), seeds },
  'keep 0.1, 8 x 8': { saved: inputs(0.1, 8), seeds: [1] },
  'keep 0.1, 32 x 32': { saved: inputs(0.1, 32), seeds: [1] },
  recompute: { saved: { ...dense, rules: [again] }, seeds },
  'recompute, scales 0.1': { saved: { ...dense, rules: [again, ...scales(0.1)] }, seeds },
  'recompute + bf16': { saved: remembered, seeds },
  'keep 0.3 + recompute': { saved: { ...inputs(0.3), rules: [again] }, seeds },
  'keep 0.3 + GELU pruned + recompute': {
    saved: { ...inputs(0.3), rules: [again, ofGelu(bsr(0.3))] },
    seeds: [1],
  },
  'products in bf16': { saved: dense, products: 'bf16', seeds: [1] },
  'recompute + bf16, products too': { saved: remembered, products: 'bf16', seeds: [1] },
  'pooled 4': { saved: { inputs: { kind: 'pooled', size: 4 } }, seeds: [1] },
};
const others = {
  dense: { saved: dense, seeds },
  masks: { saved: { inputs: { kind: 'dense' } }, seeds: [1] },
  'keep 0.5': { saved: inputs(0.5), seeds },
  'keep 0.3': { saved: inputs(0.3), seeds },
  'keep 0.1': { saved: inputs(0.1), seeds: [1] },
};

const networks = {
  resmlp: {
    model: { kind: 'resmlp', patch: 4, dim: 64, depth: 6, layerScale: 0.1 },
    batch: 128,
    epochs: { 'fashion-mnist': 4, mnist: 2 },
    optimizer: { kind: 'adamw', rate: 5e-3, weightDecay: 0.02 },
    settings: resmlp,
  },
  mlp: {
    model: { kind: 'mlp', hidden: [512, 512, 512] },
    batch: 256,
    epochs: { 'fashion-mnist': 10, mnist: 5 },
    optimizer: { kind: 'adam', rate: 1e-3 },
    settings: others,
  },
  resnet: {
    model: { kind: 'resnet', width: 16, blocks: 1 },
    batch: 128,
    epochs: { 'fashion-mnist': 2 },
    optimizer: { kind: 'sgd', rate: 0.05, momentum: 0.9, weightDecay: 5e-4 },
    settings: others,
  },
};

/** Fashion-MNIST is asked everything, MNIST what matters most; first seeds come first. */
const wanted = (dataset, setting) =>
  dataset === 'fashion-mnist' || ['dense', 'keep 0.5', 'recompute + bf16'].includes(setting);
/** Settings whose memory over a step is drawn beside dense. */
const pictured = { resmlp: 'recompute + bf16', mlp: 'keep 0.3', resnet: 'keep 0.3' };
const draws = (network, dataset, setting, seed) =>
  seed === 1 && dataset === 'fashion-mnist' && pictured[network] === setting;
const cells = Object.entries(networks)
  .flatMap(([network, { settings, ...recipe }]) =>
    Object.entries(recipe.epochs).flatMap(([dataset, epochs]) =>
      Object.entries(settings)
        .filter(([setting]) => wanted(dataset, setting))
        .flatMap(([setting, how]) =>
          how.seeds.map((seed) => ({
            name: `${network} ${dataset} ${setting} seed ${seed}`.replaceAll(/[ =+,]+/g, '-'),
            network,
            module: './activations-cell.mjs',
            images: dataset,
            setting,
            ...(draws(network, dataset, setting, seed) ? { picture: true } : {}),
            config: {
              ...recipe,
              epochs,
              seed,
              saved: { ...how.saved, sampleEvery: setting === 'dense' ? 0 : 50 },
              ...(how.products === undefined ? {} : { products: how.products }),
            },
          })),
        ),
    ),
  )
  .sort((a, b) => a.config.seed - b.config.seed);
const timeCells = Object.entries(networks).map(([network, { settings, ...recipe }]) => ({
  name: `${network} times`.replaceAll(' ', '-'),
  network,
  module: './activations-times.mjs',
  images: 'fashion-mnist',
  settings: Object.fromEntries(
    Object.entries(settings).map(([name, { saved, products }]) => [name, { saved, products }]),
  ),
  config: { ...recipe, epochs: 1 },
}));

const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);

/** Points of accuracy that runs gain over those of `rivals` with the same seed, which draws the same weights and batches. */
const gainsOver = (rivals, own) =>
  own.flatMap(({ cell, result }) => {
    const rival = rivals.find((other) => other.cell.config.seed === cell.config.seed);
    return rival === undefined ? [] : [100 * (result.accuracy - rival.result.accuracy)];
  });

/** The claims, and whether they held on the ResMLP: a third less memory by pruning alone, half by all means together. */
function verdicts(results) {
  const here = results.filter(({ cell }) => cell.network === 'resmlp' && cell.images === 'fashion-mnist');
  const of = (setting) => here.filter(({ cell }) => cell.setting === setting);
  const base = of('dense');
  const judged = (setting) => {
    const own = of(setting);
    const gains = gainsOver(base, own);
    if (gains.length === 0) return null;
    return { lost: -mean(gains), saved: 100 * (1 - own[0].result.peakBytes / base[0].result.peakBytes) };
  };
  const lines = [];
  const say = (claim, setting, most, least) => {
    const found = judged(setting);
    if (found === null) return;
    const held = found.lost <= most && found.saved >= least;
    lines.push(
      `- ${claim}: **${held ? 'held' : 'did not hold'}** (${setting}: ${found.saved.toFixed(0)} % less, ${found.lost.toFixed(2)} points lost).`,
    );
  };
  say(
    'Pruning alone saves about a third of the memory at equal accuracy (arXiv 2311.16883)',
    'keep 0.5',
    0.2,
    30,
  );
  say('Pruning alone costs nothing at a smaller saving', 'keep 0.7', 0.2, 15);
  say(
    'Computing again and rounding save half of the memory at 0.2 points or less',
    'recompute + bf16',
    0.2,
    50,
  );
  return lines.length === 0
    ? []
    : ['On Fashion-MNIST, after these few epochs, for the ResMLP:', '', ...lines, ''];
}

function table(all) {
  const results = all.filter(({ cell }) => cell.setting !== undefined);
  const timesOf = (network) =>
    all.find(({ cell }) => cell.network === network && cell.settings)?.result.times;
  const lines = [
    '# Backward that remembers less',
    '',
    'Made by `npm run experiment -- activations`. Mean ± half the range over seeds; equal epochs and one recipe for all',
    'rows of a network; test split, scored once per run; `against dense` is the mean of the differences of equal seeds with',
    'its 95 % interval. `kept` is what backward keeps, `peak` all accounted memory but',
    'the images, both at the worst moment of a step; `largest batch` is the largest that fits into the peak which dense',
    'training takes with its batch, by plan.',
    'Time is of steps in turns with dense ones in one process, the median of the ratios ± half their quartiles. The cosine is',
    'between weight gradients from pruned and from dense inputs, the lowest layer of the run and the mean of all. Rows with',
    '`products` multiply operands in bfloat16 in all linear layers, forward and back: the fair rival in time of `bf16`, whose',
    'weight gradients alone do.',
    '',
    ...verdicts(results),
  ];
  for (const network of Object.keys(networks)) {
    for (const [dataset, epochs] of Object.entries(networks[network].epochs)) {
      const here = results.filter(({ cell }) => cell.network === network && cell.images === dataset);
      if (here.length === 0) continue;
      const { batch } = networks[network];
      const dense = here.filter(({ cell }) => cell.setting === 'dense');
      const base = dense.map(({ result }) => result);
      lines.push(
        `## ${network}, ${dataset}, batch ${batch}, ${epochs} epochs`,
        '',
        '| kept for backward | seeds | accuracy % | against dense | kept MiB | peak MiB | of dense | resident MiB | time of dense | largest batch | cosine lowest / mean |',
        '|---|---|---|---|---|---|---|---|---|---|---|',
      );
      for (const setting of Object.keys(networks[network].settings)) {
        const own = here.filter(({ cell }) => cell.setting === setting);
        const rows = own.map(({ result }) => result);
        if (rows.length === 0) continue;
        const gains = gainsOver(dense, own);
        const interval = gains.length > 1 ? ` ±${halfInterval(gains).toFixed(2)}` : '';
        const gain = setting === 'dense' || gains.length === 0 ? '' : `${mean(gains).toFixed(2)}${interval}`;
        const peak = mean(rows.map((row) => row.peakBytes));
        const share =
          base.length === 0 ? '' : `${((100 * peak) / mean(base.map((row) => row.peakBytes))).toFixed(0)} %`;
        const taken = timesOf(network)?.[setting];
        const time = taken === undefined ? '' : `${taken.ratio.toFixed(2)} ±${taken.spread.toFixed(2)}`;
        const cosines = rows.flatMap((row) => Object.values(row.cosines));
        const cosine =
          cosines.length === 0 ? '' : `${Math.min(...cosines).toFixed(2)} / ${mean(cosines).toFixed(2)}`;
        lines.push(
          `| ${setting} | ${rows.length} | ${spread(rows.map((row) => 100 * row.accuracy))} | ${gain} | ${mib(mean(rows.map((row) => row.keptBytes)))} | ${mib(peak)} | ${share} | ${mib(mean(rows.map((row) => row.residentBytes)))} | ${time} | ${rows[0].largestBatch} | ${cosine} |`,
        );
      }
      lines.push('');
    }
  }
  return lines.join('\n');
}

/** Live bytes over a step, dense beside pruned, and accuracy against memory. */
function plots(all) {
  const results = all.filter(({ cell }) => cell.setting !== undefined);
  const files = {};
  for (const { cell, result } of results) {
    if (cell.picture) files[`activations-${cell.network}-memory.svg`] = result.memorySvg;
  }
  const points = results
    .filter(({ cell }) => cell.network === 'resmlp' && cell.images === 'fashion-mnist')
    .map(({ cell, result }) => ({
      name: cell.setting,
      at: [result.peakBytes / 2 ** 20, 100 * result.accuracy],
    }));
  const names = [...new Set(points.map(({ name }) => name))];
  if (names.length > 1) {
    files['activations-resmlp.svg'] = lineChart({
      title: 'ResMLP on Fashion-MNIST',
      x: 'peak MiB without the images',
      y: 'accuracy %',
      lines: names.map((name) => ({
        name,
        loose: true,
        points: points.filter((point) => point.name === name).map(({ at }) => at),
      })),
    });
  }
  return files;
}

export const activations = { cells: [...timeCells, ...cells], table, plots };
