/** The element types of safetensors files and the typed arrays that hold them. */

const table = {
  BOOL: Uint8Array,
  U8: Uint8Array,
  I8: Int8Array,
  F8_E4M3: Uint8Array,
  F8_E5M2: Uint8Array,
  U16: Uint16Array,
  I16: Int16Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U32: Uint32Array,
  I32: Int32Array,
  F32: Float32Array,
  U64: BigUint64Array,
  I64: BigInt64Array,
  F64: Float64Array,
} as const;

/** NOTE: JavaScript has no 8- and 16-bit floats: their arrays hold the raw bits. */
export type StoredDtype = keyof typeof table;

export type StoredData =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export const storedDtypes = Object.keys(table) as StoredDtype[];

export function isStoredDtype(value: unknown): value is StoredDtype {
  return typeof value === 'string' && Object.hasOwn(table, value);
}

export function elementBytes(dtype: StoredDtype): number {
  return table[dtype].BYTES_PER_ELEMENT;
}

/** Whether `data` is of the kind of array that holds `dtype` without conversion. */
export function holds(dtype: StoredDtype, data: StoredData): boolean {
  return data instanceof table[dtype];
}

/** The name of the array that holds `dtype`, for messages. */
export function arrayName(dtype: StoredDtype): string {
  return table[dtype].name;
}

/** A zeroed array of `length` elements. */
export function makeArray(dtype: StoredDtype, length: number): StoredData {
  return new table[dtype](length);
}

/** The dtype that `data` is stored as when nobody says otherwise; undefined for arrays that cannot be stored. */
export function dtypeOf(data: unknown): StoredDtype | undefined {
  if (data instanceof Float32Array) return 'F32';
  if (data instanceof Float64Array) return 'F64';
  if (data instanceof Uint16Array) return 'U16';
  if (data instanceof Uint32Array) return 'U32';
  if (data instanceof Int32Array) return 'I32';
  if (data instanceof Uint8Array) return 'U8';
  if (data instanceof BigInt64Array) return 'I64';
  if (data instanceof BigUint64Array) return 'U64';
  if (data instanceof Int16Array) return 'I16';
  if (data instanceof Int8Array) return 'I8';
  return undefined;
}

/** Writes numbers decoded from the first `bytes` of `from` to `to`, beginning at element `at`. */
export type Widening = (from: Buffer, bytes: number, to: StoredData, at: number) => void;

const scratchBits = new Uint32Array(1);
const scratchFloat = new Float32Array(scratchBits.buffer);

export function bfloat16ToNumber(bits: number): number {
  scratchBits[0] = bits << 16;
  return scratchFloat[0];
}

/** IEEE 754 binary16: sign, 5 bits of exponent (bias 15), 10 of fraction. */
export function float16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** How stored `dtype` is read into a wider float array without loss, where that exists. */
export function wideningOf(dtype: StoredDtype, target: StoredData): Widening | undefined {
  if (dtype === 'F32' && target instanceof Float64Array) {
    return (from, bytes, to, at) => {
      for (let i = 0; i < bytes; i += 4) to[at++] = from.readFloatLE(i);
    };
  }
  if (!(target instanceof Float32Array || target instanceof Float64Array)) return undefined;
  if (dtype !== 'F16' && dtype !== 'BF16') return undefined;
  const decode = dtype === 'F16' ? float16ToNumber : bfloat16ToNumber;
  return (from, bytes, to, at) => {
    for (let i = 0; i < bytes; i += 2) to[at++] = decode(from.readUInt16LE(i));
  };
}
