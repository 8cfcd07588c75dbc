/** Sparse matrices as `scipy.sparse.save_npz` writes them: features of one file, labels of another. */
import { type FileHandle, open } from 'node:fs/promises';
import { EspalierError } from '../../errors.js';
import { withFileErrors } from '../../files.js';
import { sortEntries } from '../builder.js';
import { CsrDataset, LARGEST_COUNT } from '../dataset.js';
import { readNpy, readNpyText } from './npy.js';
import { ZipReader } from './zip.js';

export interface CsrMatrix {
  readonly rows: number;
  readonly columns: number;
  /** [rows + 1] */
  readonly indptr: Float64Array;
  /** Ascending within a row. */
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

export interface NpzOptions {
  /** Most bytes of one array, unpacked; default 2^34. */
  readonly maxBytes?: number;
}

/**
 * Reads a CSR matrix; needs the memory of its arrays.
 *
 * @throws `ZIP_FILE`, `NPY_FORMAT`, `NPZ_MATRIX` for what is no sound CSR matrix; `FILE_*`
 */
export async function readCsrNpz(path: string, options: NpzOptions = {}): Promise<CsrMatrix> {
  return withFileErrors('readCsrNpz', path, async () => {
    const handle = await open(path, 'r');
    try {
      return await readFrom(handle, path, options.maxBytes ?? 2 ** 34);
    } finally {
      await handle.close();
    }
  });
}

async function readFrom(handle: FileHandle, file: string, maxBytes: number): Promise<CsrMatrix> {
  const zip = await ZipReader.open(handle, file);
  const entry = (name: string) => {
    const found = zip.find(`${name}.npy`);
    if (found !== undefined && found.size > maxBytes) {
      const problem = `the array ${JSON.stringify(name)} is larger than it may be`;
      throw refuse(file, problem, `at most ${maxBytes} bytes`, `${found.size}`, 'raise maxBytes');
    }
    if (found !== undefined) return { chunks: zip.read(found), place: { file, name } };
    const held = zip.entries.map((e) => e.name).join(', ');
    throw refuse(
      file,
      `it holds no array ${JSON.stringify(name)}`,
      'format, shape, indptr, indices and data',
      held,
    );
  };
  const numbers = (name: string) => {
    const { chunks, place } = entry(name);
    return readNpy(chunks, 'float64', place);
  };
  const stored = entry('format');
  const format = await readNpyText(stored.chunks, stored.place);
  if (format !== 'csr') {
    throw refuse(
      file,
      'the matrix is not stored by rows',
      'csr',
      format.slice(0, 20),
      'save it as matrix.tocsr()',
    );
  }
  const [rows, columns] = await numbers('shape');
  if (!isCount(rows) || !isCount(columns))
    throw refuse(file, 'its shape is none', 'two whole numbers', `${rows}, ${columns}`);
  const indptr = await numbers('indptr');
  if (indptr.length !== rows + 1 || indptr[0] !== 0) {
    throw refuse(
      file,
      'its row pointers do not fit',
      `${rows + 1}, from 0`,
      `${indptr.length}, from ${indptr[0]}`,
    );
  }
  for (let row = 0; row < rows; row++) {
    if (!(indptr[row + 1] >= indptr[row]))
      throw refuse(file, `its row pointers fall at row ${row + 1}`, 'pointers that never fall');
  }
  const raw = await numbers('indices');
  if (raw.length !== indptr[rows])
    throw refuse(file, 'its indices do not fit', `${indptr[rows]}`, `${raw.length}`);
  const indices = new Uint32Array(raw.length);
  for (let e = 0; e < raw.length; e++) {
    if (!(raw[e] >= 0 && raw[e] < columns))
      throw refuse(file, `entry ${e + 1} names no column`, `0 to ${columns - 1}`, String(raw[e]));
    indices[e] = raw[e];
  }
  const data = entry('data');
  const values = await readNpy(data.chunks, 'float32', data.place);
  if (values.length !== indices.length)
    throw refuse(file, 'its values do not fit', `${indices.length}`, `${values.length}`);
  for (let row = 0; row < rows; row++) {
    const [begin, n] = [indptr[row], indptr[row + 1] - indptr[row]];
    const twice = sortEntries(indices, values, begin, begin, n);
    if (twice >= 0)
      throw refuse(
        file,
        `row ${row + 1} names column ${twice} twice`,
        'each column once',
        undefined,
        'call matrix.sum_duplicates() before saving',
      );
  }
  return { rows, columns, indptr, indices, values };
}

/** Features and labels of the same rows; a label stands wherever its value is not 0. */
export async function readNpzPair(features: string, labels: string): Promise<CsrDataset> {
  const x = await readCsrNpz(features);
  const y = await readCsrNpz(labels);
  if (x.rows !== y.rows) {
    throw refuse(
      labels,
      'features and labels differ in rows',
      `${x.rows} rows, as in ${features}`,
      String(y.rows),
    );
  }
  const labelIndptr = new Float64Array(y.rows + 1);
  let kept = 0;
  for (let row = 0; row < y.rows; row++) {
    for (let e = y.indptr[row]; e < y.indptr[row + 1]; e++)
      if (y.values[e] !== 0) y.indices[kept++] = y.indices[e];
    labelIndptr[row + 1] = kept;
  }
  const labelIds = y.indices.slice(0, kept);
  const { rows, columns, indptr, indices, values } = x;
  return new CsrDataset({
    rows,
    features: columns,
    labels: y.columns,
    indptr,
    indices,
    values,
    labelIndptr,
    labelIds,
  });
}

function isCount(n: number): boolean {
  return Number.isInteger(n) && n >= 0 && n <= LARGEST_COUNT;
}

function refuse(
  file: string,
  problem: string,
  expected: string,
  received?: string,
  hint?: string,
): EspalierError {
  return new EspalierError({
    code: 'NPZ_MATRIX',
    kind: 'data',
    op: 'readCsrNpz',
    problem,
    expected,
    received,
    hint,
    file,
  });
}
