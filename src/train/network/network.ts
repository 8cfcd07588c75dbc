/** Training of networks: any task, any optimiser, any methods that take part; planned memory, exact resuming. */
import { Tape } from '../../autograd/tape.js';
import { EspalierError } from '../../errors.js';
import type { Kernels } from '../../kernels/face.js';
import { RandomStream } from '../../kernels/random.js';
import type { PlannedStep, SavedActivations } from '../../methods/block-sparse/saved-activations.js';
import type { Module } from '../../nn/module.js';
import { Optimizer } from '../../optim/optimizer.js';
import type { Participant } from '../../optim/participant.js';
import type { OptimizerSpec } from '../../optim/rules.js';
import { rateFactor, type ScheduleSpec } from '../../optim/schedule.js';
import { Device } from '../../tensor/device.js';
import type { BytesByTag } from '../../tensor/memory.js';
import { MemoryTimeline } from '../../tensor/timeline.js';
import { ensureFits } from '../memory-limit.js';
import type { NetworkTask, Split, TaskInstance } from './task.js';

export interface NetworkOptions {
  readonly kernels: Kernels;
  /**
   * `bf16`: linear and recurrent layers multiply operands rounded to bfloat16, forward and back, where the processor
   * has products of it (see GemmArgs); weights and sums stay float32. Default: float32.
   */
  readonly products?: 'float32' | 'bf16';
  readonly optimizer: OptimizerSpec;
  /** Default: constant. */
  readonly schedule?: ScheduleSpec;
  readonly epochs: number;
  readonly seed: number;
  /** Largest global norm of the gradient; default null: none. */
  readonly clip?: number | null;
  /** Bytes that training may take beside its data; default: what the machine has left, by which it refuses. */
  readonly maxMemory?: number;
  /** How activations are kept for backward; default: dense, each once. */
  readonly saved?: SavedActivations;
  /** Methods that take part, given what they work on; in this order at every point. */
  readonly methods?: (parts: NetworkParts) => readonly Participant[];
}

/** The kernels of a run: products that do not say how are made as the run says. */
function kernelsOf({ kernels, products = 'float32' }: NetworkOptions): Kernels {
  if (products === 'float32') return kernels;
  return { ...kernels, gemm: (args) => kernels.gemm({ products, ...args }) };
}

/** A stretch of training with a memory plan of its own. */
export interface MemoryPhase {
  /** `warm-up`: steps that keep everything dense. */
  readonly name: 'warm-up' | 'training';
  /** Of one step and one evaluation, from dry runs of the same code. */
  readonly bytes: BytesByTag;
  readonly totalBytes: number;
  readonly arenaBytes: number;
}

/** What a phase really held. */
export interface PhasePeak {
  readonly name: MemoryPhase['name'];
  readonly accountedBytes: number;
  /** Most resident bytes of the process at the end of a step. */
  readonly residentBytes: number;
}

export interface NetworkParts {
  readonly device: Device;
  readonly instance: TaskInstance;
  readonly optimizer: Optimizer;
  readonly stepsPerEpoch: number;
  readonly steps: number;
  /** Of an epoch: images, or symbols that are foretold. */
  readonly examples: number;
}

export interface Score {
  /** Mean over predictions. */
  readonly loss: number;
  /** Share of right answers. */
  readonly accuracy: number;
  readonly predictions: number;
}

/** Everything one run works with; `step()` by `step()`, or by `runNetwork`. */
export class NetworkTraining implements NetworkParts {
  readonly task: NetworkTask;
  readonly device: Device;
  readonly instance: TaskInstance;
  readonly optimizer: Optimizer;
  readonly participants: readonly Participant[];
  readonly stepsPerEpoch: number;
  readonly steps: number;
  readonly examples: number;
  /** In the order of time; the last one stands for the most of the run. */
  readonly phases: readonly MemoryPhase[];
  /** Peaks of the phases that have begun. */
  readonly peaks: PhasePeak[] = [];
  readonly #options: NetworkOptions;
  /** Steps taken. */
  taken = 0;

  constructor(task: NetworkTask, options: NetworkOptions) {
    this.task = task;
    this.#options = options;
    const { stepsPerEpoch, examples, steps } = lengthsOf(task, options);
    this.stepsPerEpoch = stepsPerEpoch;
    this.examples = examples;
    this.steps = steps;
    this.device = new Device(kernelsOf(options));
    this.phases = this.#planPhases();
    for (const phase of this.phases) ensureFits(phase, task.dataBytes, options.maxMemory);
    this.device.ledger.acquire('data', task.dataBytes);
    this.instance = task.create(this.device);
    this.optimizer = new Optimizer(this.device, this.instance.learner.namedParameters(), options.optimizer);
    this.participants = options.methods?.(this) ?? [];
  }

