/**
 * What forward leaves for backward. Operations say what they will read; when forward code is done with a tensor, the
 * tape asks a policy how to keep it, makes that copy, and gives the dense block back at once.
 */
import { EspalierError } from '../errors.js';
import type { Kernels } from '../kernels/face.js';
import { BsrTensor, blockCount, bsrBytes, matrixShape } from '../tensor/bsr.js';
import type { Device } from '../tensor/device.js';
import { bytesPerElement } from '../tensor/memory.js';
import { type Shape, shapeText, type Tensor } from '../tensor/tensor.js';

export type FormKind = 'dense' | 'bsr' | 'pooled' | 'bf16' | 'recompute';

/** How the values of a tensor are kept. */
export type Form =
  | { readonly kind: 'dense' }
  /** `kept` blocks of largest norm, of the tensor or of every block row. */
  | {
      readonly kind: 'bsr';
      readonly block: 8 | 16 | 32;
      readonly kept: number;
      readonly scope: 'tensor' | 'row';
    }
  /** Means of `size` rows each (arXiv 2409.11902). */
  | { readonly kind: 'pooled'; readonly size: number }
  /** In half the bytes, off by 2^-9 of itself at most. */
  | { readonly kind: 'bf16' }
  /** Not at all: computed again from what its own operation keeps. */
  | { readonly kind: 'recompute' };

/** Something that an operation's backward reads. */
export interface Need {
  readonly tensor: Tensor;
  /** `sign`: only whether elements are positive. */
  readonly as: 'values' | 'sign';
  /** `weights`: an error stays in the gradient of one parameter; `path`: it would travel down. Default: path. */
  readonly reach?: 'weights' | 'path';
  /** Other forms than dense that backward can work with. */
  readonly takes?: readonly FormKind[];
  /** The matrix that other forms make of it, [..., columns]; default: its own shape. */
  readonly matrix?: Shape;
}

/** What backward finds of a tensor's values. */
export type Saved =
  | { readonly kind: 'dense'; readonly tensor: Tensor }
  | { readonly kind: 'bsr'; readonly bsr: BsrTensor }
  | { readonly kind: 'pooled'; readonly size: number; readonly means: Tensor }
  /** Dense rows on demand: `fill` writes rows [begin, end), both whole multiples of `group` (or the end of all). */
  | { readonly kind: 'rows'; readonly group: number; fill(begin: number, end: number, out: Tensor): void };

/** Numbers in bfloat16; readers find them as rows. */
interface Rounded {
  readonly kind: 'bf16';
  /** uint16 */
  readonly bits: Tensor;
}

/** How an operation computes its output again: groups of rows of it from groups of rows of its input. */
export interface Again {
  readonly input: Tensor;
  /** Rows of a group of the input, and of the output: 1 and 1 where rows stand for themselves. */
  readonly group: readonly [input: number, output: number];
  /** One f for every element, f(0) = 0: a block-sparse input gives an output of the same blocks. */
  readonly keepsZeros: boolean;
  /** Whether that takes a matrix product: dearer than keeping the output, for most. */
  readonly product: boolean;
  /** Whether y may be x. */
  readonly inPlace: boolean;
  /** y from x, whole groups of rows. */
  run(kernels: Kernels, x: Tensor, y: Tensor): void;
}

/** What an operation's backward reads saved tensors through. */
export interface Kept {
  values(tensor: Tensor): Saved;
  /** Multiplies dy, in place, by 1[tensor > 0]. */
  gate(tensor: Tensor, dy: Tensor): void;
  /** The exact values beside a smaller copy, its own or its source's, in steps that measure the difference; else null. */
  exact(tensor: Tensor): Saved | null;
  /** Reports a cosine between the gradients from both. */
  measured(tensor: Tensor, cosine: number): void;
}

