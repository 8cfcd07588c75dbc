/**
 * Pairs of a row and a label that are no question: the label is no answer there, as a product is none to itself. The Extreme
 * Classification Repository calls a list of them a filter: a line a pair, the number of the row in its split and that of
 * the label, both from 0.
 */
import { createReadStream } from 'node:fs';
import { EspalierError } from '../errors.js';
import { withFileErrors } from '../files.js';
import { chunkedUint32 } from './chunked.js';
import { LARGEST_COUNT } from './dataset.js';

export interface Exclusions {
  readonly pairs: number;
  /** Of one row. */
  readonly most: number;
  of(row: number): ReadonlySet<number>;
}

const [TAB, LF, CR, SPACE, ZERO] = [9, 10, 13, 32, 48];
const none: ReadonlySet<number> = new Set();

/**
 * Reads pairs for a split of `rows` rows and `labels` labels, in any order; those that stand there twice count once.
 *
 * @throws EspalierError `DATA_EXCLUSIONS` with the line that is no pair, or whose row or label is not there
 * @example const excluded = await readExclusions('filter_labels_test.txt', { rows: 134_835, labels: 131_073 });
 */
export async function readExclusions(
  file: string,
  {
    rows,
    labels,
    chunkBytes,
  }: { readonly rows: number; readonly labels: number; readonly chunkBytes?: number },
): Promise<Exclusions> {
  const [rowOf, labelOf] = [chunkedUint32(), chunkedUint32()];
  const pair = [0, 0];
  // Numbers of the line so far; whether the last of them may go on.
  let [line, found, open] = [1, 0, false];
  const refuse = (problem: string, expected: string, received?: number | string) =>
    new EspalierError({
      ...{ code: 'DATA_EXCLUSIONS', kind: 'data', op: 'readExclusions', problem, expected, file, line },
      ...(received !== undefined && { received: String(received) }),
    });
  const endLine = () => {
    if (found === 0) return;
    if (found === 1) throw refuse('a line has one number alone', 'a row and a label, both counted from 0');
    const [row, label] = pair;
    if (row >= rows) throw refuse('there is no such row', `a row below ${rows}`, row);
    if (label >= labels) throw refuse('there is no such label', `a label below ${labels}`, label);
    rowOf.push(row);
    labelOf.push(label);
  };
  const take = (bytes: Uint8Array) => {
    for (const byte of bytes) {
      const digit = byte - ZERO;
      if (digit >= 0 && digit <= 9) {
        if (!open && found === 2) throw refuse('a line has three numbers', 'a row and a label');
        if (!open) pair[found++] = 0;
        open = true;
        pair[found - 1] = 10 * pair[found - 1] + digit;
        if (pair[found - 1] > LARGEST_COUNT)
          throw refuse('a number is too large', `at most ${LARGEST_COUNT}`);
      } else if (byte === LF) {
        endLine();
        [line, found, open] = [line + 1, 0, false];
      } else if (byte === SPACE || byte === TAB || byte === CR) open = false;
      else
        throw refuse(
          'a line is no pair of numbers',
          'a row and a label, with a space between',
          String.fromCharCode(byte),
        );
    }
  };
  await withFileErrors('readExclusions', file, async () => {
    for await (const bytes of createReadStream(file, { highWaterMark: chunkBytes ?? 1 << 20 })) take(bytes);
  });
  endLine();
  return byRow(rowOf.join(), labelOf.join(), rows);
}

function byRow(rowOf: Uint32Array, labelOf: Uint32Array, rows: number): Exclusions {
  const begin = new Float64Array(rows + 1);
  for (const row of rowOf) begin[row + 1]++;
  for (let row = 0; row < rows; row++) begin[row + 1] += begin[row];
  const next = begin.slice();
  const ids = new Uint32Array(labelOf.length);
  for (let i = 0; i < rowOf.length; i++) ids[next[rowOf[i]]++] = labelOf[i];
  const of = (row: number) =>
    begin[row] === begin[row + 1] ? none : new Set(ids.subarray(begin[row], begin[row + 1]));
  let [pairs, most] = [0, 0];
  for (let row = 0; row < rows; row++) {
    const { size } = of(row);
    pairs += size;
    most = Math.max(most, size);
  }
  return { pairs, most, of };
}
