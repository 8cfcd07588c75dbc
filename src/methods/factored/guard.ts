/**
 * Keeps the two factors apart from overflow and cancellation. Every step multiplies U by I - S; what counts for
 * accuracy is the ratio of its largest to its smallest singular value (a factor common to all is harmless until it
 * nears the end of the range of floats). The guard follows a bound of that ratio from step to step, measures it when
 * the bound leaves the band, and moves the few directions that left it from U into V.
 */
import type { Floats } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import { symmetricEigen } from './eigen.js';
import type { Factors } from './factors.js';

/** How often something happened, and the seconds it took. */
export interface Tally {
  count: number;
  seconds: number;
}

/** What kept the factors sound so far; times include the passes over V. */
export interface StabilityReport {
  /** Measurements of the singular values of U, each with U^-T made anew by Newton's iteration. */
  readonly checks: Tally;
  /** U^-T by elimination, because it was too far off. */
  readonly eliminations: Tally;
  /** Directions brought back into the band. */
  readonly moves: Tally & { directions: number };
  /** Steps that would have made U singular, and the directions that were kept from it. */
  readonly singular: Tally & { directions: number };
  /** Times that a common factor was taken out of U. */
  readonly rescalings: Tally;
  /** V <- V U, U <- I: the last resort. */
  readonly resets: Tally;
  /** Passes over all of V, their time counted above as well. */
  readonly passes: Tally;
  /** Comparisons of Q and wbar with the weights. */
  readonly probes: Tally;
  /** Q and wbar counted anew from the weights. */
  readonly recounts: Tally;
  /** Largest element of U^T U^-T - I at the last check, before the repair. */
  residual: number;
  /** Ratio of the singular values of U at the last check, before the repair. */
  condition: number;
  /** Relative error of Q, and of wbar, at the last probe. */
  drift: number;
}

/** One thing that happened, for logs. */
export interface StabilityEvent {
  readonly what: 'move' | 'singular' | 'elimination' | 'rescaling' | 'reset' | 'probe' | 'recount';
  readonly seconds: number;
  readonly directions?: number;
  readonly condition?: number;
  readonly residual?: number;
  readonly drift?: number;
}

/** Directions looked at from either end at once. */
const blockSize = 8;
const turns = 3;
/** Rounds of moves before the last resort. */
const mostRounds = 12;
/** Common factors of U outside of 2^-+this are taken out. */
const commonPower = 40;
/** Relative error of Q beyond which it is counted anew. */
const mostDrift = 1e-3;
/** Steps after which a check comes even when the bound stays inside. */
const checkEvery = 500;

export class Guard {
  readonly report: StabilityReport;
  readonly #factors: Factors;
  readonly #band: number;
  readonly #probeEvery: number;
  readonly #events: StabilityEvent[] = [];
  /** [4], bound of the ratio of the singular values, updates since the last check, since the last probe, in all. */
  readonly state: Float64Array;

  constructor(factors: Factors, options: { readonly band?: number; readonly probeEvery?: number }) {
    this.#factors = factors;
    this.#band = options.band ?? 1e3;
    this.#probeEvery = options.probeEvery ?? 10_000;
    this.state = factors.device.persistent('optimizer', [4], 'float64').data as Float64Array;
    const tally = (): Tally => ({ count: 0, seconds: 0 });
    this.report = {
      checks: tally(),
      eliminations: tally(),
      moves: { ...tally(), directions: 0 },
      singular: { ...tally(), directions: 0 },
      rescalings: tally(),
      resets: tally(),
      passes: factors.passes,
      probes: tally(),
      recounts: tally(),
      residual: 0,
      condition: 1,
      drift: 0,
    };
    this.forget();
  }

