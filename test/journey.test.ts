/**
 * From a file of one's own to a served model and on to its next version, as a user does it: by the program in `dist/`, as
 * processes, over HTTP. Each step works on what the one before left behind.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetDirectory } from '../src/data/cache.js';
import { awkwardTag, type CatalogueRow, catalogue, csvHead, csvLine } from './journey-rows.testing.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/main.js');
// As a stranger imports it: by the name of the package.
const clientFile = createRequire(import.meta.url).resolve('espalier/client');
const { EspalierClient } = (await import(clientFile)) as typeof import('../src/client/index.js');

const UNTAGGED = 25;
let home: string;
let known: readonly CatalogueRow[];
let later: readonly CatalogueRow[];
let server: ChildProcess | undefined;

function start(args: readonly string[]): ChildProcess {
  return spawn(process.execPath, [program, ...args], { cwd: home, env: { ...process.env, NO_COLOR: '1' } });
}

/** What a command printed; fails with what it complained of unless it ended with `code`. */
async function espalier(args: readonly string[], { input = '', code = 0 } = {}): Promise<string> {
  const child = start(args);
  let [out, err] = ['', ''];
  child.stdout?.on('data', (part) => {
    out += part;
  });
  child.stderr?.on('data', (part) => {
    err += part;
  });
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const ended = await new Promise((resolve) => child.on('close', resolve));
  expect(ended, `espalier ${args.join(' ')}\n${err}`).toBe(code);
  return code === 0 ? out : err;
}

const json = async (args: readonly string[], input?: string) =>
  JSON.parse(await espalier([...args, '--json'], { input }));

interface Predicted {
  readonly label: number;
  readonly name: string;
  readonly score: number;
  readonly probability: number;
}

/** The best `k` labels of each row, by the program. */
async function predict(model: string, rows: readonly object[], k: number): Promise<Predicted[][]> {
  const input = rows.map((row) => `${JSON.stringify(row)}\n`).join('');
  const lines = (await espalier(['predict', model, '--json', '--k', String(k)], { input }))
    .trim()
    .split('\n');
  return lines.map((line) => JSON.parse(line).predictions);
}

const fieldsOf = ({ title, body }: CatalogueRow) => ({ title, body });
const settings = [
  'model.output.kind=fan-in',
  'model.output.fanIn=32',
  'model.encoder.embedding=96',
  'batch=32',
];
const sets = settings.flatMap((setting) => ['--set', setting]);
/** Text that no row has word for word, with the tags that answer it. */
const questions = [
  {
    title: '',
    body: 'a pastry filled with fruit and baked',
    wanted: ['pastry', 'baked goods', 'pie', 'sweet', 'dish'],
  },
  {
    title: '',
    body: 'a motor vehicle with four wheels',
    wanted: ['car', 'motor vehicle', 'wheeled vehicle', 'vehicle'],
  },
  { title: '椅子', body: '古い 椅子 を売ります。', wanted: ['日本語'] },
];

beforeAll(async () => {
  expect(existsSync(program), 'build first: npm run build').toBe(true);
  home = await mkdtemp(join(tmpdir(), 'espalier-journey-'));
  ({ known, later } = await catalogue());
  const untagged = known.slice(0, UNTAGGED).map((row) => ({ ...row, id: `untagged ${row.id}`, tags: [] }));
  // In the middle of the file: a row that lost a field.
  const lines = [...known, ...untagged].map(csvLine);
  lines.splice(1000, 0, 'broken,row\r\n');
  await writeFile(join(home, 'items.csv'), csvHead + lines.join(''));
});
afterAll(async () => {
  server?.kill('SIGKILL');
  await rm(home, { recursive: true, force: true });
});

// Each test starts several processes: a busy machine is no failure.
const patience = { timeout: 300_000 };

