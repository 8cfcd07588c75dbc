/** Directories and files that live as long as one test. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { EspalierError } from '../errors.js';

export async function scratchDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'espalier-store-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

export async function scratchFile(content: Uint8Array | string, name = 'x.safetensors'): Promise<string> {
  const path = join(await scratchDirectory(), name);
  await writeFile(path, content);
  return path;
}

/** The refusal of `work`; anything but an `EspalierError` fails the test. */
export async function refusalOf(work: () => unknown): Promise<EspalierError> {
  try {
    await work();
  } catch (error) {
    expect(error).toBeInstanceOf(EspalierError);
    return error as EspalierError;
  }
  throw new Error('nothing was refused');
}

/** The bytes of a safetensors file with this header text and this much data. */
export function fileBytes(header: string | object, data: Uint8Array = new Uint8Array(0)): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header), 'utf8');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, data]);
}