/** A place in the network where a tensor is kept. */
export interface Site {
  /** Names of the modules around it, from outside, e.g. `blocks.1.branch.layers.4`. */
  readonly layer: string;
  /** The operation that reads its values. */
  readonly op: string;
  readonly shape: Shape;
  readonly elementBytes: number;
  readonly reach: 'weights' | 'path';
  /** The forms that all readers can work with; dense always is one. */
  readonly takes: ReadonlySet<FormKind>;
  /** Whether computing it again takes a matrix product. */
  readonly product: boolean;
}

export interface SavedPolicy {
  form(site: Site): Form;
  /** Whether ReLUs keep one bit per element where nobody needs their output dense. */
  readonly masks: boolean;
  /** Whether to keep this one dense as well, for the cosine. */
  samples(site: Site): boolean;
  /** What became of a site: bytes of the buffers that are kept, and what dense would have been. */
  stored(site: Site, form: FormKind, bytes: number, denseBytes: number): void;
  measured(site: Site, cosine: number): void;
}

/** Everything known of one tensor between its making and its last reader. */
export class SavedEntry {
  readonly tensor: Tensor;
  /** What forward code may still read: the tensor, and each other shape of it. */
  readonly handles: Set<Tensor>;
  readonly needs: { readonly need: Need; readonly op: string; readonly layer: string }[] = [];
  /** Readers whose backward has not run. */
  open = 0;
  /** Forward is done with it, and its copies are made. */
  settled = false;
  site: Site | null = null;
  values: Saved | Rounded | null = null;
  mask: Tensor | null = null;
  exact: Tensor | null = null;
  /** Set by the tape for tensors that their own operation can compute again. */
  again: (() => Saved) | null = null;
  #product = false;
  #exactAgain: () => Saved | null = () => null;

  constructor(tensor: Tensor) {
    this.tensor = tensor;
    this.handles = new Set([tensor]);
  }

  /** Makes the copies that readers will find and gives the dense block back, unless it is what they find. */
  settle(device: Device, policy: SavedPolicy | null): void {
    this.settled = true;
    const { tensor, needs } = this;
    if (needs.length === 0) {
      device.release(tensor);
      return;
    }
    const form = policy === null ? dense : this.#choose(policy);
    if (form.kind === 'dense') {
      this.values = { kind: 'dense', tensor };
      return;
    }
    const { shape } = this.site as Site;
    if (this.#reads('values')) this.#store(device, device.alias(tensor, shape), form);
    if (this.#reads('sign')) {
      this.mask = device.temporary('activations', [Math.ceil(tensor.size / 32)], 'uint32', true);
      device.kernels.signMask(tensor.size, tensor.data, this.mask.raw as Uint32Array);
    }
    if (form.kind !== 'recompute' && policy?.samples(this.site as Site)) this.exact = tensor;
    else device.release(tensor);
    policy?.stored(this.site as Site, form.kind, this.bytes(), bytesOf(tensor));
  }

  #reads(what: Need['as']): boolean {
    return this.needs.some(({ need }) => need.as === what);
  }

