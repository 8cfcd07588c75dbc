/** Standard datasets from where they are published, for those who have not got them: only when asked, never by tests. */
import { createHash } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { EspalierError } from '../errors.js';
import { withFileErrors, writeFileAtomic } from '../files.js';

/** One file; `bytes` and `sha256` are of its contents, unpacked where it is gzipped. */
interface Published {
  readonly file: string;
  readonly url: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** The four files of MNIST and its kin. */
function idxFiles(base: string, sums: readonly [string, string, string, string]): Published[] {
  const files = [
    ['train-images-idx3-ubyte.gz', 47_040_016],
    ['train-labels-idx1-ubyte.gz', 60_008],
    ['t10k-images-idx3-ubyte.gz', 7_840_016],
    ['t10k-labels-idx1-ubyte.gz', 10_008],
  ] as const;
  return files.map(([file, bytes], i) => ({ file, url: `${base}/${file}`, bytes, sha256: sums[i] }));
}

const published: Readonly<Record<string, readonly Published[]>> = {
  mnist: idxFiles('https://ossci-datasets.s3.amazonaws.com/mnist', [
    'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
  ]),
  'fashion-mnist': idxFiles(
    'https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion',
    [
      'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
      'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
      '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
      '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
    ],
  ),
  tinyshakespeare: [
    {
      file: 'input.txt',
      url: 'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
      bytes: 1_115_394,
      sha256: '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed',
    },
  ],
};

/** What `downloadDataset` knows. */
export const downloadable: readonly string[] = Object.keys(published);

export interface DownloadOptions {
  /** How a file is fetched: by `fetch`, unless something else is given. */
  readonly fetch?: (url: string) => Promise<Uint8Array>;
  readonly onFile?: (file: string, what: 'present' | 'fetched') => void;
}

/**
 * Fetches the files of a standard dataset into `directory`; files that are there and whole are left alone. Every file is
 * checked by its SHA-256 before it is written.
 *
 * @throws EspalierError `DOWNLOAD_UNKNOWN`, `DOWNLOAD_FAILED`, `DOWNLOAD_CHECKSUM`, `FILE_*`
 * @example await downloadDataset('fashion-mnist', 'data/fashion-mnist');
 */
export async function downloadDataset(
  name: string,
  directory: string,
  { fetch: get = fetched, onFile }: DownloadOptions = {},
): Promise<void> {
  const files = Object.hasOwn(published, name) ? published[name] : undefined;
  if (files === undefined) {
    throw new EspalierError({
      code: 'DOWNLOAD_UNKNOWN',
      kind: 'usage',
      op: 'downloadDataset',
      problem: 'this dataset has no place to download it from',
      expected: downloadable.join(', '),
      received: name,
    });
  }
  await withFileErrors('downloadDataset', directory, () =>
    mkdir(directory, { recursive: true }).then(() => {}),
  );
  for (const one of files) {
    const path = join(directory, one.file);
    const present = await readFile(path).catch(() => null);
    if (present !== null && fault(present, one) === null) {
      onFile?.(one.file, 'present');
      continue;
    }
    const bytes = await get(one.url);
    const wrong = fault(bytes, one);
    if (wrong !== null) throw badSum(one, wrong);
    await writeFileAtomic(path, bytes);
    onFile?.(one.file, 'fetched');
  }
}

/** null: the contents are those that were published. */
function fault(bytes: Uint8Array, { bytes: expected, sha256 }: Published): string | null {
  let contents = bytes;
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      contents = gunzipSync(bytes, { maxOutputLength: expected + 1 });
    } catch (error) {
      return `a gzip file that cannot be unpacked: ${(error as Error).message}`;
    }
  }
  if (contents.length !== expected) return `${contents.length} bytes`;
  const sum = createHash('sha256').update(contents).digest('hex');
  return sum === sha256 ? null : `SHA-256 ${sum}`;
}

async function fetched(url: string): Promise<Uint8Array> {
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
    return new Uint8Array(await response.arrayBuffer());
  } catch (cause) {
    throw new EspalierError({
      code: 'DOWNLOAD_FAILED',
      kind: 'system',
      op: 'downloadDataset',
      problem: `the file could not be fetched: ${(cause as Error).message}`,
      received: url,
      hint: 'fetch it by other means and put it into the data directory',
      cause,
    });
  }
}

function badSum({ url, bytes, sha256 }: Published, received: string): EspalierError {
  return new EspalierError({
    code: 'DOWNLOAD_CHECKSUM',
    kind: 'data',
    op: 'downloadDataset',
    problem: 'the file is not the one that was published; nothing was written',
    expected: `${bytes} bytes with SHA-256 ${sha256}`,
    received,
    hint: `compare with ${url}`,
  });
}
