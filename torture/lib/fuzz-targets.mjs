/**
 * Readers under fuzz: for each some valid inputs, words that its format knows, and how a case is read. The modules come
 * in from outside, so that the same targets run on compiled code here and on sources in the tests.
 */
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { encode } from 'fast-png';
import { zipSync } from 'fflate';
import { parquetWriteBuffer } from 'hyparquet-writer';

/** @typedef {{ data: any, readers: any, scipy: any, store: any, config: any, io: any, kernels: any, model: any, png: any, calibration: any, frequencies: any, remembered: any, zip: any }} Modules */
/** @typedef {{ corpus: Uint8Array[], words: string[], read: (bytes: Uint8Array, place: string) => Promise<void>, repair?: (bytes: Uint8Array) => Uint8Array,
 *   json?: (bytes: Buffer) => { part: [number, number], whole: (json: string) => Buffer } }} Target */

const text = (/** @type {string} */ s) => new Uint8Array(Buffer.from(s, 'utf8'));
const json = (/** @type {unknown} */ value) => text(JSON.stringify(value));
const string = (/** @type {Uint8Array} */ bytes) => Buffer.from(bytes).toString('utf8');
const jsonWords = [
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  '""',
  'null',
  'true',
  '-0',
  '1e999',
  '1e-999',
  '9007199254740993',
  '-1',
  '"__proto__":{"polluted":1}',
  '"constructor":{"prototype":{"polluted":1}}',
  '"\\ud800"',
  '"nonFinite":{"/__proto__/x":"NaN"}',
  '"../../outside"',
  '"/tmp/outside"',
  '\u2028',
  '4294967296',
  '1.5',
  '"\\u0000"',
];
const smallest = 2 ** 20;
const compressors = {
  GZIP: (/** @type {Uint8Array} */ input) => gzipSync(input),
  BROTLI: (/** @type {Uint8Array} */ input) => brotliCompressSync(input),
};

