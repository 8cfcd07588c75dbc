/**
 * A PNG file by its own account, before its decoder believes it: pixels are unpacked once against the size that the header
 * says, and nothing goes on to the decoder but what makes the image. A colour profile or a text may be a million times
 * smaller packed than unpacked. Portable Network Graphics, third edition, 5 and 11.
 */
import { inflateSync } from 'node:zlib';

/** Unpacked bytes of one image: 8,192 x 8,192 pixels of four bytes. */
const LARGEST_IMAGE = 2 ** 28;
/** Deflate packs no tighter, so that what is small enough cannot unpack to much. */
const DEFLATE_RATIO = 1032;
const UNCHECKED = 2 ** 23;
const signature = [137, 80, 78, 71, 13, 10, 26, 10];
const image = new Set(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND']);
/** Samples of a pixel by colour type. */
const samples: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/** Bytes of all rows. */
interface Unpacked {
  readonly least: number;
  readonly most: number;
}

/** The same image without anything beside it; throws where it says more, or holds more, than an image may. */
export function bareImage(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!signature.every((byte, i) => bytes[i] === byte))
    throw new Error('it does not begin as a PNG file does');
  const kept: Uint8Array[] = [bytes.subarray(0, signature.length)];
  const packed: Uint8Array[] = [];
  let unpacked = { least: 0, most: 0 };
  for (let at = signature.length; at < bytes.length; ) {
    if (at + 12 > bytes.length) throw new Error('it ends within a chunk');
    const length = view.getUint32(at);
    const end = at + 12 + length;
    if (end > bytes.length)
      throw new Error(`a chunk of ${length} bytes where ${bytes.length - at - 12} are left`);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (name === 'IHDR') unpacked = unpackedBytes(view, at + 8, length);
    if (name === 'IDAT') packed.push(bytes.subarray(at + 8, end - 4));
    if (image.has(name)) kept.push(bytes.subarray(at, end));
    at = end;
    if (name === 'IEND') break;
  }
  if (unpacked.most === 0) throw new Error('it has no header');
  checkPixels(packed, unpacked);
  return Buffer.concat(kept);
}

/** Bytes of all rows with the filter of each, as the header says; interlaced ones have up to seven times as many rows. */
function unpackedBytes(view: DataView, at: number, length: number): Unpacked {
  if (length !== 13) throw new Error(`a header of ${length} bytes`);
  const [width, height] = [view.getUint32(at), view.getUint32(at + 4)];
  const [depth, colour, interlaced] = [view.getUint8(at + 8), view.getUint8(at + 9), view.getUint8(at + 12)];
  if (width === 0 || height === 0 || samples[colour] === undefined || depth > 16) {
    throw new Error(`an image of ${width} x ${height} pixels, colour type ${colour}, ${depth} bits`);
  }
  const bytes = height * (Math.ceil((width * samples[colour] * depth) / 8) + 1);
  // Passes end in the middle of bytes: a few more for each row of each.
  const most = interlaced === 0 ? bytes : 2 * bytes + 14 * height + 14;
  if (most > LARGEST_IMAGE)
    throw new Error(`${width} x ${height} pixels are more than ${LARGEST_IMAGE / 2 ** 20} MiB`);
  return { least: Math.floor((width * height * samples[colour] * depth) / 8), most };
}

function checkPixels(packed: readonly Uint8Array[], { least, most }: Unpacked): void {
  const bytes = packed.reduce((sum, { length }) => sum + length, 0);
  // Room is made for all pixels at once: too few bytes for them are told before.
  if (DEFLATE_RATIO * bytes < least) throw new Error(`${bytes} bytes cannot be an image of ${least}`);
  if (DEFLATE_RATIO * bytes <= most + UNCHECKED) return;
  // Ends with an error of its own where there is more.
  inflateSync(Buffer.concat(packed), { maxOutputLength: most + UNCHECKED });
}
