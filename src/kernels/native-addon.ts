/**
 * The compiled kernels as Node sees them: one function per ES_KERNEL of native/include/kernels.h, positional,
 * plus the context (instruction set, threads) of the calling thread.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { EspalierError } from '../errors.js';
import type { Floats } from './face.js';
import { addonPath } from './native-build.js';
import { findPrebuilt } from './prebuilt.js';

export type Isa = 'scalar' | 'avx2' | 'avx512';
export const ISA_NAMES: readonly Isa[] = ['scalar', 'avx2', 'avx512'];
export const MAX_THREADS = 256;

type F = Float32Array;
type U32 = Uint32Array;
type I32 = Int32Array;
type D = Float64Array;

export interface NativeAddon {
  set_threads(threads: number): void;
  set_isa(isa: number): void;
  threads(): number;
  isa(): number;
  best_isa(): number;
  /** 1 where the processor multiplies pairs of bfloat16. */
  has_bf16(): number;
  /** Bytes of grow-only scratch, all threads together. */
  scratch_bytes(): number;
  advise_huge(data: ArrayBufferView, bytes: number): void;
  return_pages(data: ArrayBufferView, bytes: number): void;

  gemm(
    transA: boolean,
    transB: boolean,
    m: number,
    n: number,
    k: number,
    a: F,
    b: F,
    c: F,
    accumulate: boolean,
    bias: F | null,
    activation: number,
    pairs: boolean,
  ): void;
  bag_forward(
    rows: number,
    vocab: number,
    dim: number,
    entries: number,
    indptr: I32,
    indices: U32,
    values: F | null,
    table: F,
    bias: F | null,
    out: F,
  ): void;
  csr_transpose(
    rows: number,
    vocab: number,
    entries: number,
    indptr: I32,
    indices: U32,
    values: F | null,
    columns: U32,
    colptr: I32,
    rowOf: U32,
    valuesOut: F,
    scratch: U32,
    count: I32,
  ): void;
  bag_backward(
    count: number,
    rows: number,
    dim: number,
    entries: number,
    colptr: I32,
    rowOf: U32,
    values: F,
    dy: F,
    grad: F,
  ): void;
  balanced_split(
    rows: number,
    features: number,
    entries: number,
    indptr: I32,
    indices: U32,
    values: F | null,
    segments: number,
    listed: number,
    bounds: I32,
    starts: U32,
    minGain: number,
    order: U32,
    sums: D,
    sumsLength: number,
    scores: D,
    sides: U32,
    similarity: D,
  ): void;
  layer_norm(rows: number, dim: number, eps: number, x: F, gamma: F, beta: F, y: F, mean: F, rstd: F): void;
  layer_norm_backward(
    rows: number,
    dim: number,
    x: F,
    gamma: F,
    mean: F,
    rstd: F,
    dy: F,
    dx: F,
    dgamma: F,
    dbeta: F,
  ): void;
  column_sum(rows: number, cols: number, x: F, out: F, accumulate: boolean): void;
  sum(n: number, x: F, out: D): void;
  sum_squares(n: number, x: F, out: D): void;
  uniform(n: number, key0: number, key1: number, counter: number, low: number, high: number, out: F): void;
  dropout(n: number, key0: number, key1: number, counter: number, p: number, x: F, y: F): void;
  update(n: number, rule: D, w: F, g: F, m: F | null, v: F | null, gradScale: number): void;
  update_rows(
    count: number,
    dim: number,
    totalRows: number,
    rows: U32,
    rule: D,
    w: F,
    g: F,
    m: F | null,
    v: F | null,
    gradScale: number,
  ): void;
  /** Adds to flops[0] what it computed on all threads together, for timing. */
  fma_peak(rounds: number, flops: D): void;
  relu(n: number, x: F, y: F): void;
  relu_backward(n: number, y: F, dy: F, dx: F): void;
  gelu(n: number, x: F, y: F): void;
  gelu_backward(n: number, x: F, dy: F, dx: F): void;
  add(n: number, a: F, b: F, alpha: number, out: F): void;
  multiply(n: number, a: F, b: F, out: F): void;
  scale(n: number, alpha: number, x: F, out: F): void;
}

/** An addon with the instruction set and threads of one `Kernels` instance. */
export interface NativeBackend {
  readonly isa: Isa;
  readonly threads: number;
  /** The addon, switched to this backend's instruction set and threads. */
  use(): NativeAddon;
}

export interface AddonCandidate {
  readonly path: string;
  /** Where it comes from, in words. */
  readonly origin: string;
  /** Why it is not loaded although it is there; null where nothing speaks against it. */
  readonly refusal: string | null;
}

interface Loaded extends AddonCandidate {
  readonly addon: NativeAddon;
}

let loaded: Loaded | undefined;
let current: NativeBackend | undefined;

/**
 * Loads the compiled kernels, once per thread of Node: those built here, else those of a prebuilt package that was made
 * of the same sources; ESPALIER_ADDON names another file.
 * @throws EspalierError NATIVE_MISSING with each path attempted, why it failed and the remedy
 */
