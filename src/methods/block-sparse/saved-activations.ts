/**
 * The policy of the tape that keeps block-sparse copies of activations (Barley & Froening, arXiv 2311.16883). What it
 * answers depends on the options, the step and the shapes alone: a resumed run goes on as if it had never stopped.
 */
import type { SavedPolicy, Site } from '../../autograd/saved.js';
import type { Form, FormKind } from '../../autograd/saved-forms.js';
import { blockCount, bsrBytes, matrixShape } from '../../tensor/bsr.js';
import {
  type BsrSpec,
  bytesOf,
  type FormSpec,
  parseSaved,
  type SavedOptions,
  type SavedOptionsInput,
} from './options.js';

export interface StoredSite {
  readonly layer: string;
  readonly op: string;
  readonly form: FormKind | 'mask';
  /** Of the buffers that are kept. */
  readonly bytes: number;
  readonly denseBytes: number;
}

export interface GradientCosine {
  readonly layer: string;
  readonly op: string;
  /** Between the parameter's gradient from the kept copy and from the dense tensor, in the same step. */
  readonly cosine: number;
}

/** A step whose memory stands for many: what an arena must be planned for. */
export interface PlannedStep {
  readonly step: number;
  /** Which of the layers keeps its input dense as well; null: none. */
  readonly sample: number | null;
}

/** What the tensors under one budget would take with all their blocks, in the largest step so far. */
interface Demand {
  blocks: number;
  rowPointers: number;
  /** Bytes given out in this step. */
  spent: number;
}

