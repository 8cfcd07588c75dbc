/**
 * How fast is the reader of XC text? Compared with reading the bytes alone and with the obvious program, which
 * splits strings. The three take turns; medians are printed.
 *
 *   npm run build:ts && node bench/xc-parse.mjs [megabytes=64] [rounds=5]
 */
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { readXc } from '../dist/data/xc.js';
import { writeFileAtomic } from '../dist/files.js';

const megabytes = Number(process.argv[2] ?? 64);
const rounds = Number(process.argv[3] ?? 5);

/** Rows like those of the large public data sets: some 75 tf-idf features, 5 labels. */
function* text(bytes) {
  const [features, labels] = [135_909, 670_091];
  let word = 1;
  const random = () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0;
    return word / 2 ** 32;
  };
  const rows = [];
  for (let size = 0; size < bytes; ) {
    const ids = Array.from({ length: 5 }, (_, i) => Math.floor(((i + random()) * labels) / 5));
    const count = 50 + Math.floor(50 * random());
    const cells = Array.from({ length: count }, (_, i) => {
      const feature = Math.floor(((i + random()) * features) / count);
      return `${feature}:${random().toFixed(6)}`;
    });
    const row = `${ids.join(',')} ${cells.join(' ')}\n`;
    rows.push(row);
    size += row.length;
  }
  yield `${rows.length} ${features} ${labels}\n`;
  yield* rows;
}

async function bySplitting(path) {
  const lines = (await readFile(path, 'latin1')).split('\n');
  const [indices, values, ids] = [[], [], []];
  for (const line of lines.slice(1)) {
    const [labels, ...cells] = line.split(' ');
    for (const label of labels.split(',')) ids.push(Number(label));
    for (const cell of cells) {
      const [feature, value] = cell.split(':');
      indices.push(Number(feature));
      values.push(Number(value));
    }
  }
  return [Uint32Array.from(indices), Float32Array.from(values), Uint32Array.from(ids)];
}

async function bytesAlone(path) {
  const handle = await open(path, 'r');
  const buffer = Buffer.alloc(1 << 18);
  let sum = 0;
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length);
    if (bytesRead === 0) break;
    for (let i = 0; i < bytesRead; i++) sum += buffer[i];
  }
  await handle.close();
  return sum;
}

const directory = await mkdtemp(join(tmpdir(), 'espalier-bench-'));
try {
  const plain = join(directory, 'x.txt');
  const packed = join(directory, 'x.txt.gz');
  await writeFileAtomic(plain, text(megabytes * 1e6));
  const content = await readFile(plain);
  await writeFileAtomic(packed, gzipSync(content, { level: 1 }));
  const ways = {
    'readXc, plain': () => readXc(plain),
    'readXc, gzip': () => readXc(packed),
    'split strings, unchecked': () => bySplitting(plain),
    'sum of all bytes': () => bytesAlone(plain),
  };
  const seconds = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const [name, way] of Object.entries(ways)) {
      const start = performance.now();
      await way();
      seconds[name].push((performance.now() - start) / 1000);
    }
  }
  console.log(`${(content.length / 1e6).toFixed(0)} MB, median of ${rounds} rounds, one thread`);
  for (const [name, times] of Object.entries(seconds)) {
    const median = times.sort((a, b) => a - b)[rounds >> 1];
    console.log(`${name.padEnd(26)} ${(content.length / 1e6 / median).toFixed(0).padStart(5)} MB/s`);
  }
} finally {
  await rm(directory, { recursive: true });
}
