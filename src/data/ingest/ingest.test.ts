import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rowRecords } from '../arbitrary.testing.js';
import { DatasetDirectory } from '../cache.js';
import { CsrDataset } from '../dataset.js';
import { writeDatasetFile } from '../dataset-file.js';
import { DatasetWriter } from '../dataset-writer.js';
import type { Featurizer } from '../featurizer/featurizer.js';
import { Duplicates } from './duplicates.js';
import { ingest } from './ingest.js';
import { LabelCounts, labelsOf } from './labels.js';
import { longTailSvg, longTailText, tailCurve } from './long-tail.js';
import type { IngestOptions } from './options.js';

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-ingest-'));
});
afterAll(() => rm(home, { recursive: true }));

let files = 0;
async function file(content: string | Uint8Array, ending: string): Promise<string> {
  const path = join(home, `${files++}.${ending}`);
  await writeFile(path, content);
  return path;
}

const code = (c: string) => expect.objectContaining({ code: c });
const words = ['red', 'green', 'blue', 'sky', 'Äpfel', '日本語', 'car', 'road'];

interface Row {
  readonly id: string;
  readonly title: string;
  readonly body: string;
  readonly tags: readonly string[];
}

function rowsOf(n: number): Row[] {
  const word = (i: number) => words[(i * 7 + (i >> 3)) % words.length];
  return Array.from({ length: n }, (_, i) => ({
    id: `row ${i}`,
    title: `${word(i)} ${word(i + 1)}`,
    body: `${word(i + 2)}, "${word(i + 3)}"\n${i}`,
    tags: [`t${i % 5}`, ...(i % 3 === 0 ? [`u${i % 11}`] : [])],
  }));
}

const jsonl = (rows: readonly object[]) => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const quote = (s: string) => `"${s.replaceAll('"', '""')}"`;
const csv = (rows: readonly Row[]) =>
  [
    'id,title,body,tags',
    ...rows.map(({ id, title, body, tags }) => [id, title, body, tags.join('|')].map(quote).join(',')),
  ].join('\r\n');
const common = { text: ['title', 'body'], labels: ['tags'], labelSeparator: '|', id: 'id', threads: 1 };

describe('texts of labels', () => {
  const ingested = async (name: string, texts: string, file = 'texts.csv') => {
    await writeFile(join(home, `${name}.jsonl`), jsonl(rowsOf(40)));
    await writeFile(join(home, file), texts);
    const from = { ...common, from: join(home, `${name}.jsonl`), labelTexts: join(home, file) };
    const { report } = await ingest(from, join(home, name));
    return { report, directory: await DatasetDirectory.open(join(home, name)) };
  };

  it('come from a file of their own; labels that it does not have keep their names', async () => {
    const { report, directory } = await ingested(
      'texts',
      'text,label\n"red, round",t1\nnobody,t99\nfour,t4\n',
    );
    const { labelNames = [] } = await directory.names();
    const means: Record<string, string> = { t1: 'red, round', t4: 'four' };
    expect(await directory.labelTexts()).toEqual(labelNames.map((name) => means[name] ?? name));
    expect(report.labels.withText).toBe(2);
    expect(report.labels.count).toBe(labelNames.length);
  });

  it('are refused with the place where they are none, and nothing is left behind', async () => {
    const cases: [string, string, string][] = [
      ['text,tag\nred,t1\n', 'c.csv', 'DATA_COLUMN'],
      ['label,text\nt1,red\nt2,green\nt1,blue\n', 'c.csv', 'DATA_LABEL_TEXT'],
      ['{"label": "t1", "text": 7}\n', 'c.jsonl', 'DATA_LABEL_TEXT'],
      ['{"label": null, "text": "red"}\n', 'c.jsonl', 'DATA_LABEL_TEXT'],
      ['1:0.5 2:1\n', 'c.svm', 'DATA_FORMAT'],
    ];
    for (const [texts, file, code] of cases) {
      await expect(ingested('refused', texts, file)).rejects.toMatchObject({ code });
      expect(existsSync(join(home, 'refused'))).toBe(false);
    }
  });
});

async function digest(directory: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of ['train.bin', 'validation.bin', 'test.bin', 'labels.jsonl', 'featurizer.json']) {
    hash.update(await readFile(join(directory, name)));
  }
  return hash.digest('hex');
}