export class SavedActivations implements SavedPolicy {
  readonly options: SavedOptions;
  readonly #rules: readonly {
    readonly layer: RegExp | null;
    readonly op: string | null;
    readonly form: FormSpec;
  }[];
  readonly #demands = new Map<BsrSpec, { known: Demand | null; seen: Demand }>();
  #step = 0;
  #sample: number | null = null;
  /** Lossy sites of this step so far, and of the last whole step. */
  #lossy = 0;
  #lossyBefore = 0;
  #stored: StoredSite[] = [];
  #storedBefore: StoredSite[] = [];
  #cosines: GradientCosine[] = [];

  /** @throws EspalierError `SAVED_OPTIONS` */
  constructor(options: SavedOptionsInput = {}) {
    this.options = parseSaved(options);
    this.#rules = this.options.rules.map(({ layer, op, form }) => ({
      layer: layer === undefined ? null : glob(layer),
      op: op ?? null,
      form,
    }));
  }

  get masks(): boolean {
    return this.options.masks && !this.#warm;
  }

  /** Before every step; `sample` overrides which layer is measured in it. */
  begin(step: number, sample?: number | null): void {
    for (const demand of this.#demands.values()) {
      const { known, seen } = demand;
      if (seen.blocks > (known?.blocks ?? -1)) demand.known = seen;
      demand.seen = { blocks: 0, rowPointers: 0, spent: 0 };
    }
    if (this.#stored.length > 0) this.#storedBefore = this.#stored;
    this.#stored = [];
    this.#lossyBefore = Math.max(this.#lossy, this.#lossyBefore);
    this.#lossy = 0;
    this.#step = step;
    this.#sample = sample === undefined ? this.#sampleOf(step) : sample;
  }

  /** Steps that between them need the most memory, by phase. Dry runs of each, twice, plan the arena of a phase. */
  plannedSteps(): { readonly warmup: PlannedStep | null; pruned(): PlannedStep[] } {
    const { warmup, sampleEvery } = this.options;
    const ends = new Set([warmup, warmup + this.#longestSchedule()]);
    return {
      warmup: warmup > 0 ? { step: 0, sample: null } : null,
      pruned: () => {
        const samples: (number | null)[] = [null];
        // Known once a dry step has run.
        const sites = Math.max(this.#lossy, this.#lossyBefore);
        if (sampleEvery > 0) for (let i = 0; i < sites; i++) samples.push(i);
        return [...ends].flatMap((step) => samples.map((sample) => ({ step, sample })));
      },
    };
  }

  form(site: Site): Form {
    if (this.#warm) return { kind: 'dense' };
    const spec = this.#specOf(site);
    return spec.kind === 'bsr' ? this.#blocks(spec, site) : spec;
  }

  samples(site: Site): boolean {
    if (site.reach !== 'weights') return false;
    return this.#lossy++ === this.#sample;
  }

  stored({ layer, op }: Site, form: FormKind, bytes: number, denseBytes: number): void {
    this.#stored.push({ layer, op, form, bytes, denseBytes });
  }

  measured({ layer, op }: Site, cosine: number): void {
    this.#cosines.push({ layer, op, cosine });
  }

  /** What the last step kept, in the order of the forward pass. */
  report(): { readonly sites: readonly StoredSite[]; readonly bytes: number; readonly denseBytes: number } {
    const sites = this.#stored.length > 0 ? this.#stored : this.#storedBefore;
    const sum = (what: 'bytes' | 'denseBytes') => sites.reduce((total, site) => total + site[what], 0);
    return { sites, bytes: sum('bytes'), denseBytes: sum('denseBytes') };
  }

  /** Cosines measured since the last call. */
  drain(): GradientCosine[] {
    const cosines = this.#cosines;
    this.#cosines = [];
    return cosines;
  }

  get #warm(): boolean {
    return this.#step < this.options.warmup;
  }

  #sampleOf(step: number): number | null {
    const { sampleEvery } = this.options;
    if (sampleEvery === 0 || step % sampleEvery !== 0) return null;
    return (step / sampleEvery) % Math.max(1, this.#lossyBefore);
  }

  #specOf({ layer, op, reach, takes, product }: Site): FormSpec {
    for (const rule of this.#rules) {
      if (rule.op !== null ? rule.op !== op : reach === 'path') continue;
      if (rule.layer !== null && !rule.layer.test(layer)) continue;
      if (rule.form.kind === 'recompute' && product && !rule.form.products) continue;
      // What cannot be computed again, or is named by its layer alone, may be of another kind: the next rule.
      if (!takes.has(rule.form.kind) && (rule.op === null || rule.form.kind === 'recompute')) continue;
      return rule.form;
    }
    const { inputs } = this.options;
    return reach === 'weights' && takes.has(inputs.kind) ? inputs : { kind: 'dense' };
  }

  #blocks(spec: BsrSpec, site: Site): Form {
    const { block, scope } = spec;
    const blocks = blockCount(site.shape, block);
    const blockRows = Math.ceil(matrixShape(site.shape).rows / block);
    const keep =
      spec.budget === undefined
        ? this.#keepNow(spec)
        : this.#affordable(spec, bytesOf(spec.budget), blocks, site);
    // A budget is a ceiling; a share is the nearest.
    const of = (all: number) =>
      spec.budget === undefined ? Math.max(keep > 0 ? 1 : 0, Math.round(keep * all)) : Math.floor(keep * all);
    const kept = scope === 'row' ? of(blocks / Math.max(1, blockRows)) : of(blocks);
    return { kind: 'bsr', block, scope, kept };
  }

  #keepNow({ keep = 1 }: BsrSpec): number {
    if (typeof keep === 'number') return keep;
    const along = Math.min(1, (this.#step - this.options.warmup) / keep.steps);
    return keep.from + along * (keep.to - keep.from);
  }

  /** The share of blocks with which all tensors under the budget fit together; before they are known: this one alone. */
  #affordable(spec: BsrSpec, budget: number, blocks: number, site: Site): number {
    let demand = this.#demands.get(spec);
    if (demand === undefined) {
      demand = { known: null, seen: { blocks: 0, rowPointers: 0, spent: 0 } };
      this.#demands.set(spec, demand);
    }
    const { seen } = demand;
    seen.blocks += blocks;
    const pointers = bsrBytes(site.shape, spec.block, 0, site.elementBytes);
    seen.rowPointers += pointers;
    const { known } = demand;
    const all = known === null || known.blocks < seen.blocks ? seen : known;
    const perBlock = spec.block ** 2 * site.elementBytes + 4;
    const share = (budget - all.rowPointers) / (all.blocks * perBlock);
    const left = (budget - seen.spent - pointers) / (blocks * perBlock);
    const keep = Math.max(0, Math.min(1, share, left));
    seen.spent += pointers + keep * blocks * perBlock;
    return keep;
  }

  #longestSchedule(): number {
    const forms = [this.options.inputs, ...this.options.rules.map(({ form }) => form)];
    return Math.max(
      0,
      ...forms.map((f) => (f.kind === 'bsr' && typeof f.keep === 'object' ? f.keep.steps : 0)),
    );
  }
}

/** A name with * for any run of characters. */
function glob(text: string): RegExp {
  const parts = text.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`);
}
