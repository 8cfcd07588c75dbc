/** Tensors over several safetensors files, each under 4 GiB, with an index of which is where. */
import { readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { withFileErrors } from '../files.js';
import { type WrittenFile, writeChecked } from './checksum.js';
import { quoted, type TensorInfo, unsound } from './safetensors-header.js';
import { infoOf, openSafetensors, type TensorSource } from './safetensors-reader.js';
import {
  checkedEntries,
  type Entry,
  type StoredArray,
  type WriteOptions,
  writeEntries,
} from './safetensors-writer.js';

/**
 * Writes `<stem>.safetensors` into a directory, or, when that would pass `maxBytes`, files
 * `<stem>-00001-of-0000N.safetensors` with `<stem>.safetensors.index.json` beside them (which tensor is where).
 * A single tensor is never divided: one larger than `maxBytes` gets a file of its own.
 *
 * @param options.maxBytes largest file, default just under 4 GiB
 */
export async function writeShards(
  directory: string,
  stem: string,
  arrays: Iterable<StoredArray>,
  options: WriteOptions & { readonly maxBytes?: number } = {},
): Promise<WrittenFile[]> {
  const metadata = options.metadata ?? {};
  const shards = divide(checkedEntries(arrays), options.maxBytes ?? 2 ** 32 - 1, metadata);
  if (shards.length === 1)
    return [await writeEntries(join(directory, `${stem}.safetensors`), shards[0], metadata)];
  const files: WrittenFile[] = [];
  const places: [string, string][] = [];
  const five = (n: number) => String(n).padStart(5, '0');
  let total = 0;
  for (const [i, shard] of shards.entries()) {
    const name = `${stem}-${five(i + 1)}-of-${five(shards.length)}.safetensors`;
    files.push(await writeEntries(join(directory, name), shard, metadata));
    for (const entry of shard) {
      places.push([entry.name, name]);
      total += entry.bytes;
    }
  }
  // NOTE: fromEntries, not assignment: a tensor may be called `__proto__`.
  const index = { metadata: { ...metadata, total_size: total }, weight_map: Object.fromEntries(places) };
  const path = join(directory, `${stem}.safetensors.index.json`);
  files.push(await writeChecked(path, `${JSON.stringify(index, null, 2)}\n`));
  return files;
}

function divide(entries: Entry[], maxBytes: number, metadata: Readonly<Record<string, string>>): Entry[][] {
  const fixed = 32 + Buffer.byteLength(JSON.stringify(metadata));
  const shards: Entry[][] = [[]];
  let used = fixed;
  for (const entry of entries) {
    // An upper bound of the entry's part of the header: two offsets of 16 digits and the punctuation.
    const header = Buffer.byteLength(JSON.stringify([entry.name, entry.shape])) + 96;
    const size = entry.bytes + header;
    if (used + size > maxBytes && shards[shards.length - 1].length > 0) {
      shards.push([]);
      used = fixed;
    }
    shards[shards.length - 1].push(entry);
    used += size;
  }
  return shards;
}

/**
 * Opens the tensors that `writeShards` wrote: `<stem>.safetensors`, or `<stem>.safetensors.index.json` and the
 * files that it names.
 */
export async function openShards(directory: string, stem: string): Promise<TensorSource> {
  const single = join(directory, `${stem}.safetensors`);
  const index = `${single}.index.json`;
  const there = await stat(index).then(
    () => true,
    () => false,
  );
  return there ? openIndex(index) : openSafetensors(single);
}

/** Opens an index of sharded safetensors files; every tensor must be in the file that the index says. */
export async function openIndex(path: string): Promise<TensorSource> {
  const places = readPlaces(await indexText(path), path);
  const sources = new Map<string, TensorSource>();
  const close = async () => {
    for (const source of sources.values()) await source.close();
  };
  try {
    for (const file of new Set(places.values()))
      sources.set(file, await openSafetensors(join(dirname(path), file)));
    const tensors = new Map<string, TensorInfo>();
    for (const [name, file] of places)
      tensors.set(name, infoOf(sources.get(file)!.tensors, name, join(dirname(path), file)));
    const metadata = new Map([...sources.values()].flatMap((source) => [...source.metadata]));
    const sourceOf = (name: string) => sources.get(places.get(name) ?? '');
    const missing = (name: string): never => infoOf(tensors, name, path) as never;
    return {
      tensors,
      metadata,
      read: async (name) => (sourceOf(name) ?? missing(name)).read(name),
      readInto: async (name, target) => (sourceOf(name) ?? missing(name)).readInto(name, target),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

const largestIndex = 64 << 20;

async function indexText(path: string): Promise<string> {
  return withFileErrors('openIndex', path, async () => {
    const { size } = await stat(path);
    if (size > largestIndex) {
      throw unsound('SAFETENSORS_INDEX', path, 'the index is not plausible', {
        expected: `at most ${largestIndex} bytes`,
        received: `${size} bytes`,
      });
    }
    return readFile(path, 'utf8');
  });
}

function readPlaces(text: string, path: string): Map<string, string> {
  let map: unknown;
  try {
    map = JSON.parse(text)?.weight_map;
  } catch (cause) {
    throw unsound('SAFETENSORS_INDEX', path, 'the index is not JSON', { received: `${cause}` });
  }
  const places = new Map<string, string>();
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw unsound('SAFETENSORS_INDEX', path, 'the index has no weight_map', { received: quoted(map) });
  }
  for (const [name, file] of Object.entries(map)) {
    // A file name, never a path: an index must not reach outside its directory.
    if (typeof file !== 'string' || !/^[^/\\\0]+\.safetensors$/.test(file)) {
      throw unsound(
        'SAFETENSORS_INDEX',
        path,
        `the index puts tensor ${quoted(name)} in no safetensors file beside it`,
        {
          received: quoted(file),
        },
      );
    }
    places.set(name, file);
  }
  return places;
}