  /** The learning rate of a step: base, schedule, and what methods multiply. */
  rate(step: number): number {
    const { optimizer, schedule = { kind: 'constant' } } = this.#options;
    let rate = optimizer.rate * rateFactor(schedule, step, this.steps);
    for (const one of this.participants) rate *= one.rateFactor?.(step, this.steps) ?? 1;
    return rate;
  }

  /**
   * The next step; returns its mean loss.
   * @throws EspalierError `TRAINING_DIVERGED`
   */
  step(): number {
    const step = this.taken;
    this.#enterPhase(step);
    for (const one of this.participants) one.beforeStep?.(step, this.steps);
    const rate = this.rate(step);
    const loss = trainStep(this.device, this.instance, this.optimizer, {
      step,
      rate,
      clip: this.#options.clip ?? null,
      seed: this.#options.seed,
      saved: this.#options.saved,
    });
    this.#notePeak();
    if (!Number.isFinite(loss)) throw diverged(step, loss, rate);
    for (const one of this.participants) one.afterStep?.(step, this.steps);
    this.taken++;
    return loss;
  }

  /** Scores a split with what would be deployed; training goes on as if nothing had been asked. */
  evaluate(split: Split): Score {
    this.#enterPhase(this.taken);
    for (const one of this.participants) one.beforeEvaluation?.();
    return evaluate(this.device, this.instance, split);
  }

  /** How activations are kept, where a policy says so. */
  get saved(): SavedActivations | null {
    return this.#options.saved ?? null;
  }

  /** Live bytes over one training step, buffer by buffer, from a dry run of the same code. */
  recordStep(): Promise<MemoryTimeline> {
    return recordNetworkStep(this.task, this.#options);
  }

  /** Cosines between pruned and dense weight gradients, measured since the last call. */
  drainCosines() {
    return this.#options.saved?.drain() ?? [];
  }

  /** What the plan says of the present phase. */
  get planned(): MemoryPhase {
    return this.#phaseOf(this.taken);
  }

  #phaseOf(step: number): MemoryPhase {
    const warm = step < (this.#options.saved?.options.warmup ?? 0);
    return (warm ? this.phases[0] : this.phases.at(-1)) as MemoryPhase;
  }

  /** The arena of a phase is made when it begins; the pages of the one before go back to the system. */
  #enterPhase(step: number): void {
    const { name, arenaBytes } = this.#phaseOf(step);
    if (this.peaks.at(-1)?.name === name) return;
    const { arena, ledger } = this.device;
    arena.reset();
    arena.resize(arenaBytes);
    ledger.restartPeaks();
    this.peaks.push({ name, accountedBytes: ledger.peakBytes, residentBytes: 0 });
  }

  #notePeak(): void {
    const last = this.peaks.pop() as PhasePeak;
    const residentBytes = Math.max(last.residentBytes, process.memoryUsage.rss());
    this.peaks.push({ ...last, accountedBytes: this.device.ledger.peakBytes, residentBytes });
  }

  #planPhases(): MemoryPhase[] {
    const { saved } = this.#options;
    if (saved === undefined) return [this.#plan('training', () => [{ step: 0, sample: null }])];
    const { warmup, pruned } = saved.plannedSteps();
    const training = this.#plan('training', pruned);
    return warmup === null ? [training] : [this.#plan('warm-up', () => [warmup]), training];
  }

  #plan(name: MemoryPhase['name'], steps: () => readonly PlannedStep[]): MemoryPhase {
    const { saved } = this.#options;
    const { device: dry, instance, optimizer } = dryTraining(this.task, this.#options);
    dry.ledger.acquire('data', this.task.dataBytes);
    const run = ({ step, sample }: PlannedStep) =>
      trainStep(dry, instance, optimizer, { step, sample, rate: 0, clip: 1, seed: 0, saved });
    // What a budget allows, and how many layers there are to measure, is known after one step.
    for (const one of steps().slice(0, 1)) run(one);
    dry.arena.reset();
    dry.arena.forget();
    dry.ledger.restartPeaks();
    for (const one of steps()) run(one);
    for (const split of ['validation', 'test'] as const) {
      try {
        if (instance.pieces(split) > 0) scorePiece(dry, instance, split, 0);
      } catch (error) {
        if (!(error instanceof EspalierError) || error.code !== 'SPLIT_MISSING') throw error;
      }
    }
    return {
      name,
      bytes: dry.ledger.atPeak(),
      totalBytes: dry.ledger.peakBytes,
      arenaBytes: dry.arena.highWaterBytes,
    };
  }
}