describe('ingest', () => {
  it('gives the rows, features and labels that the file holds', async () => {
    const rows = rowsOf(300);
    const out = join(home, 'whole');
    const { info, report } = await ingest({ ...common, from: await file(csv(rows), 'csv') }, out);
    const directory = await DatasetDirectory.open(out);
    const featurizer = (await directory.featurizer()) as Featurizer;
    const wanted = new Map(
      rows.map((row) => {
        const { indices, values } = featurizer.featurize([{ title: row.title, body: row.body }]);
        return [JSON.stringify([[...indices], [...values], [...row.tags].sort()]), row];
      }),
    );
    for (const split of ['train', 'validation', 'test'] as const) {
      const dataset = await directory.load(split);
      for (const { features, values, labels } of rowRecords(dataset)) {
        const key = JSON.stringify([features, values, labels.map((l) => dataset.labelName(l)).sort()]);
        expect(wanted.has(key)).toBe(true);
      }
    }
    const kept = ['train', 'validation', 'test'].reduce((sum, s) => sum + directory.rows(s as 'train'), 0);
    expect([report.rows.read, report.rows.kept, kept]).toEqual([300, 300, 300]);
    expect(info.splits.test?.rows).toBeGreaterThan(10);
    expect(report.labels.buckets.labels.reduce((a, b) => a + b)).toBe(info.labels);
    expect(await readdir(out)).not.toContain('spill');
    // Fitted on what is not a test row.
    expect(featurizer.facts.documents).toBe(300 - (info.splits.test?.rows ?? 0));
  });

  it('one dataset whatever the format, the packing, the threads and the memory', async () => {
    const rows = rowsOf(400);
    const ways: Partial<IngestOptions>[] = [
      { from: await file(csv(rows), 'csv') },
      { from: await file(jsonl(rows), 'jsonl'), labelSeparator: undefined },
      {
        from: await file(gzipSync(jsonl(rows)), 'jsonl.gz'),
        labelSeparator: undefined,
        threads: 3,
        memory: 1,
      },
      {
        from: await file(
          csv(rows).replaceAll('","', '"\t"').replace('id,title,body,tags', 'id\ttitle\tbody\ttags'),
          'tsv',
        ),
        threads: 2,
      },
    ];
    const digests: string[] = [];
    for (const [w, way] of ways.entries()) {
      const out = join(home, `way-${w}`);
      await ingest({ ...common, name: 'same', ...way } as IngestOptions, out);
      digests.push(await digest(out));
    }
    expect(new Set(digests).size).toBe(1);
  });

  it('splits by a column, by files, or by the hash of the row, which keeps equal rows together', async () => {
    const rows = rowsOf(200).map((row, i) => ({ ...row, part: ['train', 'Dev', 'test', 'training'][i % 4] }));
    const from = await file(jsonl(rows), 'jsonl');
    const byColumn = await ingest(
      { ...common, from, splitColumn: 'part', labelSeparator: undefined },
      join(home, 'column'),
    );
    expect(byColumn.report.splits).toMatchObject({
      train: { rows: 100 },
      validation: { rows: 50 },
      test: { rows: 50 },
    });
    const byFile = await ingest(
      { ...common, from, test: from, testShare: 0.5, labelSeparator: undefined },
      join(home, 'file'),
    );
    expect(byFile.report.splits.test.rows).toBe(200);
    expect(byFile.report.duplicates).toMatchObject({ rows: 200, acrossTest: 200, exact: true });
    expect(byFile.report.hints.join()).toMatch(/both sides/);
    const twice = await file(
      jsonl([...rows, ...rows].map((row) => ({ ...row, id: Math.random() }))),
      'jsonl',
    );
    const { report } = await ingest(
      { ...common, from: twice, id: undefined, labelSeparator: undefined },
      join(home, 'hash'),
    );
    expect(report.duplicates).toMatchObject({ rows: 200, acrossTest: 0 });
    const odd = await file(jsonl([{ ...rows[0], part: 'maybe' }]), 'jsonl');
    await expect(ingest({ ...common, from: odd, splitColumn: 'part' }, join(home, 'odd'))).rejects.toThrow(
      /jsonl:1: .*DATA_SPLIT/,
    );
  });

  it('counts what it leaves out, each with its first place', async () => {
    const lines = [
      ...rowsOf(60).map((row) => ({ ...row, part: 'train' })),
      { id: 'x', title: 'red green', body: '', tags: [], part: 'train' },
      { id: 'y', title: 'zebra', body: 'unheard', tags: ['t1'], part: 'train' },
      { id: 'z', title: 'red', body: 'sky', tags: ['only here', 't1'], part: 'test' },
      { id: 'w', title: 'red', body: 'sky', tags: ['only here'], part: 'test' },
    ];
    const from = await file(jsonl(lines), 'jsonl');
    const { report } = await ingest(
      { ...common, from, splitColumn: 'part', labelSeparator: undefined },
      join(home, 'left-out'),
    );
    const said = report.notices.map(({ what, count, first }) => [what, count, first.line]);
    expect(said).toEqual([
      [expect.stringContaining('without labels'), 1, 61],
      [expect.stringContaining('only test rows have'), 2, 63],
      [expect.stringContaining('were all left out'), 1, 64],
      [expect.stringContaining('without any known word'), 1, 62],
    ]);
    expect(report.rows).toEqual({ read: 64, kept: 61, unlabelled: 1, empty: 1, labelless: 1 });
    expect(report.labels.testOnly).toBe(1);
  });

  it('takes multi-class, indicator columns, categories and numbers', async () => {
    const text = 'word,shop,price,red,blue\n'.concat(
      ...Array.from(
        { length: 60 },
        (_, i) => `w${i % 6},s${i % 2},${i === 7 ? 'dear' : i},${i % 2},${i % 3 === 0 ? 'yes' : 'no'}\n`,
      ),
    );
    const from = await file(text, 'csv');
    const multi = await ingest(
      { from, categorical: ['shop'], numeric: ['price'], labels: ['word'], threads: 1 },
      join(home, 'multi'),
    );
    expect([multi.report.labels.multiClass, multi.info.features]).toEqual([true, 3]);
    expect(multi.report.notices[0]).toMatchObject({ count: 1, first: { line: 9 } });
    const both = await ingest(
      { from, text: ['word'], labels: [], indicators: ['red', 'blue'], threads: 1 },
      join(home, 'indicators'),
    );
    expect(await (await DatasetDirectory.open(join(home, 'indicators'))).names()).toMatchObject({
      labelNames: ['blue', 'red'],
    });
    expect(both.report.rows.unlabelled).toBe(20);
    await expect(
      ingest({ from, text: ['word'], labels: [], indicators: ['price'] }, join(home, 'no')),
    ).rejects.toThrow(/csv:4: .*DATA_LABEL/);
  });

  it('hints at a separator, leaves rare labels out when asked, and reads a long document', async () => {
    const rows = rowsOf(100).map((row) => ({ ...row, tags: row.tags.join(',') }));
    rows[5] = { ...rows[5], body: 'sky '.repeat(250_000) };
    const from = await file(jsonl(rows), 'jsonl');
    const options = { ...common, from, labelSeparator: undefined };
    expect((await ingest(options, join(home, 'hint'))).report.hints.join()).toContain(
      '--label-separator ","',
    );
    const rare = await ingest({ ...options, labelSeparator: ',', minLabelRows: 8 }, join(home, 'rare'));
    expect(rare.info.labels).toBe(5);
    expect(rare.report.labels.rare).toBeGreaterThan(0);
  });

  it('refuses with one clear error and leaves nothing behind', async () => {
    const good = rowsOf(30);
    const from = await file(jsonl(good), 'jsonl');
    const cut = gzipSync(jsonl(rowsOf(3000)));
    const out = join(home, 'refused', 'x');
    const wrong: [Partial<IngestOptions>, string][] = [
      [{ from, text: ['titel'] }, 'DATA_COLUMN'],
      [{ from, text: [] }, 'DATA_COLUMNS'],
      [{ from, testShare: 0.6, validationShare: 0.4 }, 'DATA_SHARES'],
      [{ from, featurizer: { wordNGrams: 9 } }, 'FEATURIZER_OPTIONS'],
      [{ from: await file(cut.subarray(0, cut.length - 9), 'jsonl.gz') }, 'COMPRESSION_DAMAGED'],
      [{ from: await file(jsonl(good.map((row) => ({ ...row, tags: [] }))), 'jsonl') }, 'DATA_NO_ROWS'],
      [{ from: await file(jsonl(good.map((row) => ({ ...row, tags: [{}] }))), 'jsonl') }, 'DATA_LABEL'],
      [{ from: await file(jsonl(good.map((row) => ({ ...row, title: {} }))), 'jsonl') }, 'FEATURE_VALUE'],
      [{ from: await file('', 'jsonl') }, 'DATA_COLUMN'],
      [{ from: await file('title,body\n', 'csv') }, 'DATA_COLUMN'],
      [{ from: await file('1 2 3\n', 'txt') }, 'DATA_FORMAT'],
      [{ from: join(home, 'nowhere.csv') }, 'FILE_MISSING'],
    ];
    for (const [options, expected] of wrong) {
      await expect(ingest({ ...common, ...options } as IngestOptions, out), expected).rejects.toEqual(
        code(expected),
      );
    }
    await expect(ingest({ ...common, from, text: ['titel'] }, out)).rejects.toThrow(
      /"title", "body".*did you mean "title"/,
    );
    expect(await readdir(join(home, 'refused')).catch(() => [])).toEqual([]);
  });
});

