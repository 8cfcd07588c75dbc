/**
 * How pages of Parquet files are unpacked: never to more than their header says. Node's own decoders stop there with an
 * error; the others write into a buffer of that size.
 */
import * as zlib from 'node:zlib';
import type { Compressors } from 'hyparquet';
import { compressors, decompressZstd } from 'hyparquet-compressors';

type Unpack = (input: Uint8Array, options: { maxOutputLength: number }) => Uint8Array;

/** Since Node 22.15. */
const zstd = (zlib as unknown as { zstdDecompressSync?: Unpack }).zstdDecompressSync;
const bounded =
  (unpack: Unpack) =>
  (input: Uint8Array, length: number): Uint8Array =>
    unpack(input, { maxOutputLength: Math.max(1, length) });

/** By the name of the codec. */
export const codecs: Compressors = {
  ...compressors,
  GZIP: bounded(zlib.gunzipSync),
  BROTLI: bounded(zlib.brotliDecompressSync),
  ZSTD: zstd === undefined ? (input, length) => decompressZstd(input, new Uint8Array(length)) : bounded(zstd),
};
