/**
 * What forward leaves for backward. Operations say what they will read; when forward code is done with a tensor, the
 * tape asks a policy how to keep it, makes that copy, and gives the dense block back at once.
 */
import { EspalierError } from '../errors.js';
import type { Device } from '../tensor/device.js';
import { bytesPerElement } from '../tensor/memory.js';
import { type Shape, shapeText, type Tensor } from '../tensor/tensor.js';
import {
  type Again,
  bytesOf,
  computedAgain,
  type Form,
  type FormKind,
  noSmaller,
  type Saved,
  type Stored,
  store,
  storeDense,
} from './saved-forms.js';

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
  values: Stored | null = null;
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
      this.values = storeDense(tensor);
      return;
    }
    const { shape } = this.site as Site;
    if (this.#reads('values')) this.values = store(device, device.alias(tensor, shape), form);
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
    const reach = first.need.reach ?? 'path';
    const site: Site = { layer, op, shape, elementBytes, reach, takes, product: this.#product };
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
    const larger = noSmaller(form, shape, elementBytes, bytesOf(tensor));
    if (form.kind !== 'dense' && !larger && (!signs || policy.masks)) return form;
    policy.stored(site, 'dense', bytesOf(tensor), bytesOf(tensor));
    return dense;
  }

  /** Bytes of the buffers kept now, a dense one of measurement not counted. */
  bytes(): number {
    return (this.values?.bytes ?? 0) + (this.mask === null ? 0 : bytesOf(this.mask));
  }

  read(): Saved {
    if (this.values !== null) return this.values.saved;
    if (this.settled && this.again !== null) return this.again();
    return { kind: 'dense', tensor: this.tensor };
  }

  /** Lets it be read as its operation computes it again from what is kept of the input; `kept`: for sure. */
  mayRunAgain(again: Again, from: SavedEntry, kept: boolean, device: Device): void {
    this.#product = (again.product ?? false) || (!kept && from.#product);
    this.again = () => computedAgain(device, again, from.read());
    this.#exactAgain = () => {
      const x = from.exactly();
      return x && computedAgain(device, again, x);
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
    values?.release(device);
    if (mask !== null) device.release(mask);
    if (exact !== null) device.release(exact);
    this.values = null;
    this.mask = null;
    this.exact = null;
  }
}

const dense: Form = { kind: 'dense' };

const matrixOf = ({ matrix, tensor }: Need): Shape => matrix ?? tensor.shape;

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