/** Live bytes over one step after the warm-up, from a dry run: nothing of the training is made. */
export async function recordNetworkStep(task: NetworkTask, options: NetworkOptions): Promise<MemoryTimeline> {
  const { saved } = options;
  const { device, instance, optimizer } = dryTraining(task, options);
  const step = saved?.options.warmup ?? 0;
  const run = (mark?: (name: string) => void) =>
    trainStep(device, instance, optimizer, { step, sample: null, rate: 0, clip: 1, seed: 0, saved, mark });
  run();
  device.arena.reset();
  const { timeline } = await MemoryTimeline.record(device.ledger, (line) => run((name) => line.mark(name)));
  return timeline;
}

/** A training on a dry device, with all that its methods will ever hold. */
function dryTraining(task: NetworkTask, options: NetworkOptions): NetworkParts {
  const device = new Device(kernelsOf(options), { dry: true });
  const instance = task.create(device);
  const optimizer = new Optimizer(device, instance.learner.namedParameters(), options.optimizer);
  const parts = { device, instance, optimizer, ...lengthsOf(task, options) };
  for (const one of options.methods?.(parts) ?? []) one.plan?.();
  return parts;
}

function lengthsOf({ stepsPerEpoch, examples }: NetworkTask, { epochs }: NetworkOptions) {
  return { stepsPerEpoch, examples, steps: Math.max(1, Math.round(epochs * stepsPerEpoch)) };
}

interface StepHow {
  readonly step: number;
  readonly rate: number;
  readonly clip: number | null;
  readonly seed: number;
  readonly saved?: SavedActivations;
  /** Which layer is measured, see SavedActivations.begin. */
  readonly sample?: number | null;
  /** Told of the parts of the step. */
  readonly mark?: (name: string) => void;
}

/** Forward, backward, update; the same code runs dry for planning. Draws depend on the seed and the step alone. */
function trainStep(device: Device, instance: TaskInstance, optimizer: Optimizer, how: StepHow): number {
  const { step, rate, clip, seed, saved, sample, mark = () => {} } = how;
  device.arena.reset();
  instance.learner.zeroGrad();
  for (const [, { parametrization }] of instance.learner.namedParameters()) parametrization?.prepare(step);
  saved?.begin(step, sample);
  const tape = new Tape(device, { saved });
  mark('forward');
  const loss = instance.trainLoss(tape, step, RandomStream.named(seed, `dropout/${step}`));
  const value = device.dry ? 0 : loss.data[0];
  mark('backward');
  tape.backward(loss);
  mark('update');
  const norm = clip === null ? 0 : optimizer.gradientNorm();
  if (!Number.isFinite(value) || !Number.isFinite(norm)) return Number.NaN;
  optimizer.step(rate, clip !== null && norm > clip ? clip / norm : 1);
  return value;
}

function scorePiece(device: Device, instance: TaskInstance, split: Split, piece: number): void {
  device.arena.reset();
  instance.score(new Tape(device, { recording: false }), split, piece);
}

/**
 * Scores another module, e.g. one that was exported, as the task scores its own.
 * @example scoreModule(task, sparseNetwork(kernels, learner, { input: [1, 28, 28] }), kernels, 'test').accuracy
 */
export function scoreModule(task: NetworkTask, module: Module, kernels: Kernels, split: Split): Score {
  const device = new Device(kernels);
  return evaluate(device, task.create(device, module), split);
}

function evaluate(device: Device, instance: TaskInstance, split: Split): Score {
  let [loss, correct, predictions] = [0, 0, 0];
  const resume = instance.suspend?.();
  for (let piece = 0; piece < instance.pieces(split); piece++) {
    scorePiece(device, instance, split, piece);
    loss += instance.totals[0];
    correct += instance.totals[1];
    predictions += instance.predictions;
  }
  resume?.();
  const n = Math.max(1, predictions);
  return { loss: loss / n, accuracy: correct / n, predictions };
}

function diverged(step: number, loss: number, rate: number): EspalierError {
  return new EspalierError({
    code: 'TRAINING_DIVERGED',
    kind: 'numeric',
    op: 'train',
    problem: `the loss or the gradient is not finite at step ${step}`,
    expected: 'finite numbers',
    received: `loss ${loss}`,
    hint: `the learning rate (${rate.toPrecision(3)} at this step) is the usual cause: lower it or set clip`,
  });
}
