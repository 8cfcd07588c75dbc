import { appendFile, mkdir, mkdtemp, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LogDigest } from './digest.js';
import { LogTail } from './log-tail.js';
import { evilName, fakeLog, makeRun } from './run.testing.js';
import { RunSet, readRun } from './run-set.js';
import { GrowingTable, Thinned } from './table.js';

let home: string;
let next = 0;
const scratch = async () => {
  const path = join(home, `run-${next++}`);
  await mkdir(path);
  return path;
};
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'espalier-reports-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

function follow(path: string) {
  const seen = { lines: [] as string[], tooLong: 0, resets: 0 };
  const tail = new LogTail(path, {
    line: (bytes) => seen.lines.push(bytes.toString()),
    tooLong: () => seen.tooLong++,
    reset: () => {
      seen.resets++;
      seen.lines = [];
    },
  });
  return { tail, seen };
}

describe('a log that is followed', () => {
  it('gives every whole line once, wherever writes and reads end', async () => {
    const text = 'ä\n{"a":1}\n\nlong line of some length\nß';
    const bytes = Buffer.from(text);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 6 }), async (cuts) => {
        const path = join(await scratch(), 'log.jsonl');
        const { tail, seen } = follow(path);
        let from = 0;
        for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
          await appendFile(path, bytes.subarray(from, to));
          from = Math.max(from, to);
          await tail.read(1e6);
        }
        expect(seen).toEqual({ lines: text.split('\n').slice(0, -1), tooLong: 0, resets: 0 });
      }),
      { numRuns: 30 },
    );
  });

  it('that is not there yet appears later; removed and made anew, it is read anew', async () => {
    const path = join(await scratch(), 'log.jsonl');
    const { tail, seen } = follow(path);
    expect(await tail.read(1e6)).toBe(false);
    await writeFile(path, 'a\nb\n');
    await tail.read(1e6);
    expect(seen.lines).toEqual(['a', 'b']);
    await rm(path);
    await tail.read(1e6);
    expect(seen).toEqual({ lines: [], tooLong: 0, resets: 1 });
    await writeFile(path, 'c\n');
    await tail.read(1e6);
    expect(seen.lines).toEqual(['c']);
  });

  it('cut for resuming, rotated, or rewritten in place beyond its old length: read from its start', async () => {
    const changes: [(path: string) => Promise<unknown>, string[]][] = [
      [(path) => truncate(path, 2), ['a']],
      [
        async (path) => {
          await rename(path, `${path}.1`);
          await writeFile(path, 'x\ny\nz\n');
        },
        ['x', 'y', 'z'],
      ],
      [
        async (path) => {
          await truncate(path, 2);
          await appendFile(path, 'other\nlines\n');
        },
        ['a', 'other', 'lines'],
      ],
    ];
    for (const [change, wanted] of changes) {
      const path = join(await scratch(), 'log.jsonl');
      const { tail, seen } = follow(path);
      await writeFile(path, 'a\nb\nc\n');
      await tail.read(1e6);
      await change(path);
      await tail.read(1e6);
      expect([seen.lines, seen.resets]).toEqual([wanted, 1]);
    }
  });

  it('passes over lines that are too long to be records, and goes on behind them', async () => {
    const path = join(await scratch(), 'log.jsonl');
    const { tail, seen } = follow(path);
    await writeFile(path, `a\n${'x'.repeat(3 << 20)}\nb\n`);
    await tail.read(1e9);
    expect(seen).toEqual({ lines: ['a', 'b'], tooLong: 1, resets: 0 });
  });
});

describe('tables', () => {
  it('hold any number of records in bounded memory: last step, mean and range are kept', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 300 }),
        (values) => {
          const table = new GrowingTable(['x'], 16);
          for (const [i, x] of values.entries()) table.add({ step: i, epoch: null, seconds: i }, { x });
          const { step, stride, columns } = table.table();
          expect(step.length).toBeLessThanOrEqual(16);
          expect(step[step.length - 1]).toBe(values.length - 1);
          const { mean, low } = columns.x;
          const lows = stride > 1 ? low : mean;
          expect(Math.min(...lows.map((x) => x ?? 0))).toBeCloseTo(
            Number(Math.min(...values).toPrecision(7)),
            0,
          );
          const sizes = step.map((s, i) => s - (i === 0 ? -1 : step[i - 1]));
          const sum = mean.reduce((total: number, x, i) => total + (x ?? 0) * sizes[i], 0);
          const scale = values.reduce((total, x) => total + Math.abs(x), 1);
          expect(Math.abs(sum - values.reduce((a, b) => a + b, 0)) / scale).toBeLessThan(1e-6);
        },
      ),
    );
  });

  it('thinned lists keep the first, the newest and at most so many', () => {
    const list = new Thinned<number>(10);
    for (let i = 0; i < 1_000; i++) {
      list.add(i);
      const items = list.items();
      expect([items[0], items[items.length - 1]]).toEqual([0, i]);
      expect(items.length).toBeLessThanOrEqual(11);
    }
  });
});

