import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { blockBytes } from './checksum.js';
import { type LogRecord, RunLog, readRunLog } from './run-log.js';
import { refusalOf, scratchDirectory, scratchFile } from './scratch.testing.js';

async function recordsOf(path: string): Promise<LogRecord[]> {
  const records: LogRecord[] = [];
  for await (const record of readRunLog(path)) records.push(record);
  return records;
}

async function scratchLog(): Promise<string> {
  return join(await scratchDirectory(), 'run/log.jsonl');
}

describe('writing', () => {
  test('every record is in the file when write returns, with its time first', async () => {
    const path = await scratchLog();
    const log = RunLog.open(path, { now: () => 17 });
    log.write({ event: 'step', step: 1, loss: 0.5, text: 'a\nb\u2028' });
    expect(await readFile(path, 'utf8')).toBe(
      '{"t":17,"event":"step","step":1,"loss":0.5,"text":"a\\nb\u2028"}\n',
    );
    log.write({ event: 'step', step: 2, loss: Number.NaN });
    log.sync();
    expect(await recordsOf(path)).toEqual([
      { t: 17, event: 'step', step: 1, loss: 0.5, text: 'a\nb\u2028' },
      { t: 17, event: 'step', step: 2, loss: Number.NaN },
    ]);
    log.close();
  });

  test('position is the size of the file, and opening again goes on there', async () => {
    const path = await scratchLog();
    for (let round = 1; round <= 3; round++) {
      const log = RunLog.open(path);
      log.write({ event: 'é', step: round });
      expect(log.position()).toBe((await readFile(path)).length);
      log.close();
    }
    expect((await recordsOf(path)).map(({ step }) => step)).toEqual([1, 2, 3]);
  });

  test('a resumed run: the log is cut at the position of the checkpoint and continued', async () => {
    const path = await scratchLog();
    const log = RunLog.open(path);
    log.write({ event: 'step', step: 1 });
    const position = log.position();
    log.write({ event: 'step', step: 2, abandoned: true });
    log.close();
    const again = RunLog.open(path);
    again.truncateTo(position);
    expect(again.position()).toBe(position);
    again.write({ event: 'step', step: 2 });
    again.truncateTo(again.position());
    again.close();
    const records = await recordsOf(path);
    expect(records.map(({ step, abandoned }) => [step, abandoned])).toEqual([
      [1, undefined],
      [2, undefined],
    ]);
  });

  test('positions that no record ends at are refused and change nothing', async () => {
    const path = await scratchLog();
    const log = RunLog.open(path);
    log.write({ event: 'step', step: 1 });
    const before = await readFile(path, 'utf8');
    for (const position of [-1, 0.5, 3, before.length - 1, before.length + 1, Number.NaN]) {
      expect((await refusalOf(() => log.truncateTo(position))).code).toBe('LOG_POSITION');
    }
    expect(await readFile(path, 'utf8')).toBe(before);
    log.truncateTo(0);
    log.close();
    expect(await readFile(path, 'utf8')).toBe('');
  });

  test('a log cut off at any byte opens at the end of its last whole record', async () => {
    const path = await scratchLog();
    const log = RunLog.open(path, { now: () => 1 });
    for (let step = 0; step < 3; step++) log.write({ event: 'ü', step });
    log.close();
    const whole = await readFile(path);
    for (let length = 0; length <= whole.length; length++) {
      await writeFile(path, whole.subarray(0, length));
      const read = (await recordsOf(path)).length;
      expect(read).toBe(whole.subarray(0, length).filter((byte) => byte === 10).length);
      const again = RunLog.open(path, { now: () => 1 });
      again.write({ event: 'next', step: 9 });
      again.close();
      expect((await recordsOf(path)).map(({ step }) => step)).toEqual([...[0, 1, 2].slice(0, read), 9]);
    }
  });

  test('a torn end longer than any buffer is cut off too', async () => {
    const path = await scratchFile(`{"t":1,"event":"a","step":1}\n{"x":"${'y'.repeat(200_000)}`, 'log.jsonl');
    RunLog.open(path).close();
    expect(await readFile(path, 'utf8')).toBe('{"t":1,"event":"a","step":1}\n');
  });

  test('records without event or step, and values that JSON loses, are refused and not written', async () => {
    const path = await scratchLog();
    const log = RunLog.open(path);
    expect((await refusalOf(() => log.write({ event: 'a' } as never))).code).toBe('LOG_RECORD');
    expect((await refusalOf(() => log.write({ event: 'a', step: Number.NaN }))).code).toBe('LOG_RECORD');
    expect((await refusalOf(() => log.write({ event: 'a', step: 1, w: new Float32Array(1) }))).code).toBe(
      'JSON_VALUE',
    );
    log.close();
    expect(await readFile(path, 'utf8')).toBe('');
  });
});

describe('reading', () => {
  test('any records come back in order, over lines longer than the read buffer', async () => {
    const path = await scratchLog();
    const long = 'x€'.repeat(blockBytes / 3);
    const log = RunLog.open(path);
    const steps: number[] = [];
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 50 }), fc.boolean(), (text, isLong) => {
        steps.push(steps.length);
        log.write({ event: text, step: steps.length - 1, long: isLong && steps.length < 12 ? long : '' });
      }),
      { numRuns: 200 },
    );
    log.close();
    const records = await recordsOf(path);
    expect(records.map(({ step }) => step)).toEqual(steps);
    expect(records.every((record) => record.long === '' || record.long === long)).toBe(true);
  });

  test('a damaged line is named with file and line', async () => {
    const good = '{"t":1,"event":"a","step":1}\n';
    for (const bad of ['{"t":1,', '', '[]', '{"t":1,"event":"a"}', '{"t":"x","event":"a","step":1}']) {
      const path = await scratchFile(`${good}${good}${bad}\n${good}`, 'log.jsonl');
      const error = await refusalOf(() => recordsOf(path));
      expect(error.facts).toMatchObject({ code: 'JSON_DAMAGED', kind: 'data', file: path, line: 3 });
      expect(error.message).toContain(`${path}:3: `);
    }
  });

  test('bytes that are not UTF-8 are an error within the log and passed over in a torn end', async () => {
    const path = await scratchFile('{"t":1,"event":"a","step":1}\n', 'log.jsonl');
    await appendFile(path, Buffer.from([0x7b, 0x22, 0xe2, 0x82]));
    expect(await recordsOf(path)).toHaveLength(1);
    await appendFile(path, '"}\n');
    expect((await refusalOf(() => recordsOf(path))).facts.line).toBe(2);
  });

  test('a log that is not there is a missing file', async () => {
    const path = join(await scratchDirectory(), 'log.jsonl');
    expect((await refusalOf(() => recordsOf(path))).code).toBe('FILE_MISSING');
  });
});