describe('DatasetWriter', () => {
  it('writes the file of writeDatasetFile, byte for byte', async () => {
    const row = fc.record({ f: fc.uniqueArray(fc.nat(50)), l: fc.uniqueArray(fc.nat(20)) });
    await fc.assert(
      fc.asyncProperty(fc.array(row, { maxLength: 30 }), async (rows) => {
        const path = join(home, `w${files++}`);
        const writer = await DatasetWriter.open(path);
        const sorted = rows.map(({ f, l }) => ({ f: f.sort((a, b) => a - b), l: l.sort((a, b) => a - b) }));
        for (const { f, l } of sorted) {
          writer.row(Uint32Array.from([7, ...f]), Float32Array.from([1, ...f]), 1, f.length + 1, l);
          await writer.drain(1);
        }
        const digest = await writer.finish({ features: 51, labels: 21 });
        const sum = { f: 0, l: 0 };
        const pointers = (of: 'f' | 'l') => [
          0,
          ...sorted.map((r) => {
            sum[of] += r[of].length;
            return sum[of];
          }),
        ];
        const dataset = new CsrDataset({
          rows: rows.length,
          features: 51,
          labels: 21,
          indptr: Float64Array.from(pointers('f')),
          indices: Uint32Array.from(sorted.flatMap(({ f }) => f)),
          values: Float32Array.from(sorted.flatMap(({ f }) => f)),
          labelIndptr: Float64Array.from(pointers('l')),
          labelIds: Uint32Array.from(sorted.flatMap(({ l }) => l)),
        });
        expect(digest).toBe(await writeDatasetFile(`${path}.twin`, dataset));
        expect(await readFile(path)).toEqual(await readFile(`${path}.twin`));
      }),
      { numRuns: 20 },
    );
  });
});

