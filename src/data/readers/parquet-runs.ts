/**
 * Runs of levels and of dictionary indices in the pages of a Parquet file, walked before they are decoded: a run says how
 * many values it stands for, and the decoder writes as many, whatever the page has room for.
 * Apache Parquet, Encodings.md: run length encoding and bit packing hybrid.
 */
import {
  type AsyncBuffer,
  type FileMetaData,
  parquetSchema,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { codecs } from './parquet-codecs.js';
import { type Page, pagesOf } from './parquet-guard.js';

/** Values that a last run may have beyond those of its page: writers fill up groups of eight, some of them many. */
const SLACK = 512;
/** Kinds of pages and of encodings, by the numbers of the format. */
const DATA = 0;
const DATA_V2 = 3;
const BY_DICTIONARY = [2, 8];
const RUNS = 3;

/** Levels of a column at their deepest. */
interface Levels {
  readonly repetition: number;
  readonly definition: number;
}

/** Throws where a run of the `wanted` columns of a group is longer than its page has values. */
export async function checkRuns(
  file: AsyncBuffer,
  metadata: FileMetaData,
  group: RowGroup,
  wanted: readonly string[],
): Promise<void> {
  const root = parquetSchema(metadata);
  for (const chunk of group.columns) {
    const meta = chunk.meta_data;
    if (meta === undefined || !wanted.includes(meta.path_in_schema[0])) continue;
    const levels = levelsOf(root, meta.path_in_schema);
    const unpack = (bytes: Uint8Array, size: number) =>
      meta.codec === 'UNCOMPRESSED' ? bytes : codecs[meta.codec]?.(bytes, size);
    for await (const page of pagesOf(file, chunk)) {
      const kind = page.number('1');
      if (kind !== DATA && kind !== DATA_V2) continue;
      checkHeader(page, kind);
      const bytes = new Uint8Array(await file.slice(page.body, endOfRuns(page, kind)));
      if (kind === DATA) checkData(page, unpack(bytes, page.number('2')), levels, meta.type === 'BOOLEAN');
      else checkDataV2(page, bytes, unpack, levels);
    }
  }
}

/** What the format requires of a header and the decoder takes for granted: without a length it counts from nowhere. */
function checkHeader(page: Page, kind: number): void {
  if (page.number('8.5') < 0 || page.number('8.6') < 0) throw new Error('levels of less than no bytes');
  for (const field of kind === DATA ? ['5.1', '5.2'] : ['8.1', '8.2', '8.4', '8.5', '8.6'])
    if (!page.has(field)) throw new Error(`a page whose header has no field ${field}`);
}

/** Levels of the second kind of pages lie by themselves: values that are no runs need not be read for them. */
function endOfRuns(page: Page, kind: number): number {
  const encoding = page.number('8.4');
  if (kind === DATA || encoding === RUNS || BY_DICTIONARY.includes(encoding)) return page.next;
  return Math.min(page.next, page.body + page.number('8.5') + page.number('8.6'));
}

function levelsOf(root: SchemaTree, path: readonly string[]): Levels {
  let [repetition, definition] = [0, 0];
  let node: SchemaTree | undefined = root;
  for (const name of path) {
    node = node?.children.find(({ element }) => element.name === name);
    const kind = node?.element.repetition_type;
    if (kind === 'REPEATED') repetition++;
    if (kind !== 'REQUIRED') definition++;
  }
  return { repetition, definition };
}

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const widthOf = (level: number) => 32 - Math.clz32(level);

/** Levels with their lengths, then values, all packed as one. Of a codec that is not known, the decoder will say so. */
function checkData(page: Page, bytes: Uint8Array | undefined, levels: Levels, isBoolean: boolean): void {
  if (bytes === undefined) return;
  const view = viewOf(bytes);
  const count = page.number('5.1');
  let at = 0;
  let values = count;
  if (levels.repetition > 0) {
    walkRuns(view, 4, widthOf(levels.repetition), count);
    at = 4 + view.getUint32(0, true);
  }
  if (levels.definition > 0) {
    values = walkRuns(view, at + 4, widthOf(levels.definition), count, levels.definition);
    at += 4 + view.getUint32(at, true);
  }
  const encoding = page.number('5.2');
  if (BY_DICTIONARY.includes(encoding) || (encoding === RUNS && !isBoolean)) {
    const width = view.getUint8(at);
    if (width > 0) walkRuns(view, at + 1, width, values);
  } else if (encoding === RUNS) walkRuns(view, at + 4, 1, values);
}

/** Levels as they are, of lengths in the header, then values, packed or not. */
function checkDataV2(
  page: Page,
  bytes: Uint8Array,
  unpack: (bytes: Uint8Array, size: number) => Uint8Array | undefined,
  levels: Levels,
): void {
  const [count, nulls, encoding] = [page.number('8.1'), page.number('8.2'), page.number('8.4')];
  const [definitions, repetitions] = [page.number('8.5'), page.number('8.6')];
  const view = viewOf(bytes.subarray(0, repetitions + definitions));
  if (levels.repetition > 0) walkRuns(view, 0, widthOf(levels.repetition), count);
  if (levels.definition > 0) walkRuns(view, repetitions, widthOf(levels.definition), count);
  const isDictionary = BY_DICTIONARY.includes(encoding);
  if (!isDictionary && encoding !== RUNS) return;
  const rest = bytes.subarray(repetitions + definitions);
  const isPacked = !page.has('8.7') || page.number('8.7') === 1;
  const unpacked = isPacked ? unpack(rest, page.number('2') - repetitions - definitions) : rest;
  if (unpacked === undefined) return;
  const values = viewOf(unpacked);
  if (isDictionary) walkRuns(values, 1, values.getUint8(0), count - nulls);
  else walkRuns(values, 4, 1, count - nulls);
}

/**
 * Walks the runs of `values` numbers of `width` bits that begin at `at`.
 *
 * @returns how many of them are `wanted`
 */
function walkRuns(view: DataView, at: number, width: number, values: number, wanted = -1): number {
  let found = 0;
  for (let seen = 0; seen < values; ) {
    let header = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= view.byteLength) throw new Error(`runs of ${seen} values where ${values} are spoken of`);
      const byte = view.getUint8(at++);
      header += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
      if (shift > 28) throw new Error('a run of a length of too many bytes');
    }
    const isPacked = header % 2 === 1;
    const count = isPacked ? (header - 1) * 4 : header / 2;
    const left = values - seen;
    if (count > left + SLACK) throw new Error(`a run of ${count} values where ${left} are left`);
    const taken = Math.min(count, left);
    if (isPacked) {
      for (let i = 0; wanted >= 0 && i < taken; i++)
        if (bitsOf(view, 8 * at + i * width, width) === wanted) found++;
      at += (count * width) / 8;
    } else {
      if (wanted >= 0 && bitsOf(view, 8 * at, width) === wanted) found += taken;
      at += (width + 7) >> 3;
    }
    seen += count;
  }
  return found;
}

/** A number of so many bits, the lowest first; what is not there counts as zeros, as the decoder has it. */
function bitsOf(view: DataView, from: number, width: number): number {
  let value = 0;
  for (let bit = 0; bit < width; bit++) {
    const at = (from + bit) >> 3;
    if (at < view.byteLength) value |= ((view.getUint8(at) >> ((from + bit) & 7)) & 1) << bit;
  }
  return value;
}
