/** The program as a process: what it prints, how it ends. Runs the build in `dist/`. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { saveTinyModel } from '../src/model/tiny-model.testing.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const program = join(root, 'dist/cli/main.js');
const planted = join(root, 'fixtures/planted');
let home: string;

interface Ended {
  code: number | null;
  out: string;
  err: string;
}

function espalier(args: string[], input = '', env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      cwd: home,
      env: { ...process.env, NO_COLOR: '1', ...env },
    });
    let out = '';
    let err = '';
    child.stdout.on('data', (part) => {
      out += part;
    });
    child.stderr.on('data', (part) => {
      err += part;
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, out, err }));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

beforeAll(async () => {
  expect(existsSync(program), 'build first: npm run build').toBe(true);
  home = await mkdtemp(join(tmpdir(), 'espalier-cli-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const settings = [
  '--set',
  'model.encoder.embedding=32',
  '--set',
  'model.output.fanIn=8',
  '--set',
  'batch=16',
];

describe('the program', () => {
  // NOTE: npx links the file in dist/ and runs it as it is; a build that leaves it unexecutable breaks every
  // `npx espalier` after the first.
  it.skipIf(process.platform === 'win32')('may be run by its own name', () => {
    const { status, stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('espalier plan', () => {
  it('prices the configured layer and its rivals, advises, and takes what fits', async () => {
    const data = ['data', '--from', join(planted, 'train.txt'), '--test', join(planted, 'test.txt')];
    expect(await espalier([...data, '--out', 'p'])).toMatchObject({ code: 0 });
    const plan = (...more: string[]) => espalier(['plan', 'p', ...settings, '--no-calibrate', ...more]);
    const table = await plan('--max-memory', '8GiB');
    expect(table.code).toBe(0);
    for (const line of [/^\* fan-in 8 /m, /^ {2}dense /m, /^recommended: /m, /fits 8192 MiB: fan-in 8/]) {
      expect(table.out).toMatch(line);
    }
    const { lines } = JSON.parse((await plan('--json')).out);
    expect(lines[0].totalBytes).toBeGreaterThan(0);
    const tight = await plan('--max-memory', '1MiB');
    expect(tight.code).toBe(2);
    expect(tight.err).toContain('PLAN_TOO_LARGE');
  });
});

describe('the program that npx finds', () => {
  it('is the one that was built, with its exit codes; before that it says what to do', async () => {
    const bin = join(root, 'bin/espalier.mjs');
    const run = (file: string, ...args: string[]) =>
      spawnSync(process.execPath, [file, ...args], { encoding: 'utf8' });
    expect(run(bin, '--version')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
    expect(run(bin, 'train', '--epoch', '3').status).toBe(2);
    await mkdir(join(home, 'unbuilt/bin'), { recursive: true });
    await cp(bin, join(home, 'unbuilt/bin/espalier.mjs'));
    const unbuilt = run(join(home, 'unbuilt/bin/espalier.mjs'), '--version');
    expect(unbuilt).toMatchObject({
      status: 1,
      stdout: '',
      stderr: 'espalier is not built yet: npm run build\n',
    });
  });
});

describe('the journey: data, train, evaluate, predict', () => {
  it('makes a dataset, trains, scores and answers, each step on the files of the one before', async () => {
    const data = await espalier([
      'data',
      '--from',
      join(planted, 'train.txt'),
      '--test',
      join(planted, 'test.txt'),
      '--out',
      'd',
    ]);
    expect(data).toMatchObject({ code: 0 });
    expect(data.out).toMatch(/test +\d+ rows/);
    const rates = ['--set', 'optimizer.rate=0.02', '--set', 'outputOptimizer.rate=0.02'];
    const trained = await espalier(['train', 'd', '--out', 'run', '--epochs', '15', ...settings, ...rates]);
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.out).toMatch(/peak MiB.*dense, Adam/);
    // Not a terminal: plain lines, no carriage returns.
    expect(trained.err).toMatch(/epoch 15: P@1/);
    expect(trained.err).not.toContain('\r');
    const scored = await espalier(['evaluate', 'run', 'd', '--json']);
    const report = JSON.parse(scored.out);
    expect(report.at[0].precision.value).toBeGreaterThan(0.5);
    expect(report.at.map((at: { k: number }) => at.k)).toEqual([1, 3, 5]);
    const answered = await espalier(['predict', 'run', '--features', '--k', '2', '--json'], '3:1 7:0.5\n\n');
    const lines = answered.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(lines.map(({ predictions }) => predictions.length)).toEqual([2, 2]);
  });

  it('scores without pairs that are no question, and says how many there were', async () => {
    const right = async (...more: string[]) => {
      const { out } = await espalier(['evaluate', 'run', 'd', '--by-score', '--json', ...more]);
      return JSON.parse(out);
    };
    // All of row 0 but the labels that it has: what is right comes first there, and all else stays where it was.
    const plain = await right();
    const [count, , labels] = (await readFile(join(planted, 'test.txt'), 'utf8')).split(/\s/).map(Number);
    const [own] = (await readFile(join(planted, 'test.txt'), 'utf8')).split('\n')[1].split(' ');
    const kept = new Set(own.split(',').map(Number));
    const pairs = Array.from({ length: labels }, (_, label) => label).filter((label) => !kept.has(label));
    await writeFile(join(home, 'pairs.txt'), pairs.map((label) => `0 ${label}\n`).join(''));
    const found = await right('--exclude-pairs', 'pairs.txt');
    expect(found.excluded).toEqual({ pairs: pairs.length, right: 0 });
    const gain = (found.at[0].precision.value - plain.at[0].precision.value) * count;
    expect([0, 1]).toContain(Math.round(1e6 * gain) / 1e6);
    const { out } = await espalier(['evaluate', 'run', 'd', '--exclude-pairs', 'pairs.txt']);
    expect(out).toContain(`without ${pairs.length} pairs of a row and a label\n`);
  });

  it('answers and scores in favour of rare labels: each favour as it scores alone, one line each', async () => {
    const reports = JSON.parse((await espalier(['evaluate', 'run', 'd', '--rare', '0,1.5', '--json'])).out);
    expect(reports.map(({ rare }: { rare: number }) => rare)).toEqual([0, 1.5]);
    for (const [i, rare] of ['0', '1.5'].entries()) {
      const alone = JSON.parse((await espalier(['evaluate', 'run', 'd', '--rare', rare, '--json'])).out);
      expect(alone).toEqual(reports[i]);
    }
    const { out } = await espalier(['evaluate', 'run', 'd', '--rare', '0,1.5']);
    expect(out).toMatch(/rare +P@1 +P@3 +P@5 +PSP@1 +PSP@3 +PSP@5\n +0( +[\d.]+){6}\n +1\.5( +[\d.]+){6}\n$/);
    const answers = async (rare: string) =>
      (await espalier(['predict', 'run', '--features', '--rare', rare, '--json'], '3:1 7:0.5\n')).out;
    expect(await answers('10')).not.toBe(await answers('0'));
  });

  it('leaves out labels that are no answer: to any line, or to the line that names them', async () => {
    await saveTinyModel(join(home, 'words'));
    const ask = async (args: string[], line: object) => {
      const asked = ['predict', 'words', '--k', '3', '--json', ...args];
      const { out } = await espalier(asked, `${JSON.stringify(line)}\n`);
      return JSON.parse(out).predictions.map(({ name }: { name: string }) => name) as string[];
    };
    const [first, second, third] = await ask([], { text: 'apple' });
    const left = await ask(['--exclude', second, '--exclude', 'no such label'], { text: 'apple' });
    expect(left.slice(0, 2)).toEqual([first, third]);
    const own = (id: unknown) => ask(['--exclude-column', 'id'], { text: 'apple', id });
    expect((await own(first)).slice(0, 2)).toEqual([second, third]);
    expect((await own([first, second]))[0]).toBe(third);
    for (const none of [undefined, null, [], 12]) expect(await own(none)).toEqual([first, second, third]);
    for (const line of ['{"text": "apple", "id": {}}', '{"text": "apple", "id": [true]}', 'apple']) {
      const refused = await espalier(['predict', 'words', '--exclude-column', 'id'], `${line}\n`);
      expect(refused).toMatchObject({ code: 1, out: '' });
      expect(refused.err).toMatch(/PREDICT_LINE.*"id" is a label or a list/s);
    }
  });

  it('the run directory holds config, log and an immutable model behind a pointer', async () => {
    expect(await readdir(join(home, 'run'))).toEqual(
      expect.arrayContaining(['config.json', 'log.jsonl', 'checkpoints', 'model']),
    );
    const { files } = JSON.parse(await readFile(join(home, 'run/model/espalier.json'), 'utf8'));
    expect(Object.keys(files)).toContain('model.safetensors');
  });

  it('a first SIGINT saves and leaves, and --resume finishes the run', async () => {
    const helpers = [
      'auxiliary.maxClusterSize=5',
      'auxiliary.cutoff=300',
      'model.output.intermediate.width=48',
    ];
    const args = ['train', 'd', '--out', 'long', '--epochs', '400', ...settings];
    args.push(...helpers.flatMap((setting) => ['--set', setting]));
    const child = spawn(process.execPath, [program, ...args], {
      cwd: home,
      env: { ...process.env, NO_COLOR: '1' },
    });
    let err = '';
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (part) => {
        err += part;
        if (/epoch 1: /.test(err)) resolve();
      });
    });
    child.kill('SIGINT');
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect(code).toBe(1);
    expect(err).toMatch(/\d+ clusters of up to \d labels/);
    expect(err).toMatch(/--resume long/);
    const resumed = await espalier(['train', '--resume', 'long']);
    expect(resumed).toMatchObject({ code: 0 });
    expect(resumed.err).toMatch(/resumed at step/);
  });
});

describe('factored layers', () => {
  const settings = [
    'model.output.kind=factored',
    'model.encoder.embedding=16',
    'model.encoder.activation=none',
  ];
  const sets = settings.flatMap((set) => ['--set', set]);
  const gentle = ['--set', 'outputOptimizer.rate=0.1'];

  it('train, are written out plainly, and answer alike', async () => {
    const data = ['data', '--from', join(planted, 'train.txt'), '--test', join(planted, 'test.txt')];
    expect(await espalier([...data, '--out', 'f'])).toMatchObject({ code: 0 });
    expect(
      await espalier(['train', 'f', '--out', 'runs/f', '--epochs', '2', ...sets, ...gentle]),
    ).toMatchObject({
      code: 0,
    });
    const exported = await espalier(['export', 'runs/f', '--out', 'plain']);
    expect(exported).toMatchObject({ code: 0 });
    const manifest = JSON.parse(
      await readFile(join(home, exported.out.replace('model: ', '').trim(), 'espalier.json'), 'utf8'),
    );
    expect(manifest.config.model.output.form).toBe('dense');
    const [before, after] = await Promise.all(
      ['runs/f', 'plain'].map(async (model) =>
        JSON.parse((await espalier(['evaluate', model, 'f', '--json'])).out),
      ),
    );
    expect(after.at).toEqual(before.at);
    const halved = await espalier(['export', 'plain', '--bf16', '--out', 'half']);
    expect(halved).toMatchObject({ code: 0 });
    const bytes = async ({ out }: { readonly out: string }) =>
      (await stat(join(home, out.replace('model: ', '').trim(), 'model.safetensors'))).size;
    expect((await bytes(halved)) / (await bytes(exported))).toBeLessThan(0.55);
    const rounded = JSON.parse((await espalier(['evaluate', 'half', 'f', '--json'])).out);
    // Eight bits of every weight: few answers change.
    for (const [i, { precision }] of rounded.at.entries())
      expect(Math.abs(precision.value - after.at[i].precision.value)).toBeLessThan(0.05);
    const again = await espalier(['export', 'plain', '--out', 'plainer']);
    expect(again.code).toBe(2);
    expect(again.err).toContain('EXPORT_PLAIN');
  });

  it('refuse a rate that overshoots, with the largest that does not, unless told to take it', async () => {
    const far = ['--set', 'outputOptimizer.rate=1e7', '--set', 'model.loss=squaredError', '--epochs', '0.2'];
    const refused = await espalier(['train', 'f', '--out', 'runs/far', ...sets, ...far]);
    expect(refused.code).toBe(1);
    expect(refused.err).toMatch(/RATE_UNSTABLE/);
    expect(refused.err).toMatch(/at most [\d.e+-]+/);
    expect(refused.err).toContain('--allow-unstable');
    // Taken, it does what it was refused for: the loss leaves the finite numbers, or grows.
    const taken = await espalier(['train', 'f', '--out', 'runs/taken', '--allow-unstable', ...sets, ...far]);
    expect(taken.err).not.toContain('RATE_UNSTABLE');
  });
});

describe('espalier train --label-rows', () => {
  it('has what labels are called beside the rows of a file, and settings go on top', async () => {
    const row = (n: number) =>
      `{"text": "red car ${n % 7} apple number${n}", "tags": ["red_car", "apple ${n % 7}"]}`;
    await writeFile(join(home, 'tags.jsonl'), Array.from({ length: 60 }, (_, n) => row(n)).join('\n'));
    const made = ['data', '--from', 'tags.jsonl', '--text', 'text', '--labels', 'tags', '--out', 'tags'];
    await writeFile(join(home, 'meant.csv'), 'label,text\nred_car,a crimson wagon\n');
    const meant = await espalier([...made, '--label-texts', 'meant.csv']);
    expect(meant).toMatchObject({ code: 0 });
    expect(meant.out).toMatch(/^1 of the labels have a text of their own/m);
    const few = ['train', 'tags', '--epochs', '1', ...settings, '--label-rows'];
    const trained = await espalier([...few, '--out', 'runs/tags', '--set', 'labelRows.share=2']);
    expect(trained).toMatchObject({ code: 0 });
    expect(trained.err + trained.out).toMatch(/training on \d+ rows and 7 of labels, /);
    const { labelRows } = JSON.parse(await readFile(join(home, 'runs/tags/config.json'), 'utf8'));
    expect(labelRows).toEqual({ share: 2, until: 0.75 });
    expect(await espalier(['plan', 'tags', ...settings, '--label-rows'])).toMatchObject({ code: 0 });
  });
});

describe('refusals: one clear error, exit 2 for usage and 1 for data, nothing half-written', () => {
  it.each([
    ['an unknown command', ['trian'], 2, /train/],
    ['an unknown flag', ['train', '--epoch', '3'], 2, /--epochs/],
    ['an unknown setting', ['train', 'd', '--out', 'x', '--set', 'epoch=3'], 2, /epochs/],
    ['a wrong type', ['train', 'd', '--out', 'x', '--set', 'batch=many'], 2, /batch/],
    ['rows of labels without words', ['train', 'd', '--out', 'x', '--label-rows'], 2, /LABEL_ROWS.*leave/s],
    ['a dataset that is not there', ['train', 'nowhere', '--out', 'x'], 2, /espalier data/],
    ['a misspelt dataset', ['data', 'wordnet-relatd', '--out', 'x'], 2, /wordnet-related/],
    ['no source', ['data', '--out', 'x'], 2, /--from/],
    ['a split that is not there', ['evaluate', 'run', 'd', '--split', 'dev'], 2, /validation/],
    ['rare labels favoured by too much', ['predict', 'run', '--rare', '11'], 2, /from 0 to 10/],
    ['a list of favours that is none', ['evaluate', 'run', 'd', '--rare', '1,,2'], 2, /with commas/],
    [
      'a picture of several orders',
      ['evaluate', 'run', 'd', '--rare', '0,1', '--picture', 'x'],
      2,
      /one number/,
    ],
    [
      'an evaluation of some labels to keep',
      ['evaluate', 'run', 'd', '--exclude-pairs', 'pairs.txt', '--save'],
      2,
      /--save without --exclude-pairs/,
    ],
    [
      'pairs that are none',
      ['evaluate', 'run', 'd', '--exclude-pairs', 'run/config.json'],
      1,
      /no pair.*line|line.*no pair/s,
    ],
    ['an order to keep', ['evaluate', 'run', 'd', '--rare', '1', '--save'], 2, /--save without --rare/],
    ['a model that is not there', ['predict', 'nothing'], 2, /nothing/],
    ['a file that is not there', ['data', '--from', 'absent.txt', '--out', 'x'], 1, /absent\.txt/],
  ])('%s', async (_name, args, code, words) => {
    const ended = await espalier(args);
    expect(`${ended.out}${ended.err}`).toMatch(words);
    expect([1, 2]).toContain(ended.code);
    expect(ended.code).toBe(code);
    expect(existsSync(join(home, 'x'))).toBe(false);
  });

  it.each([
    ['an empty file', ''],
    ['a malformed line', '2 5 3\n0 1:1\n1 2;7\n'],
    ['an index out of range', '1 5 3\n0 9:1\n'],
    ['a label beyond L', '1 5 3\n3 1:1\n'],
    ['a feature that is NaN', '1 5 3\n0 1:NaN\n'],
    ['missing rows', '3 5 3\n0 1:1\n'],
  ])('bad data, %s: names the file, exit 1, no dataset', async (_name, text) => {
    await writeFile(join(home, 'bad.txt'), text);
    const ended = await espalier(['data', '--from', 'bad.txt', '--out', 'bad-out']);
    expect(ended.code).toBe(1);
    expect(ended.err).toContain('bad.txt');
    expect(ended.err).toContain('what to do:');
    expect(existsSync(join(home, 'bad-out'))).toBe(false);
  });

  it('a model file with a lying header is refused with its place', async () => {
    await cp(join(home, 'run/model'), join(home, 'liar'), { recursive: true });
    const file = join(home, 'liar/model.safetensors');
    const bytes = await readFile(file);
    bytes.writeBigUInt64LE(BigInt(2) ** BigInt(40), 0);
    await writeFile(file, bytes);
    const ended = await espalier(['predict', 'liar', '--features'], '1:1\n');
    expect(ended.code).toBe(1);
    expect(ended.err).toContain('model.safetensors');
    expect(ended.out).toBe('');
  });
});

describe('doctor', () => {
  it('says which kernels run and why, and what to do on the reference backend', async () => {
    const forced = await espalier(['doctor', '--json'], '', { ESPALIER_BACKEND: 'reference' });
    expect(JSON.parse(forced.out)).toMatchObject({ backend: 'reference/float32' });
    const free = await espalier(['doctor']);
    expect(free.out).toMatch(/^kernels +(native|reference)/m);
    expect(free.code).toBe(0);
  });
});