  /** The policy's answer for this tensor; dense where that is no larger, or where a ReLU must do without a mask. */
  #choose(policy: SavedPolicy): Form {
    const { needs, tensor } = this;
    const values = needs.filter(({ need }) => need.as === 'values');
    const first = values.find(({ need }) => need.reach !== 'weights') ?? values[0] ?? needs[0];
    const shape = matrixOf(first.need);
    const takes = new Set<FormKind>(['dense', 'bsr', 'pooled', 'bf16', 'recompute']);
    for (const { need } of values) {
      const fits = shapeText(matrixOf(need)) === shapeText(shape);
      for (const kind of takes) {
        if (kind !== 'dense' && !(fits && need.takes?.includes(kind))) takes.delete(kind);
      }
    }
    if (this.again === null || shapeText(shape) !== shapeText(tensor.shape)) takes.delete('recompute');
    const elementBytes = bytesPerElement(tensor.dtype);
    const { layer, op } = first;
    const site: Site = {
      layer,
      op,
      shape,
      elementBytes,
      reach: first.need.reach ?? 'path',
      takes,
      product: this.#product,
    };
    this.site = site;
    const signs = this.#reads('sign');
    // Nobody reads the values: only the mask is left.
    const form: Form = values.length === 0 ? { kind: 'recompute' } : policy.form(site);
    if (values.length > 0 && !takes.has(form.kind)) {
      throw new EspalierError({
        code: 'SAVED_FORM',
        kind: 'usage',
        op: 'tape',
        problem: `the input of ${op} in ${layer || 'the network'} cannot be kept as ${form.kind}`,
        expected: [...takes].join(', '),
        received: form.kind,
      });
    }
    const larger =
      form.kind === 'bsr' &&
      bsrBytes(shape, form.block, entriesOf(shape, form), elementBytes) >= bytesOf(tensor);
    if (form.kind !== 'dense' && !larger && (!signs || policy.masks)) return form;
    policy.stored(site, 'dense', bytesOf(tensor), bytesOf(tensor));
    return dense;
  }

  #store(device: Device, tensor: Tensor, form: Form): void {
    if (form.kind === 'bsr') {
      this.values = { kind: 'bsr', bsr: BsrTensor.fromDense(device, tensor, form) };
    } else if (form.kind === 'pooled') {
      const { rows, cols } = matrixShape(tensor.shape);
      const means = device.temporary('activations', [Math.ceil(rows / form.size), cols], undefined, true);
      device.kernels.poolRows(rows, cols, form.size, tensor.data, 'mean', means.data);
      this.values = { kind: 'pooled', size: form.size, means };
    } else if (form.kind === 'bf16') {
      const bits = device.temporary('activations', tensor.shape, 'uint16', true);
      device.kernels.bf16Round(tensor.size, tensor.data, bits.raw as Uint16Array);
      this.values = { kind: 'bf16', bits };
    }
  }

  /** Bytes of the buffers kept now, a dense one of measurement not counted. */
  bytes(): number {
    const { values, mask } = this;
    let sum = mask === null ? 0 : bytesOf(mask);
    if (values?.kind === 'bsr') sum += values.bsr.bytes;
    else if (values?.kind === 'pooled') sum += bytesOf(values.means);
    else if (values?.kind === 'dense') sum += bytesOf(values.tensor);
    else if (values?.kind === 'bf16') sum += bytesOf(values.bits);
    return sum;
  }

  read(device: Device): Saved {
    const { values } = this;
    if (values?.kind === 'bf16') return widened(device, values.bits);
    if (values !== null) return values;
    if (this.settled && this.again !== null) return this.again();
    return { kind: 'dense', tensor: this.tensor };
  }

  /** Lets it be read as its operation computes it again from what is kept of the input; `kept`: for sure. */
  mayRunAgain(again: Again, from: SavedEntry, kept: boolean, device: Device): void {
    this.#product = again.product || (!kept && from.#product);
    const [groupIn, groupOut] = again.group;
    const input = matrixShape(again.input.shape);
    const build = (x: Saved): Saved => {
      if (x.kind === 'bsr' && again.keepsZeros) {
        const values = device.temporary('workspace', x.bsr.values.shape);
        again.run(device.kernels, x.bsr.values, values);
        return { kind: 'bsr', bsr: x.bsr.withValues(values) };
      }
      const fill = (begin: number, end: number, y: Tensor) => {
        if (x.kind === 'rows' && x.group === 1 && again.inPlace) {
          x.fill(begin, end, y);
          const own = device.rows(y, 0, end - begin);
          again.run(device.kernels, own, own);
          return;
        }
        const rows = [(begin / groupOut) * groupIn, (end / groupOut) * groupIn] as const;
        const { part, held } = rowsOf(device, x, input, rows);
        again.run(device.kernels, part, device.rows(y, 0, end - begin));
        if (held !== null) device.release(held);
      };
      return { kind: 'rows', group: groupOut, fill };
    };
    this.again = () => build(from.read(device));
    this.#exactAgain = () => {
      const x = from.exactly();
      return x && build(x);
    };
  }

  /** The exact values beside what is kept, in steps that measure the difference. */
  exactly(): Saved | null {
    if (this.exact !== null) return { kind: 'dense', tensor: this.exact };
    return this.settled && this.values === null ? this.#exactAgain() : null;
  }

  /** Gives everything kept back; a dense tensor that forward may still read stays. */
  release(device: Device): void {
    const { values, mask, exact } = this;
    if (values?.kind === 'bsr') values.bsr.release(device);
    else if (values?.kind === 'pooled') device.release(values.means);
    else if (values?.kind === 'dense') device.release(values.tensor);
    else if (values?.kind === 'bf16') device.release(values.bits);
    if (mask !== null) device.release(mask);
    if (exact !== null) device.release(exact);
    this.values = null;
    this.mask = null;
    this.exact = null;
  }
}