describe('labels', () => {
  const place = { file: 'f', line: 1 };
  it.each([
    [['a', ' b ', 'a', ''], undefined, ['a', 'b']],
    ['a, b', undefined, ['a, b']],
    ['a, b,,a', ',', ['a', 'b']],
    ['["x", 3]', undefined, ['x', '3']],
    ['[draft]', undefined, ['[draft]']],
    [7, ',', ['7']],
    [12n, undefined, ['12']],
    [null, ',', []],
  ])('of a value in any form (%#)', (value, separator, wanted) => {
    expect(labelsOf([value], { columns: [0], separator, indicators: [] }, place)).toEqual(wanted);
  });

  it('are numbered by name, and those of test rows alone are left out', () => {
    const counts = new LabelCounts();
    counts.add(['b', 'a'], false);
    counts.add(['b', 'c'], false);
    counts.add(['d'], true);
    expect(counts.finish(1)).toEqual({
      names: ['a', 'b', 'c'],
      ids: new Map([
        ['a', 0],
        ['b', 1],
        ['c', 2],
      ]),
      rare: 0,
      testOnly: 1,
    });
  });
});

describe('equal rows', () => {
  const hash = (i: number): readonly [number, number] => [
    Math.imul(i, 0x9e3779b1) >>> 0,
    Math.imul(i + 1, 0x85ebca6b) >>> 0,
  ];

  it('are counted exactly while they fit, and about right beyond', () => {
    const exact = new Duplicates(1024);
    for (let i = 0; i < 900; i++) exact.add(hash(i % 600), i >= 600);
    expect(exact.result).toEqual({ rows: 300, acrossTest: 300, exact: true });
    const sampled = new Duplicates(1024);
    for (let i = 0; i < 90_000; i++) sampled.add(hash(i % 60_000), false);
    expect(sampled.result.exact).toBe(false);
    expect(Math.abs(sampled.result.rows - 30_000)).toBeLessThan(6_000);
  });
});