describe('a run', () => {
  it('is told from its files: status, scores, memory, topology, evaluation', async () => {
    const path = await scratch();
    await makeRun(path, { steps: 400 });
    const run = await readRun(path);
    expect(run).toMatchObject({
      status: 'finished',
      output: 'fan-in 128',
      labels: 109_103,
      step: 400,
      problems: [],
    });
    expect(run.seconds).toBeCloseTo(40, 6);
    expect(run.progress.columns.loss.mean).toHaveLength(400);
    expect(run.validations).toHaveLength(8);
    expect(run.validations[7].buckets?.tail['5'].recall).toBeGreaterThan(0);
    expect(Object.keys(run.memory.columns)).toContain('optimizer');
    expect(run.snapshots).toHaveLength(20);
    expect(run.rewires.columns.replacedShare.mean[0]).toBeCloseTo(1.9e6 / 13_965_184, 6);
    expect(run.evaluations[0].confusion?.labels[4].name).toBe(evilName);
    expect(JSON.parse(JSON.stringify(run))).toEqual(run);
  });

  it('with broken lines, a broken config and a broken evaluation tells the rest, and what is broken', async () => {
    const path = await scratch();
    await makeRun(path, { steps: 40 });
    const lines = fakeLog({ steps: 40 });
    const hostile = [
      '{"t":1,"event":',
      'null',
      '[1]',
      '{"t":"x","event":"progress","step":1}',
      '{"t":1,"event":"validation","step":"many"}',
      '{"t":1700000000001,"event":"snapshot","step":1,"weights":"none"}',
      '{"t":1700000000001,"event":"memory","step":1,"bytes":[]}',
      `{"t":1700000000001,"event":"${evilName.replaceAll('"', '')}","step":1,"__proto__":{"polluted":1}}`,
      '\u0000\uffff',
    ];
    await writeFile(
      join(path, 'log.jsonl'),
      [...lines.slice(0, 5), ...hostile, ...lines.slice(5), '{"t":17'].join('\n'),
    );
    await writeFile(join(path, 'config.json'), '{ not json');
    await writeFile(join(path, 'evaluations/test.json'), '{"format":"espalier-evaluation","version":2}');
    const run = await readRun(path);
    expect(run.status).toBe('finished');
    expect(run.progress.step).toHaveLength(40);
    expect(run.problems.join('\n')).toMatch(/8 lines of the log are no records; the first is line 6/);
    expect(run.problems.join('\n')).toMatch(/config\.json cannot be read/);
    expect(run.problems.join('\n')).toMatch(/evaluations\/test\.json is no evaluation/);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  });

  it('of a log of a gigabyte holds no more than of a small one, and looks at some of its progress only', () => {
    const digest = new LogDigest();
    digest.expect(1 << 30);
    const lines = fakeLog({ steps: 200 }).map((line) => Buffer.from(line));
    for (let round = 0; round < 50; round++) for (const line of lines) digest.line(line);
    const report = digest.report();
    expect(report.events.progress).toBe(10_000);
    expect(report.progress.step.length).toBeLessThanOrEqual(600);
    expect(JSON.stringify(report).length).toBeLessThan(800_000);
    expect(report.problems).toEqual(['the log is large: of progress, every 16th record is shown']);
  });

  it('that is resumed goes on: pauses are taken out of its time, an end before is void', () => {
    const digest = new LogDigest();
    const lines = fakeLog({ steps: 40, taken: 20 });
    const later = fakeLog({ steps: 40, began: 1_700_009_000_000 });
    for (const line of [...lines, later[0], ...later.slice(21)]) digest.line(Buffer.from(line));
    const { seconds, ended, step } = digest.summary();
    expect([ended, step]).toEqual([true, 40]);
    expect(seconds).toBeCloseTo(2 + 4, 6);
  });
});

describe('many runs', () => {
  it('are found at any depth, also those that come later, without following links into models', async () => {
    const root = await scratch();
    await makeRun(join(root, 'a'));
    await makeRun(join(root, 'deep/er/b'));
    await makeRun(join(root, 'a/checkpoints/c'));
    const set = new RunSet([root]);
    await set.update();
    expect(set.summaries().map(({ name }) => name)).toEqual(['a', 'deep/er/b']);
    await makeRun(join(root, 'late'), { taken: 10 });
    await expect
      .poll(
        async () => {
          await set.update();
          return set.summaries().map(({ name }) => name);
        },
        { timeout: 10_000, interval: 300 },
      )
      .toEqual(['a', 'deep/er/b', 'late']);
    const late = set.summaries()[2];
    expect(late.status).toBe('stopped');
    await appendFile(
      join(late.directory, 'log.jsonl'),
      `${fakeLog({ taken: 11, began: Date.now() }).slice(-1)[0]}\n`,
    );
    const { runs } = await set.update();
    const [[run, change]] = [...runs];
    expect([run.name, change.points.map(({ step }) => step), run.summary().status]).toEqual([
      'late',
      [11],
      'running',
    ]);
  });
});