/** Rows [begin, end) of a matrix as it was kept: where they lie, or in a temporary that the caller gives back. */
function rowsOf(
  device: Device,
  saved: Saved,
  { rows, cols }: { readonly rows: number; readonly cols: number },
  [begin, end]: readonly [number, number],
): { readonly part: Tensor; readonly held: Tensor | null } {
  switch (saved.kind) {
    case 'dense':
      return { part: device.rows(device.alias(saved.tensor, [rows, cols]), begin, end), held: null };
    case 'bsr': {
      const held = saved.bsr.expand(device, begin, end);
      return { part: device.rows(held, 0, end - begin), held };
    }
    case 'pooled': {
      const { size, means } = saved;
      const held = device.temporary('workspace', [end - begin, cols]);
      for (let row = begin; row < end && !device.dry; row++) {
        const group = Math.floor(row / size);
        held.data.set(means.data.subarray(group * cols, (group + 1) * cols), (row - begin) * cols);
      }
      return { part: held, held };
    }
    case 'rows': {
      const { group } = saved;
      const [from, to] = [Math.floor(begin / group) * group, Math.min(rows, Math.ceil(end / group) * group)];
      const held = device.temporary('workspace', [to - from, cols]);
      saved.fill(from, to, held);
      return { part: device.rows(held, begin - from, end - from), held };
    }
  }
}

/** Rows that are rounded, as they are asked for. */
function widened(device: Device, bits: Tensor): Saved {
  const { cols } = matrixShape(bits.shape);
  const all = bits.raw as Uint16Array;
  const fill = (begin: number, end: number, out: Tensor) =>
    device.kernels.bf16Widen((end - begin) * cols, all.subarray(begin * cols, end * cols), out.data);
  return { kind: 'rows', group: 1, fill };
}

const dense: Form = { kind: 'dense' };

const matrixOf = ({ matrix, tensor }: Need): Shape => matrix ?? tensor.shape;

function bytesOf(tensor: Tensor): number {
  return tensor.size * bytesPerElement(tensor.dtype);
}

function entriesOf(shape: Shape, form: Extract<Form, { kind: 'bsr' }>): number {
  const all = blockCount(shape, form.block);
  const segments = form.scope === 'row' ? Math.ceil(matrixShape(shape).rows / form.block) : 1;
  return Math.min(all, Math.floor(form.kept) * segments);
}

/** The error of a reader that finds a form it did not promise to take. */
export function unreadable(op: string, tensor: Tensor, kind: string): EspalierError {
  return new EspalierError({
    code: 'SAVED_FORM',
    kind: 'usage',
    op,
    problem: `the ${shapeText(tensor.shape)} tensor is kept as ${kind}, which this backward cannot read`,
    hint: 'name in `needs` the forms that backward takes',
  });
}