describe('a file that changes between the two passes', () => {
  const changes: Record<string, (rows: Row[]) => Row[]> = {
    'other words': (rows) => rows.map((row) => ({ ...row, body: `${row.body} again` })),
    'other labels': (rows) => rows.map((row) => ({ ...row, tags: row.tags.map((tag) => `${tag}0`) })),
    'another order of labels among rows': (rows) =>
      rows.map((row, i) => ({ ...row, tags: rows[rows.length - 1 - i].tags })),
    'more rows': (rows) => [...rows, ...rows],
  };
  it.each(Object.entries(changes))('is refused: %s', async (_, change) => {
    const rows = rowsOf(40);
    const from = await file(jsonl(rows), 'jsonl');
    const out = join(home, `changed-${files++}`);
    const { labelSeparator: __, ...options } = common;
    let changed = false;
    const onProgress = () => {
      if (!changed) writeFileSync(from, jsonl(change(rows)));
      changed = true;
    };
    await expect(ingest({ ...options, from, onProgress }, out)).rejects.toMatchObject({
      code: 'DATA_CHANGED',
    });
    expect(existsSync(out)).toBe(false);
  });
});

describe('the long tail', () => {
  it('is drawn from the most frequent label to the rarest', () => {
    const frequencies = Uint32Array.from({ length: 1000 }, (_, i) => Math.floor(1000 / (i + 1)));
    const curve = tailCurve(frequencies);
    expect([curve[0], curve.at(-1)]).toEqual([
      { rank: 1, rows: 1000 },
      { rank: 1000, rows: 1 },
    ]);
    expect(longTailText(frequencies).join('\n')).toMatch(/1000 █.*\n[\s\S]*label 1 .* 1,000$/);
    expect(longTailSvg(frequencies)).toMatch(
      /^<svg .*viewBox[\s\S]*class="curve" d="M64\.0 36\.0L[^N]*<\/svg>\n$/,
    );
    for (const empty of [new Uint32Array(0), new Uint32Array(1), Uint32Array.of(5)]) {
      expect(longTailSvg(empty)).not.toMatch(/NaN|Infinity/);
      expect(longTailText(empty).join()).not.toMatch(/NaN/);
    }
  });
});

describe('rows like earlier ones', () => {
  it('have the features of the saved vocabulary; labels stay where they were, new ones come behind', async () => {
    const first = join(home, 'first');
    await ingest({ ...common, from: await file(jsonl(rowsOf(120)), 'jsonl') }, first);
    const directory = await DatasetDirectory.open(first);
    const featurizer = (await directory.featurizer()) as Featurizer;
    const { labelNames = [] } = await directory.names();
    const later = rowsOf(60).map((row, i) => ({
      ...row,
      title: i % 2 === 0 ? `${row.title} zebra` : row.title,
      tags: i % 4 === 0 ? ['a new one', ...row.tags] : row.tags,
    }));
    const { labels, labelSeparator, id } = common;
    const path = join(home, 'later');
    const { report } = await ingest(
      {
        ...{ labels, labelSeparator, id, threads: 1, from: await file(jsonl(later), 'jsonl') },
        ...{ like: { featurizer, labels: labelNames }, validationShare: 0, testShare: 0 },
      },
      path,
    );
    const made = await DatasetDirectory.open(path);
    expect(JSON.stringify(await made.featurizer())).toBe(JSON.stringify(featurizer));
    expect((await made.names()).labelNames).toEqual([...labelNames, 'a new one']);
    expect(report.like).toEqual({
      labels: labelNames.length,
      newLabels: 1,
      fittedRows: featurizer.facts.documents,
    });
    const block = featurizer.featurize(later.map(({ title, body }) => ({ title, body })));
    expect(report.terms).toEqual({ read: block.terms, unknown: block.unknownTerms });
    // The words of every second title; numbers of bodies that the first rows show once may be unknown too.
    expect(report.terms.unknown).toBeGreaterThanOrEqual(30);
    const train = await made.load('train');
    expect(train.rows).toBe(60);
    expect(Array.from(train.indices)).toEqual(Array.from(block.indices));
    expect(Array.from(train.values)).toEqual(Array.from(block.values));
    const marks = Array.from(train.labelIds).filter((label) => label === labelNames.length);
    expect(marks).toHaveLength(15);
  });
});
