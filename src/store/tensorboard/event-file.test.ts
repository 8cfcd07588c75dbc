import { execFileSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf, scratchDirectory } from '../scratch.testing.js';
import { crc32c, maskedCrc32c } from './crc32c.js';
import { EventFile, frame } from './event-file.js';

/** One field of a message, as any decoder of protocol buffers sees it. */
interface Field {
  readonly number: number;
  readonly type: number;
  readonly value: number | bigint | Buffer;
}

/** An independent reading: 64-bit varints as BigInt, floats by Buffer. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const skip = (length: number): number => {
    at += length;
    return at - length;
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const type = key & 7;
    let value: Field['value'];
    if (type === 0) value = varint();
    else if (type === 1) value = bytes.readDoubleLE(skip(8));
    else if (type === 5) value = bytes.readFloatLE(skip(4));
    else {
      const length = Number(varint());
      value = bytes.subarray(skip(length), at);
      expect(value.length).toBe(length);
    }
    fields.push({ number: key >> 3, type, value });
  }
  return fields;
}

/** The slow definition of CRC-32C, a bit at a time, most significant first, on reflected input. */
function slowCrc32c(bytes: Uint8Array): number {
  const reflect = (x: bigint, bits: number) =>
    BigInt(`0b${[...x.toString(2).padStart(bits, '0')].reverse().join('')}`);
  let c = 0xffffffffn;
  for (const byte of bytes) {
    c ^= reflect(BigInt(byte), 8) << 24n;
    for (let bit = 0; bit < 8; bit++) c = c & 0x80000000n ? ((c << 1n) ^ 0x1edc6f41n) & 0xffffffffn : c << 1n;
  }
  return Number(reflect(c ^ 0xffffffffn, 32));
}

function recordsOf(bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  const masked = (part: Uint8Array) => {
    const c = BigInt(slowCrc32c(part));
    return Number((((c >> 15n) | (c << 17n)) + 0xa282ead8n) & 0xffffffffn);
  };
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    expect(bytes.readUInt32LE(at + 8)).toBe(masked(bytes.subarray(at, at + 8)));
    const data = bytes.subarray(at + 12, at + 12 + length);
    expect(bytes.readUInt32LE(at + 12 + length)).toBe(masked(data));
    records.push(data);
    at += 16 + length;
  }
  return records;
}

const field = (fields: Field[], number: number) => fields.find((one) => one.number === number)?.value;
const doubles = (packed: Buffer) =>
  Array.from({ length: packed.length / 8 }, (_, i) => packed.readDoubleLE(8 * i));

describe('checksums', () => {
  it('are those of RFC 3720, and of the definition for any bytes', () => {
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
    expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    fc.assert(fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => crc32c(bytes) === slowCrc32c(bytes)));
    expect(maskedCrc32c(Buffer.from('123456789'))).toBeGreaterThanOrEqual(0);
  });
});

describe('event files', () => {
  it('read back by an independent decoder: version, start, scalars, histograms', async () => {
    const directory = join(await scratchDirectory(), 'tensorboard');
    const events = EventFile.create(directory, { step: 300, now: () => 1_700_000_000_500 });
    const step = 2 ** 40 + 129;
    events.write(step, {
      scalars: { 'train/loss': 0.1, 'größe/<b>': Number.POSITIVE_INFINITY },
      histograms: { weights: { from: -1, to: 1, shares: [0.25, 0, 0.75, 0], count: 8 } },
    });
    events.close();
    const [version, start, values, ...none] = recordsOf(await readFile(events.path)).map(fieldsOf);
    expect(none).toEqual([]);
    expect(field(version, 3)).toEqual(Buffer.from('brain.Event:2'));
    expect(field(version, 1)).toBe(1_700_000_000.5);
    expect(field(start, 2)).toBe(300n);
    expect(fieldsOf(field(start, 7) as Buffer)).toEqual([{ number: 1, type: 0, value: 1n }]);
    expect(field(values, 2)).toBe(BigInt(step));
    const [loss, odd, weights] = fieldsOf(field(values, 5) as Buffer).map(({ value }) =>
      fieldsOf(value as Buffer),
    );
    expect([String(field(loss, 1)), field(loss, 2)]).toEqual(['train/loss', Math.fround(0.1)]);
    expect([String(field(odd, 1)), field(odd, 2)]).toEqual(['größe/<b>', Number.POSITIVE_INFINITY]);
    const histogram = fieldsOf(field(weights, 5) as Buffer);
    expect([1, 2, 3].map((n) => field(histogram, n))).toEqual([-1, 1, 8]);
    // 2 values at -0.75 and 6 at 0.25
    expect([field(histogram, 4), field(histogram, 5)]).toEqual([0, 1.5]);
    expect(doubles(field(histogram, 6) as Buffer)).toEqual([-0.5, 0, 0.5, 1]);
    expect(doubles(field(histogram, 7) as Buffer)).toEqual([2, 0, 6, 0]);
  });

  it('any framed bytes come back, one record after the other', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (parts) => {
        expect(recordsOf(Buffer.concat(parts.map(frame)))).toEqual(parts.map((part) => Buffer.from(part)));
      }),
      { numRuns: 30 },
    );
  });

  it('a second file of the same second stands beside the first; a step that is none is refused', async () => {
    const directory = await scratchDirectory();
    const files = [0, 1].map(() => EventFile.create(directory, { step: 0, now: () => 1 }));
    expect(await readdir(directory)).toHaveLength(2);
    expect((await refusalOf(() => files[0].write(0.5, {}))).code).toBe('EVENT_STEP');
    for (const file of files) file.close();
  });

  const board = (() => {
    try {
      execFileSync('python3', ['-c', 'import tensorboard'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  })();
  it.skipIf(!board)("TensorBoard's own reader agrees (skipped where Python has no tensorboard)", async () => {
    const events = EventFile.create(await scratchDirectory(), { step: 0 });
    events.write(7, { scalars: { loss: 0.5 } });
    events.close();
    const program =
      'import sys\nfrom tensorboard.backend.event_processing.event_file_loader import EventFileLoader\n' +
      'print([(e.step, v.tag) for e in EventFileLoader(sys.argv[1]).Load() for v in e.summary.value])';
    expect(String(execFileSync('python3', ['-c', program, events.path]))).toContain("(7, 'loss')");
  });
});
