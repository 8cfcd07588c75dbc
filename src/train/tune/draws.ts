/** Draws that can be tried: what they make of the settings, and what they would take. */
import type { CsrDataset } from '../../data/dataset.js';
import type { TrainingRows } from '../../data/label-rows.js';
import { EspalierError } from '../../errors.js';
import type { Kernels } from '../../kernels/index.js';
import { Device } from '../../tensor/device.js';
import { type Clusters, clustersOf } from '../auxiliary.js';
import { parseConfig, type TrainConfig, type TrainConfigInput } from '../config.js';
import { operationsPerExample } from '../plan.js';
import { planRun } from '../session.js';
import { refuse } from './options.js';
import { drawSettings, withDraw } from './space.js';

export interface Drawn {
  readonly config: TrainConfig;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Accounted bytes of training on all rows. */
  readonly bytes: number;
}

export interface DrawMaterial extends TrainingRows {
  /** The settings that hold for every draw, `base` with what they leave open. */
  readonly given: TrainConfigInput;
  readonly base: TrainConfig;
  readonly kernels: Kernels;
  readonly validation: CsrDataset;
}

/** A draw may take so many times the operations of the default settings. */
const mostWork = 8;
const mostPassedOver = 200;

export class Draws {
  readonly #about: DrawMaterial;
  readonly #seed: number;
  readonly #bound: number;
  readonly #known = new Map<number, Drawn>();
  readonly #clusters = new Map<string, Clusters>();
  #defaultWork: number | null = null;

  constructor(about: DrawMaterial, { seed, bound }: { readonly seed: number; readonly bound: number }) {
    this.#about = about;
    this.#seed = seed;
    this.#bound = bound;
  }

  async get(draw: number): Promise<Drawn> {
    const known = this.#known.get(draw);
    if (known !== undefined) return known;
    const { given, base, kernels } = this.#about;
    const settings = drawSettings(draw, { seed: this.#seed, given, base });
    const config = draw === 0 ? base : parseConfig(withDraw(given, settings));
    const clusters = await this.#clustersOf(config);
    const { plan } = await planRun(new Device(kernels), config, this.#about, clusters);
    const drawn = { config, settings, bytes: plan.totalBytes };
    this.#known.set(draw, drawn);
    return drawn;
  }

  /**
   * The first draw from `from` on that fits the memory and is not far slower than the default settings.
   *
   * @throws EspalierError `TUNE_SPACE` where there seems to be none
   */
  async next(from: number): Promise<{ readonly draw: number; readonly passedOver: number }> {
    for (let passedOver = 0; passedOver < mostPassedOver; passedOver++) {
      if (await this.#fits(from + passedOver)) return { draw: from + passedOver, passedOver };
    }
    throw refuse('TUNE_SPACE', `${mostPassedOver} draws in a row were too large or too slow`, {
      expected: `at most ${Math.floor(this.#bound / 2 ** 20)} MiB and ${mostWork} times the operations of the default settings`,
      hint: 'allow more with --max-memory, or fix settings that take less: --set model.encoder.embedding=128',
    });
  }

  async #fits(draw: number): Promise<boolean> {
    try {
      const { config, bytes } = await this.get(draw);
      if (bytes > this.#bound) return false;
      this.#defaultWork ??= await this.#work((await this.get(0)).config);
      return (await this.#work(config)) <= mostWork * this.#defaultWork;
    } catch (error) {
      // Settings that are given and drawn ones may not go together.
      if (error instanceof EspalierError && error.facts.kind === 'usage') return false;
      throw error;
    }
  }

  async #work(config: TrainConfig): Promise<number> {
    return config.epochs * (await operationsPerExample(config, this.#about.kernels, this.#about.rows));
  }

  async #clustersOf(config: TrainConfig): Promise<Clusters> {
    const { auxiliary, seed } = config;
    const { kind, group = null, order = null } = config.model.output as Record<string, unknown>;
    const key = JSON.stringify([auxiliary, seed, kind === 'grouped' && order === 'clusters' ? group : null]);
    const known = this.#clusters.get(key);
    if (known !== undefined) return known;
    const made = await clustersOf(config, this.#about.kernels, this.#about.rows);
    this.#clusters.set(key, made);
    return made;
  }
}