export function loadAddon(): Loaded {
  if (loaded !== undefined) return loaded;
  const attempts: string[] = [];
  let cause: unknown;
  for (const candidate of candidates()) {
    const { path, origin, refusal } = candidate;
    if (!existsSync(path)) {
      attempts.push(`${path}: no such file`);
      continue;
    }
    if (refusal !== null) {
      attempts.push(`${path} (${origin}): ${refusal}`);
      continue;
    }
    try {
      loaded = { addon: createRequire(import.meta.url)(path) as NativeAddon, ...candidate };
      return loaded;
    } catch (error) {
      cause = error;
      attempts.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new EspalierError({
    code: 'NATIVE_MISSING',
    kind: 'system',
    op: 'loadNative',
    problem: 'the native kernels could not be loaded',
    received: attempts.join('; '),
    hint: 'build them with `npx espalier build` (needs a C++ compiler); `npx espalier doctor` explains more',
    cause,
  });
}

/**
 * Asks the system for large pages below a big buffer that nothing has touched yet: rows scattered over it are
 * then found faster (bags and row updates: 16 % less processor time, measured). Without an addon: nothing.
 */
export function adviseHugePages(buffer: ArrayBufferLike): void {
  advise('advise_huge', buffer);
}

/**
 * Gives the pages of a buffer that nobody will read again back to the system at once, long before the collector frees
 * it; its bytes are zeros from then on. Without an addon: nothing.
 */
export function returnPages(buffer: ArrayBufferLike): void {
  advise('return_pages', buffer);
}

function advise(call: 'advise_huge' | 'return_pages', buffer: ArrayBufferLike): void {
  try {
    loadAddon().addon[call](new Uint32Array(buffer, 0, Math.floor(buffer.byteLength / 4)), buffer.byteLength);
  } catch (error) {
    if ((error as { code?: string }).code !== 'NATIVE_MISSING') throw error;
  }
}

/** The files that loadAddon tries, in order. */
export function addonCandidates(): AddonCandidate[] {
  return [...candidates()];
}

/** One after the other: a prebuilt package is compared with its checksums only where nothing before it loads. */
function* candidates(): Generator<AddonCandidate> {
  const named = process.env.ESPALIER_ADDON;
  if (named) {
    yield { path: named, origin: 'named by ESPALIER_ADDON', refusal: null };
    return;
  }
  yield { path: addonPath(), origin: 'built on this machine', refusal: null };
  const prebuilt = findPrebuilt();
  if (prebuilt === undefined) return;
  const { path, name, provenance, refusal } = prebuilt;
  const compiler = provenance === null ? '' : `, ${provenance.compiler}`;
  yield { path, origin: `prebuilt: ${name}${compiler}`, refusal };
}

/** A backend over the loaded addon; see loadNative for the meaning of the options and the errors. */
export function nativeBackend(isa: Isa, threads: number): NativeBackend {
  const { addon } = loadAddon();
  const backend: NativeBackend = {
    isa,
    threads,
    use() {
      if (current !== backend) {
        addon.set_isa(ISA_NAMES.indexOf(isa));
        addon.set_threads(threads);
        current = backend;
      }
      return addon;
    },
  };
  return backend;
}

/**
 * The array as the kernels need it: float32 and at least `length` long.
 * @throws EspalierError KERNEL_PRECISION, KERNEL_BUFFER_SHORT
 */
export function f32(op: string, name: string, array: Floats, length: number): Float32Array {
  if (array.BYTES_PER_ELEMENT !== 4) throw precisionError(op, name);
  if (!(array.length >= length)) throw shortError(op, name, array.length, length);
  return array as Float32Array;
}

/** The same for arrays that may be null. */
export function f32OrNull(
  op: string,
  name: string,
  array: Floats | null,
  length: number,
): Float32Array | null {
  return array === null ? null : f32(op, name, array, length);
}

/** Throws KERNEL_BUFFER_SHORT unless the array holds at least `length` elements. */
export function need(op: string, name: string, array: { readonly length: number }, length: number): void {
  if (!(array.length >= length)) throw shortError(op, name, array.length, length);
}

/** Runs a kernel that guards indices, and words its refusal. */
export function guarded(op: string, hint: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === undefined || !code.startsWith('ES_') || code === 'ES_ARGUMENT_TYPE') throw error;
    const range = code === 'ES_INDEX_RANGE';
    throw new EspalierError({
      code: `KERNEL_${code.slice(3)}`,
      kind: range ? 'data' : 'system',
      op,
      problem: range ? 'an index points outside of its array' : `the kernel refused (${code})`,
      hint: range ? hint : undefined,
      cause: error,
    });
  }
}

function precisionError(op: string, name: string): EspalierError {
  return new EspalierError({
    code: 'KERNEL_PRECISION',
    kind: 'usage',
    op,
    problem: `native kernels compute in float32, but \`${name}\` is not a Float32Array`,
    expected: 'Float32Array',
    received: 'Float64Array',
    hint: "float64 runs on the reference backend: selectKernels({ precision: 'float64' })",
  });
}

function shortError(op: string, name: string, received: number, expected: number): EspalierError {
  return new EspalierError({
    code: 'KERNEL_BUFFER_SHORT',
    kind: 'usage',
    op,
    problem: `\`${name}\` is shorter than the sizes require`,
    expected: `at least ${expected} elements`,
    received: `${received}`,
  });
}