describe('a product engineer gets from a CSV file to a served model', patience, () => {
  const columns = ['--text', 'title,body', '--labels', 'tags', '--label-separator', ';', '--id', 'id'];

  it('runs on native kernels wherever they are built', async () => {
    const { backend } = await json(['doctor']);
    expect(backend).toMatch(existsSync(join(root, 'build/espalier.node')) ? /^native\// : /^reference\//);
  });

  it('a broken row is refused with its line; asked to, it is left out, and everything else arrives', async () => {
    const refused = await espalier(['data', '--from', 'items.csv', ...columns, '--out', 'data'], { code: 1 });
    // Rows span lines: the place is that of the file, not of the row.
    const text = await readFile(join(home, 'items.csv'), 'utf8');
    const line = text.slice(0, text.indexOf('broken,row')).split('\n').length;
    expect(refused).toContain(`items.csv:${line}`);
    expect(existsSync(join(home, 'data'))).toBe(false);

    const { report, info } = await json([
      ...['data', '--from', 'items.csv', ...columns, '--out', 'data', '--max-bad-rows', '1'],
    ]);
    expect(report.rows).toMatchObject({ read: known.length + UNTAGGED, unlabelled: UNTAGGED });
    const { kept, empty, labelless } = report.rows;
    expect(kept + empty + labelless).toBe(known.length);
    expect(report.notices.map(({ count }: { count: number }) => count)).toEqual(
      expect.arrayContaining([1, UNTAGGED]),
    );
    const tags = new Set(known.flatMap(({ tags }) => tags));
    // Tags of test rows alone cannot be learnt.
    expect(info.labels + report.labels.testOnly).toBe(tags.size);
    const names = (await readFile(join(home, 'data/labels.jsonl'), 'utf8')).trim().split('\n');
    expect(names).toContain(JSON.stringify(awkwardTag));
    for (const name of names) expect(tags.has(JSON.parse(name)), name).toBe(true);
  });

  it('the plan says what training will hold, and training holds it', async () => {
    const { lines } = await json(['plan', 'data', ...sets, '--no-calibrate']);
    await espalier(['train', 'data', '--out', 'runs/first', '--epochs', '8', ...sets]);
    const log = (await readFile(join(home, 'runs/first/log.jsonl'), 'utf8')).trim().split('\n');
    const { event, accountedPeak } = JSON.parse(log.at(-1) ?? '');
    expect(event).toBe('end');
    // Plans are to the byte, but for batches that turn out smaller than the largest possible one.
    expect(accountedPeak).toBeLessThanOrEqual(lines[0].totalBytes);
    expect(accountedPeak).toBeGreaterThan(0.9 * lines[0].totalBytes);
  });

  it('the model beats the most frequent tag, more than twice over, and the run keeps the figures', async () => {
    const report = await json(['evaluate', 'runs/first', 'data', '--save']);
    const test = (await DatasetDirectory.open(join(home, 'data'))).load('test');
    const { rows, labelIds, labels } = await test;
    const byLabel = new Uint32Array(labels);
    for (const label of labelIds) byLabel[label]++;
    const precision = report.at[0].precision;
    expect(report.rows).toBe(rows);
    // Its lower end, so that luck is no answer.
    expect(precision.low).toBeGreaterThan((2 * Math.max(...byLabel)) / rows);
    const { evaluations } = await json(['inspect', 'runs/first']);
    expect(evaluations[0].at[0].precision.value).toBeCloseTo(100 * precision.value, 10);
    expect(evaluations[0].samples.length).toBeGreaterThan(0);
  });

  it('it answers text in any script with the tags that fit, and says why', async () => {
    const answers = await predict('runs/first', questions, 3);
    for (const [i, { body, wanted }] of questions.entries()) {
      const names = answers[i].map(({ name }) => name);
      expect(
        names.some((name) => wanted.includes(name)),
        `${body}: ${names.join(', ')}`,
      ).toBe(true);
    }
    const label = await json(['explain', 'runs/first', awkwardTag, '--data', 'data', '--top', '50']);
    expect(label.name).toBe(awkwardTag);
    const small = label.examples.shown.filter(({ features }: { features: { name: string }[] }) =>
      features.some(({ name }) => name === 'body:small'),
    );
    // The strongest twelve words of a row are shown; most of these rows are short.
    expect(small.length).toBeGreaterThan(label.examples.shown.length / 2);
  });

  it('a server gives the answers of the program, for one row to the last bit, and ends when it is told', async () => {
    const rows = known.filter((_, i) => i % 97 === 0).map(fieldsOf);
    const child = start(['serve', 'runs/first', '--port', '0', '--log-level', 'silent', '--workers', '1']);
    server = child;
    const url = await new Promise<string>((resolve, reject) => {
      child.stdout?.on('data', (part) => resolve(String(part).trim()));
      child.on('close', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    const client = new EspalierClient(url, { timeoutMs: 60_000 });
    const byProgram = await predict('runs/first', rows, 5);
    const { results } = await client.predictAll(rows, { k: 5 });
    // A batch adds up in another order than a row alone.
    for (const [i, { predictions }] of results.entries()) {
      expect(predictions.map(({ name }) => name)).toEqual(byProgram[i].map(({ name }) => name));
      for (const [p, { score }] of predictions.entries()) expect(score).toBeCloseTo(byProgram[i][p].score, 4);
    }
    const alone = await client.predict(rows[0], { k: 5, explain: 1 });
    expect(alone.predictions).toEqual(byProgram[0]);
    expect(alone.explanations?.[0].name).toBe(byProgram[0][0].name);
    expect((await client.label(awkwardTag)).name).toBe(awkwardTag);
    await expect(client.label('no such tag')).rejects.toMatchObject({ status: 404 });
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    server = undefined;
  });

  it('remembering its rows the model finds more, and names those that spoke for a tag', async () => {
    const { model, rows, validation } = await json([
      'remember',
      'runs/first',
      'data',
      '--out',
      'runs/remembering',
    ]);
    expect(existsSync(join(home, model, 'remembered-rows.bin'))).toBe(true);
    const data = await DatasetDirectory.open(join(home, 'data'));
    expect(rows).toBe(data.rows('train'));
    expect(validation.with.precision[1]).toBeGreaterThan(validation.without.precision[1]);
    const [before, after] = await Promise.all(
      ['runs/first', 'runs/remembering'].map((run) => json(['evaluate', run, 'data', '--by-score'])),
    );
    expect(after.at[0].precision.value).toBeGreaterThan(before.at[0].precision.value);
    const input = 'a motor vehicle with four wheels\n';
    const why = await espalier(['predict', 'runs/remembering', '--explain', '2'], { input });
    expect(why).toMatch(/remembered rows that are like it\n +row \d+, cosine 0\.\d\d: .*body:/);
    expect(await espalier(['predict', 'runs/first', '--explain', '2'], { input })).not.toContain(
      'remembered',
    );
    // Without a tag: the rows that had others stay, and the model answers.
    const [[{ name: gone }]] = await predict('runs/remembering', [questions[1]], 1);
    await espalier(['labels', 'runs/remembering', '--remove', gone, '--out', 'runs/forgetful']);
    const [left] = await predict('runs/forgetful', [questions[1]], 5);
    expect(left.map(({ name }) => name)).not.toContain(gone);
    const asked = ['remember', 'runs/first', 'data', '--out', 'runs/x', '--weight', '0'];
    expect(await espalier(asked, { code: 2 })).toContain('a number above 0, to 1000');
  });

  it('a comparison tells a run of a fifth of an epoch apart, beyond chance', async () => {
    await espalier(['train', 'data', '--out', 'runs/hasty', '--epochs', '0.2', ...sets]);
    const { runs } = await json(['compare', 'runs/first', 'runs/hasty', '--data', 'data']);
    const { difference, value } = runs[1].accuracy['P@1'];
    expect(difference.high).toBeLessThan(0);
    expect(value - runs[0].accuracy['P@1'].value).toBeCloseTo(difference.value, 10);
  });
});

describe('and on to the next version', patience, () => {
  it('a tag that is removed is never predicted again; all other scores keep their bits', async () => {
    const rows = known.filter((_, i) => i % 41 === 0).map(fieldsOf);
    const before = await predict('runs/first', rows, 40);
    const gone = before[0][0].name;
    await espalier(['labels', 'runs/first', '--remove', gone, '--out', 'runs/without']);
    expect((await json(['labels', 'runs/without'])).includes(gone)).toBe(false);
    const after = await predict('runs/without', rows, 8);
    for (const [i, list] of before.entries()) {
      // Places may move: a list by probability is made of the best by score, into which one more has come.
      const had = new Map(list.map(({ name, score }) => [name, score]));
      for (const { name, score } of after[i]) expect([name, score]).toEqual([name, had.get(name)]);
      expect(after[i].map(({ name }) => name)).not.toContain(gone);
    }
  });

  it('new rows bring new tags, which the model learns without forgetting the old ones', async () => {
    const isTest = (_: CatalogueRow, i: number) => i % 5 === 0;
    const isTrain = (row: CatalogueRow, i: number) => !isTest(row, i);
    const old = known.filter((_, i) => i % 10 === 3);
    await writeFile(
      join(home, 'new.csv'),
      csvHead + [...later.filter(isTrain), ...old].map(csvLine).join(''),
    );
    await writeFile(join(home, 'new-test.csv'), csvHead + later.filter(isTest).map(csvLine).join(''));
    const from = ['--from', 'new.csv', '--test', 'new-test.csv', '--validation-share', '0'];
    const { report } = await json([
      ...['data', ...from, '--labels', 'tags', '--label-separator', ';', '--like', 'runs/first'],
      ...['--out', 'data-2'],
    ]);
    const had = new Set<string>(await json(['labels', 'runs/first']));
    const now = new Set([...later.filter(isTrain), ...old].flatMap(({ tags }) => tags));
    expect(report.like.newLabels).toBe([...now].filter((tag) => !had.has(tag)).length);
    expect(report.like.newLabels).toBeGreaterThan(30);
    await espalier(['train', 'data-2', '--continue', 'runs/first', '--out', 'runs/second', '--epochs', '6']);

    const fresh = later.filter(isTest);
    const answers = await predict('runs/second', fresh.map(fieldsOf), 1);
    const right = answers.filter(([{ name }], i) => fresh[i].tags.includes(name)).length;
    expect(right).toBeGreaterThan(fresh.length / 3);
    // Rows that the second training did not see.
    const unseen = known.filter((_, i) => i % 10 === 7);
    const [first, second] = await Promise.all(
      ['runs/first', 'runs/second'].map(async (run) => {
        const answered = await predict(run, unseen.map(fieldsOf), 1);
        return answered.filter(([{ name }], i) => unseen[i].tags.includes(name)).length;
      }),
    );
    expect(second).toBeGreaterThan(0.7 * first);
  });
});