/** A float32 vector, or another kind, as .npy. */
function npy(descr, data, shape = `(${data.length},)`) {
  const head = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }`;
  const header = Buffer.from(`${head.padEnd(117)}\n`, 'latin1');
  const size = Buffer.alloc(2);
  size.writeUInt16LE(header.length);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), size, header, bytes]);
}

const npzParts = () => ({
  'format.npy': npy('|S3', text('csr'), '()'),
  'shape.npy': npy('<i8', BigInt64Array.of(3n, 5n)),
  'indptr.npy': npy('<i4', Int32Array.of(0, 2, 2, 4)),
  'indices.npy': npy('<i4', Int32Array.of(0, 3, 1, 4)),
  'data.npy': npy('<f4', Float32Array.of(1, 2, 3, 4)),
});

/** Lists, truths, nulls, dictionaries and both kinds of pages, as other libraries write them. */
async function parquetOfOthers() {
  const folder = new URL('../../fixtures/parquet/', import.meta.url);
  const names = (await readdir(folder)).filter((name) => name.endsWith('.parquet')).sort();
  return Promise.all(names.map(async (name) => new Uint8Array(await readFile(new URL(name, folder)))));
}

/** A Parquet file that begins and ends as one, with the length of what seems to be its footer: a version, then a list. */
function withFooter(/** @type {Uint8Array} */ bytes) {
  const out = Buffer.from(bytes);
  if (out.length < 12) return out;
  let at = out.length - 8;
  // FileMetaData: 15 is a whole number in field 1, 19 a list in the next, of as many structures as the schema has elements.
  const isSchema = (/** @type {number} */ list) => (list & 15) === 12 && list >> 4 >= 4;
  while (at > 4 && !(out[at] === 0x15 && out[at + 2] === 0x19 && isSchema(out[at + 3]))) at--;
  out.write('PAR1', 0);
  out.writeUInt32LE(out.length - 8 - at, out.length - 8);
  out.write('PAR1', out.length - 4);
  return out;
}

/** A PNG file whose chunks have the checksums of what is in them, as far as they can be told apart. */
const withChecksums =
  (/** @type {(bytes: Uint8Array) => number} */ crc32) => (/** @type {Uint8Array} */ bytes) => {
    const out = Buffer.from(bytes);
    for (let at = 8; at + 12 <= out.length; ) {
      const end = at + 8 + out.readUInt32BE(at);
      if (end + 4 > out.length) break;
      out.writeUInt32BE(crc32(out.subarray(at + 4, end)), end);
      at = end + 4;
    }
    return out;
  };

/** A member of an archive damaged inside, with sizes and checksums that fit. @param {Uint8Array} bytes */
function rezip(bytes) {
  const parts = npzParts();
  const names = Object.keys(parts);
  const name = names[bytes.length % names.length];
  const own = Buffer.from(parts[name]);
  for (let i = 0; i < 3 && bytes.length > 0; i++) {
    const at = (bytes[(7 * i) % bytes.length] + 256 * bytes[(11 * i + 1) % bytes.length]) % own.length;
    own[at] = bytes[(13 * i + 2) % bytes.length];
  }
  return zipSync({ ...parts, [name]: own }, { level: bytes.length % 2 === 0 ? 0 : 6 });
}

/** A dataset file whose checksum fits its content. @param {Uint8Array} bytes @param {number} signed */
function signed(bytes, signed) {
  if (bytes.length < signed + 32) return bytes;
  const copy = Buffer.from(bytes);
  const hash = createHash('sha256').update(copy.subarray(0, signed)).update(copy.subarray(96));
  hash.digest().copy(copy, signed);
  return copy;
}

/** All rows of a source of records, with `more` columns, which it may not have. */
async function readAll(source, more = ['a.b', '__proto__', 'constructor']) {
  const columns = await source.columns();
  for await (const { rows } of source.batches([...columns, ...more])) void rows.length;
}

/**
 * @param {Modules} modules @param {string} home a directory for valid files
 * @returns {Promise<Record<string, Target>>}
 */
export async function fuzzTargets(modules, home) {
  const { data, readers, scipy, store, config, io, kernels, model } = modules;
  await mkdir(home, { recursive: true });
  const planted = data.plantedDataset({ rows: 12, features: 20, labels: 8, seed: 1 });
  const inFile = (name, read) => async (bytes, place) => {
    const path = join(place, name);
    await writeFile(path, bytes);
    await read(path);
  };
  const binary = join(home, 'train.bin');
  await data.writeDatasetFile(binary, planted);
  const xc = text([...data.xcLines(planted)].join(''));
  const tensors = join(home, 'x.safetensors');
  await store.writeSafetensors(tensors, [
    { name: 'a', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
    { name: 'b', shape: [0], data: new Uint32Array(0) },
    { name: 'c', shape: [4], data: Uint16Array.of(1, 2, 3, 4) },
  ]);
  const featurizer = data.Featurizer.fit(
    [
      { t: 'red apple', n: 1, c: 'x' },
      { t: 'red car', n: 2, c: 'y' },
    ],
    { text: ['t'], numeric: ['n'], categorical: ['c'], vocabulary: { minDocuments: 1 } },
  );
  const hashed = data.Featurizer.fit([{ t: 'red apple' }], {
    text: ['t'],
    vocabulary: { kind: 'hashed', bits: 8 },
  });
  const directory = join(home, 'dataset');
  const names = { labelNames: Array.from({ length: 8 }, (_, l) => `label ${l}`) };
  await data.writeDatasetDirectory(directory, {
    ...{ name: 'tiny', origin: 'made', licence: 'none' },
    train: new data.CsrDataset({ ...planted, ...names }),
  });
  const backend = kernels.selectKernels({ backend: 'reference' });
  const spec = model.modelSpec.parse({ encoder: { embedding: 4 }, output: { kind: 'dense' } });
  const classifier = new model.Classifier(new model.Device(backend), { features: 20, labels: 8 }, spec, {
    ...{ seed: 1, outputOptimizer: { kind: 'sgd', rate: 1 } },
  });
  const saved = await io.saveClassifier(join(home, 'run'), classifier, {
    ...{ training: null, metrics: null, version: '0.0.0', labelNames: names.labelNames, featurizer: null },
  });
  const modelFiles = await Promise.all(
    ['espalier.json', 'model.safetensors', 'labels.jsonl'].map(async (file) => [
      file,
      await readFile(join(saved.directory, file)),
    ]),
  );
  const datasetFiles = await Promise.all(
    ['dataset.json', 'train.bin', 'labels.jsonl'].map(async (file) => [
      file,
      await readFile(join(directory, file)),
    ]),
  );
  /** The case is the first file of a directory; the others are sound. */
  const inDirectory = (name, files, read) => async (bytes, place) => {
    const path = join(place, name);
    await mkdir(path, { recursive: true });
    for (const [file, content] of files.slice(1)) await writeFile(join(path, file), content);
    await writeFile(join(path, files[0][0]), bytes);
    await read(path);
  };
  const columns = ['t', 'n', 'l'].map((name, c) => ({
    name,
    data: Array.from({ length: 20 }, (_, i) => (c === 1 ? i / 3 : `${name}${i % 7}`)),
    type: c === 1 ? 'DOUBLE' : 'STRING',
  }));
  const lines = ['{"t":"red","l":["a","b"],"n":1}', '{"t":"blue","o":{"p":{"q":1}}}', '']
    .map((line) => `${line}\n`)
    .join('');
  const logText = [
    { t: 1, event: 'start', step: 0 },
    { t: 2, event: 'progress', step: 10, loss: null, nonFinite: { '/loss': 'NaN' } },
  ]
    .map((record) => `${JSON.stringify(record)}\n`)
    .join('');
  const csvText = 't,l,n\n"red, or ""blue""",a|b,1\nblue,,"2\n3"\r\n';

  /** @type {Record<string, Target>} */
  const targets = {
    xc: {
      corpus: [
        xc,
        new Uint8Array(gzipSync(xc)),
        text('2 3 4\n0,1 0:1 2:0.5\n 1:1e-3\n'),
        text('1 5 5\n1 1:1.0000000000000000001\n'),
      ],
      words: [
        ' ',
        ',',
        ':',
        '\n',
        '\r\n',
        '-1',
        '1e400',
        'nan',
        '4294967295',
        '99999999999999999999',
        '0x10',
        '\t',
        '1:1',
        '.',
        '-.',
      ],
      read: inFile('x.txt', (path) => data.readXc(path, { maxLineBytes: smallest })),
    },
    jsonl: {
      corpus: [text(lines), new Uint8Array(gzipSync(lines)), text('\ufeff{"a.b":1,"a":{"b":2}}\n')],
      words: jsonWords,
      read: inFile('x.jsonl', (path) => readAll(readers.openSource(path, 'jsonl', new readers.Notices(2)))),
    },
    csv: {
      corpus: [
        text(csvText),
        new Uint8Array(gzipSync(csvText)),
        text('a;b\n1;2\n'),
        text('__proto__,constructor\n1,2\n'),
      ],
      words: ['"', '""', ',', ';', '\t', '|', '\n', '\r', '\r\n', '\0', '\ufeff', '"\n"', '__proto__', 'a,a'],
      read: inFile('x.csv', (path) => readAll(readers.openSource(path, 'csv', new readers.Notices(2)))),
    },
    parquet: {
      corpus: [
        .../** @type {const} */ (['UNCOMPRESSED', 'SNAPPY', 'GZIP', 'BROTLI']).map(
          (codec) => new Uint8Array(parquetWriteBuffer({ columnData: columns, codec, compressors })),
        ),
        ...(await parquetOfOthers()),
      ],
      repair: withFooter,
      words: ['PAR1', '\x15\x02', '\x19\x5c', '\xff\xff\xff\xff', '\x00\x00\x00\x00', '__proto__'],
      read: inFile('x.parquet', (path) =>
        // A column that is not there is refused before anything is decoded.
        readAll(readers.openSource(path, 'parquet', new readers.Notices(2)), []),
      ),
    },
    npz: {
      corpus: [zipSync(npzParts(), { level: 0 }), zipSync(npzParts(), { level: 6 })],
      words: [
        'PK\x05\x06',
        'PK\x01\x02',
        'PK\x03\x04',
        'PK\x06\x06',
        '\xff\xff\xff\xff',
        '\x93NUMPY',
        "'shape': (99999999999,)",
        '<f8',
        '../x',
      ],
      repair: rezip,
      read: inFile('x.npz', (path) => scipy.readCsrNpz(path, { maxBytes: smallest })),
    },
    idx: {
      corpus: [
        Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3),
        Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 1, 2, 3, 4),
        new Uint8Array(gzipSync(Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 3, 1, 2, 3))),
      ],
      words: ['\xff\xff\xff\xff', '\x00\x00\x08\x08', '\x1f\x8b\x08', '\x80\x00\x00\x00'],
      read: inFile('x.idx', (path) => data.readIdx(path, { maxBytes: smallest })),
    },
    safetensors: {
      corpus: [await readFile(tensors)],
      json: (bytes) => {
        const end = 8 + Number(bytes.readBigUInt64LE(0));
        const whole = (header) => {
          const length = Buffer.alloc(8);
          length.writeBigUInt64LE(BigInt(Buffer.byteLength(header)));
          return Buffer.concat([length, Buffer.from(header), bytes.subarray(end)]);
        };
        return { part: [8, end], whole };
      },
      words: [
        ...jsonWords,
        '"__metadata__":{"a":"b"},',
        '"F64"',
        '"data_offsets":[0,24]',
        '"shape":[0,9007199254740991]',
        '\xff\xff\xff\xff\xff\xff\x00\x00',
      ],
      read: inFile('x.safetensors', async (path) => {
        const source = await store.openSafetensors(path);
        try {
          for (const name of source.tensors.keys()) await source.read(name);
        } finally {
          await source.close();
        }
      }),
    },
    shards: {
      corpus: [
        json({ metadata: { total_size: 32 }, weight_map: { a: 'x.safetensors', c: 'x.safetensors' } }),
      ],
      words: [
        ...jsonWords,
        '"../x.safetensors"',
        '"/etc/passwd"',
        '"x.safetensors\\u0000"',
        '"..\\\\x.safetensors"',
      ],
      read: async (bytes, place) => {
        await writeFile(join(place, 'x.safetensors'), await readFile(tensors));
        const path = join(place, 'x.safetensors.index.json');
        await writeFile(path, bytes);
        await (await store.openIndex(path)).close();
      },
    },
    config: {
      corpus: [
        json({
          data: 'd',
          out: 'o',
          model: { output: { fanIn: 8, topology: { kind: 'rigl' } } },
          optimizer: { rate: 1 },
        }),
        json({
          data: 'd',
          out: 'o',
          auxiliary: {},
          saved: { inputs: { kind: 'bsr', keep: 0.4 } },
          model: { loss: 'zLoss', output: { kind: 'factored' } },
        }),
        text('model.output.fanIn=64'),
        text('__proto__.polluted=1'),
        text('constructor.prototype.polluted=1'),
      ],
      words: [...jsonWords, '=', '.', 'model', 'output', '"kind":"sgd"', '"batch":1e309'],
      read: async (bytes) => {
        const input = string(bytes);
        try {
          const target = {};
          config.setPath(target, input);
          config.parseConfig({ ...target, data: 'd', out: 'o' });
        } catch (error) {
          if (error?.name !== 'EspalierError') throw error;
        }
        let value;
        try {
          value = JSON.parse(input);
        } catch {
          return;
        }
        config.parseConfig(value);
      },
    },
    'run-log': {
      corpus: [text(logText), text('{"t":1,"event":"a","step":1}\n{"t":1,"ev')],
      words: [...jsonWords, '\n', '"step":1', '"event":"x"', '\xff'],
      read: inFile('log.jsonl', async (path) => {
        const log = store.RunLog.open(path);
        log.write({ event: 'x', step: 1 });
        log.close();
        for await (const record of store.readRunLog(path)) void record.step;
      }),
    },
    'dataset-file': {
      corpus: [await readFile(binary)],
      words: [
        '\xff\xff\xff\xff\xff\xff\xff\xff',
        '\x00\x00\x00\x00\x00\x00\x00\x00',
        '\x01\x00\x00\x00',
        '\x00\x00\x80\x7f',
        '\xff\xff\xff\x7f',
      ],
      repair: (bytes) => signed(bytes, 64),
      read: inFile('train.bin', (path) => data.readDatasetFile(path, {})),
    },
    'dataset-directory': {
      corpus: [datasetFiles[0][1]],
      words: [...jsonWords, '"labels":8', '"../labels.jsonl"', '"files":{"../../x":"0"}'],
      read: inDirectory('dataset', datasetFiles, async (path) => {
        const opened = await data.DatasetDirectory.open(path);
        for (const split of opened.splits) await opened.load(split);
        await opened.featurizer();
        await opened.testRows();
      }),
    },
    featurizer: {
      corpus: [json(featurizer), json(hashed)],
      words: [
        ...jsonWords,
        '"bits":30',
        '"documents":0',
        '"df":[0]',
        '"terms":["a","a"]',
        '"deviation":0',
        '"kind":"hashed"',
      ],
      read: async (bytes) => {
        const parsed = data.Featurizer.parse(string(bytes));
        parsed.featurize([{ t: 'red blue', n: 3, c: 'x' }]);
      },
    },
    model: {
      corpus: [modelFiles[0][1]],
      words: [
        ...jsonWords,
        '"labels":9',
        '"files":{"../x":{"bytes":0,"sha256":"0"}}',
        '"features":4294967295',
        '"embedding":1e9',
        '"hidden":[1000000000]',
      ],
      read: inDirectory('m', modelFiles, async (path) => {
        await io.loadClassifier(path, backend);
      }),
    },
    labels: {
      corpus: [modelFiles[2][1]],
      words: [...jsonWords, '\n'],
      read: async (bytes, place) => {
        await inDirectory('m', [modelFiles[2], modelFiles[0], modelFiles[1]], async (path) => {
          const opened = await store.openModel(path);
          try {
            for await (const label of opened.labels()) void label;
          } finally {
            await opened.close();
          }
        })(bytes, place);
      },
    },
  };
  const one = { slope: 0.9, offset: -0.1 };
  targets.calibration = {
    corpus: [
      json({
        ...{
          format: 'espalier-calibration',
          version: 1,
          rows: 9,
          perRow: 4,
          right: 5,
          method: 'platt',
          all: one,
        },
        ...{ buckets: { head: null, torso: one, tail: null }, bucketOf: 'AAEBAgICAgI=', leastRight: 3 },
        ...{ labels: [{ label: 2, ...one }], order: 'probability', ece: { before: 0.2, after: 0.1 } },
        thresholds: [{ precision: 0.5, all: 0.3, head: 0.2, torso: null, tail: 1 }],
      }),
    ],
    words: jsonWords,
    read: async (bytes) => modules.calibration.parseCalibration(string(bytes), 8),
  };
  targets.frequencies = {
    corpus: [
      text(modules.frequencies.frequenciesText({ rows: 90, counts: Uint32Array.of(0, 1, 90, 7, 33) })),
    ],
    words: [...jsonWords, '=', '////', 'AAAA'],
    read: async (bytes) => modules.frequencies.parseFrequencies(string(bytes), 5),
  };
  const votes = { format: 'espalier-remembered-rows', nearest: 32, temperature: 0.05, weight: 8 };
  const byName = { column: 'title', weight: -12 };
  const byFeatures = { temperature: 0.3, weight: 10 };
  targets.votes = {
    corpus: [
      { version: 1 },
      { version: 2, names: byName },
      { version: 3, names: null, features: byFeatures },
      { version: 3, names: byName, features: byFeatures },
    ].map((more) => text(JSON.stringify({ ...votes, ...more }))),
    words: jsonWords,
    read: async (bytes) => modules.remembered.parseVotes(string(bytes)),
  };
  const png = new Uint8Array(encode({ width: 2, height: 2, data: Uint8Array.of(1, 2, 3, 4), channels: 1 }));
  const many = new Uint8Array(
    encode({
      width: 2,
      height: 2,
      data: Uint16Array.from({ length: 16 }, (_, i) => 999 * i),
      channels: 4,
      depth: 16,
    }),
  );
  targets.png = {
    corpus: [png, many],
    words: ['IHDR', 'IDAT', 'IEND', 'PLTE', 'tRNS', 'iCCP', 'acTL', '\xff\xff\xff\xff', '\x00\x00\x00\x00'],
    repair: withChecksums(modules.zip.crc32),
    read: async (bytes, place) => {
      for (const [kind, content] of [
        ['a', bytes],
        ['b', png],
      ]) {
        await mkdir(join(place, 'png', kind), { recursive: true });
        await writeFile(join(place, 'png', kind, 'x.png'), content);
      }
      await modules.png.readPngFolder(join(place, 'png'));
    },
  };
  return targets;
}

/** Removes what a case left. */
export const clear = (/** @type {string} */ place) =>
  rm(place, { recursive: true, force: true }).then(() => mkdir(place));