  /** After the factors were made anew. */
  forget(): void {
    if (!this.#factors.device.dry) this.state.set([1, 0, 0, 0]);
  }

  /** Updates seen since the start; 0 where nothing but weights was loaded. */
  get updates(): number {
    return this.state[3];
  }

  /** What happened since the last call. */
  drain(): StabilityEvent[] {
    return this.#events.splice(0);
  }

  /** Books a step that would have made U singular. */
  tookSingular(directions: number, seconds: number): void {
    this.report.singular.directions += directions;
    this.#book(this.report.singular, { what: 'singular', seconds, directions });
  }

  /** After every step, with the bounds of its factors |1 - k_i|. */
  async after(smallest: number, largest: number): Promise<void> {
    if (this.#factors.device.dry) return this.#factors.rehearse();
    const [before, steps, probe, all] = this.state;
    const bound = (before * Math.max(1, largest)) / Math.min(1, smallest);
    this.state.set([bound, steps + 1, probe + 1, all + 1]);
    if (!(bound <= this.#band) || steps + 1 >= checkEvery) await this.check();
    if (probe + 1 >= this.#probeEvery) await this.probe();
  }

  /** Measures U, repairs what left the band, and makes U^-T anew. */
  async check(): Promise<void> {
    const { report } = this;
    const start = performance.now();
    let passes = 0;
    const timed = async (work: () => Promise<void>): Promise<number> => {
      const from = performance.now();
      await work();
      const seconds = (performance.now() - from) / 1000;
      passes += seconds;
      return seconds;
    };
    let sound = this.#invert();
    let condition = 1;
    for (let round = 0; sound; round++) {
      const block = this.#extremes();
      condition = block.condition;
      if (round === 0) report.condition = condition;
      if (condition <= this.#band / 2) {
        const power = Math.log2(block.middle);
        if (Math.abs(power) > commonPower) {
          const seconds = await timed(() => this.#factors.rescale(2 ** -Math.round(power)));
          this.#book(report.rescalings, { what: 'rescaling', seconds });
        }
        break;
      }
      if (round === mostRounds || block.outside.length === 0 || !Number.isFinite(condition)) {
        sound = false;
        break;
      }
      const directions = block.outside.length;
      const seconds = await timed(() => this.#move(block));
      report.moves.directions += directions;
      this.#book(report.moves, { what: 'move', seconds, directions, condition: report.condition });
      sound = this.#invert();
    }
    if (!sound) {
      await timed(() => this.reset());
      condition = 1;
    }
    // The power method sees a little less than there is.
    this.state[0] = Math.max(1, Math.min(1.5 * condition, this.#band / 2));
    this.state[1] = 0;
    report.checks.count++;
    report.checks.seconds += (performance.now() - start) / 1000 - passes;
  }

  /** V <- V U, U <- I. */
  async reset(): Promise<void> {
    const start = performance.now();
    await this.#factors.absorb();
    this.#book(this.report.resets, { what: 'reset', seconds: (performance.now() - start) / 1000 });
    this.state[0] = 1;
  }

  #invert(): boolean {
    const start = performance.now();
    const answer = this.#factors.invert();
    if (answer === null) return false;
    this.report.residual = answer.residual;
    if (answer.eliminated) {
      const seconds = (performance.now() - start) / 1000;
      this.#book(this.report.eliminations, { what: 'elimination', seconds, residual: answer.residual });
    }
    return true;
  }

  /** Compares Q and wbar with the weights, and counts them anew where they drifted. */
  async probe(): Promise<void> {
    const { report } = this;
    const start = performance.now();
    const { gram, sum } = await this.#factors.probe();
    report.drift = Math.max(gram, sum);
    this.#book(report.probes, {
      what: 'probe',
      seconds: (performance.now() - start) / 1000,
      drift: report.drift,
    });
    this.state[2] = 0;
    if (report.drift <= mostDrift) return;
    const again = performance.now();
    this.#factors.recount();
    this.#book(report.recounts, { what: 'recount', seconds: (performance.now() - again) / 1000 });
  }

  #book(tally: Tally, event: StabilityEvent): void {
    tally.count++;
    tally.seconds += event.seconds;
    // A log that nobody reads must not grow for ever.
    if (this.#events.length < 1000) this.#events.push(event);
  }

  /**
   * The largest and smallest singular values of U with their left vectors, by block power iteration on U^T and U^-1
   * from a fixed start.
   */
  #extremes(): Extremes {
    const { inputs: d, U, inverse } = this.#factors;
    const n = Math.min(blockSize, d);
    const high = this.#block(n, U.copy);
    const low = this.#block(n, inverse);
    const middle = Math.sqrt(high.values[n - 1] * low.values[n - 1]);
    const condition = high.values[0] / low.values[0];
    // Once there is a pass, it takes along what would soon need one.
    const mild = this.#band ** 0.25;
    const outside: Direction[] = [];
    for (let i = 0; i < n; i++) {
      const u = (from: typeof high) => from.vectors.subarray(i * d, (i + 1) * d);
      if (high.values[i] > middle * mild) outside.push({ sigma: high.values[i], u: u(high) });
      if (low.values[i] < middle / mild) outside.push({ sigma: low.values[i], u: u(low) });
    }
    return { condition, middle, outside };
  }

  /** `n` singular values of U, most extreme first, with left vectors [n, d]; of `towards`, U or U^-T, the largest. */
  #block(n: number, towards: Floats): { values: Float64Array; vectors: Float64Array } {
    const { inputs: d, device, kernels, U } = this.#factors;
    const [right, left] = [0, 1].map(() => device.temporary('workspace', [n, d]));
    // The same start every time, so that runs repeat.
    const draws = RandomStream.named(0, 'factored/guard');
    for (let i = 0; i < n * d; i++) right.data[i] = draws.uniform() - 0.5;
    let vectors = new Float64Array(0);
    for (let turn = 0; turn < turns; turn++) {
      kernels.gemm({ transB: true, m: n, n: d, k: d, a: right.data, b: towards, c: left.data });
      vectors = orthonormalRows(n, d, left.data);
      left.data.set(vectors);
      if (turn + 1 < turns) kernels.gemm({ m: n, n: d, k: d, a: left.data, b: towards, c: right.data });
    }
    // Rayleigh and Ritz: the singular values of U within the span of these rows.
    kernels.gemm({ m: n, n: d, k: d, a: left.data, b: U.copy, c: right.data });
    const gram = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0;
        for (let l = 0; l < d; l++) sum += right.data[i * d + l] * right.data[j * d + l];
        gram[i * n + j] = sum;
      }
    }
    for (const used of [right, left]) device.release(used);
    const eigen = symmetricEigen(n, gram);
    const values = new Float64Array(n);
    const turned = new Float64Array(n * d);
    for (let i = 0; i < n; i++) {
      const from = towards === U.copy ? n - 1 - i : i;
      values[i] = Math.sqrt(Math.max(eigen.values[from], 0));
      for (let j = 0; j < n; j++) {
        const weight = eigen.vectors[from * n + j];
        for (let l = 0; l < d; l++) turned[i * d + l] += weight * vectors[j * d + l];
      }
    }
    return { values, vectors: turned };
  }

  /**
   * U <- (I + a u u^T) U, U^-T <- (I + b u u^T) U^-T and V <- V (I + b u u^T) with (1 + a)(1 + b) = 1, so that the
   * singular value becomes `middle`: exact for any orthonormal u.
   */
  async #move({ outside, middle }: Extremes): Promise<void> {
    const factors = this.#factors;
    const { inputs: d, device, U, inverse } = factors;
    const rank = outside.length;
    const joined = new Float64Array(rank * d);
    for (const [i, { u }] of outside.entries()) joined.set(u, i * d);
    // Vectors from both ends: orthogonal only as far as the power method went.
    const u = orthonormalRows(rank, d, joined);
    const [left, right] = [0, 1].map(() => device.temporary('workspace', [rank, d]));
    left.data.set(u);
    for (const [r, { sigma }] of outside.entries()) {
      const back = sigma / middle - 1;
      const row = u.subarray(r * d, (r + 1) * d);
      stretch(d, row, 1 / (1 + back) - 1, U.master);
      stretch(d, row, back, inverse);
      for (let j = 0; j < d; j++) right.data[r * d + j] = back * row[j];
    }
    U.copy.set(U.master);
    await factors.change(rank, left.data, right.data);
    for (const used of [left, right]) device.release(used);
  }
}

interface Direction {
  readonly sigma: number;
  readonly u: Float64Array;
}

interface Extremes {
  readonly condition: number;
  /** The level of the bulk of the singular values. */
  readonly middle: number;
  readonly outside: readonly Direction[];
}

/** a <- (I + amount u u^T) a */
function stretch(d: number, u: Float64Array, amount: number, a: Floats): void {
  const row = new Float64Array(d);
  for (let i = 0; i < d; i++) for (let j = 0; j < d; j++) row[j] += u[i] * a[i * d + j];
  for (let i = 0; i < d; i++) {
    const factor = amount * u[i];
    for (let j = 0; j < d; j++) a[i * d + j] += factor * row[j];
  }
}

/** The rows of a [n, d] made orthonormal by Gram and Schmidt, twice; a row that depends on others becomes 0. */
function orthonormalRows(n: number, d: number, a: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const out = Float64Array.from({ length: n * d }, (_, i) => a[i]);
  for (let i = 0; i < n; i++) {
    const row = out.subarray(i * d, (i + 1) * d);
    let before = 0;
    for (let l = 0; l < d; l++) before += row[l] * row[l];
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        let inner = 0;
        for (let l = 0; l < d; l++) inner += row[l] * out[j * d + l];
        for (let l = 0; l < d; l++) row[l] -= inner * out[j * d + l];
      }
    }
    let square = 0;
    for (let l = 0; l < d; l++) square += row[l] * row[l];
    const size = square > 1e-24 * before ? 1 / Math.sqrt(square) : 0;
    for (let l = 0; l < d; l++) row[l] *= size;
  }
  return out;
}
