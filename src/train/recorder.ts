/**
 * Writes the events of a run to its log, and to TensorBoard where that is asked for. The log stays small however long
 * a run is: progress records grow rarer with time (some 2,000 in the first seven minutes, 11,000 in a day).
 */
import { join } from 'node:path';
import { EventFile, type EventHistogram, type EventValues, type RunLog } from '../store/index.js';
import type { TrainEvent } from './events.js';

type Progress = Extract<TrainEvent, { event: 'progress' }>;

/** Milliseconds between progress records, by milliseconds since the start. */
const intervalAt = (elapsed: number): number => Math.max(190, elapsed / 2_000);

export class RunRecorder {
  readonly #log: RunLog;
  readonly #from: number;
  readonly #board: EventFile | null;
  readonly #start = performance.now();
  #last = Number.NEGATIVE_INFINITY;
  #heldFrom: number;
  /** Progress not yet written: its loss is the mean over the steps since the last record. */
  #held: Progress | null = null;

  /** `from`: steps taken before this process; TensorBoard's files go to `tensorboard/` beside the log. */
  constructor(
    log: RunLog,
    options: { readonly out: string; readonly from: number; readonly tensorboard: boolean },
  ) {
    this.#log = log;
    this.#from = options.from;
    this.#heldFrom = options.from;
    this.#board = options.tensorboard
      ? EventFile.create(join(options.out, 'tensorboard'), { step: options.from })
      : null;
  }

  write(event: TrainEvent): void {
    if (event.event !== 'progress') {
      this.flush();
      this.#put(event);
      return;
    }
    this.#held = merge(this.#held, event, this.#heldFrom);
    const now = performance.now();
    if (now - this.#last >= intervalAt(now - this.#start)) this.flush();
  }

  /** Writes the progress that waits for its time. */
  flush(): void {
    if (this.#held === null) return;
    this.#put(this.#held);
    this.#heldFrom = this.#held.step;
    this.#held = null;
    this.#last = performance.now();
  }

  sync(): void {
    this.flush();
    this.#log.sync();
    this.#board?.sync();
  }

  close(): void {
    this.#board?.close();
  }

  #put(event: TrainEvent): void {
    const step = 'step' in event ? event.step : this.#from;
    this.#log.write({ ...event, step });
    const values = this.#board === null ? null : boardValues(event);
    if (values !== null) this.#board?.write(step, values);
  }
}

/** One record for the steps of two: losses weighted by their steps, everything else of the later. */
function merge(held: Progress | null, next: Progress, from: number): Progress {
  if (held === null) return next;
  const [before, after] = [held.step - from, next.step - held.step];
  const mean = (a: number, b: number) => (before * a + after * b) / Math.max(1, before + after);
  const auxiliary =
    next.auxiliary === null || held.auxiliary === null
      ? next.auxiliary
      : { ...next.auxiliary, loss: mean(held.auxiliary.loss, next.auxiliary.loss) };
  return {
    ...next,
    loss: mean(held.loss, next.loss),
    lossSteps: held.lossSteps + next.lossSteps,
    auxiliary,
  };
}

/** What TensorBoard shows of an event; null: nothing. */
export function boardValues(event: TrainEvent): EventValues | null {
  switch (event.event) {
    case 'progress':
      return {
        scalars: {
          'train/loss': event.loss,
          'train/rate': event.rate,
          'train/encoder_norm': event.encoderNorm,
          'train/examples_per_second': event.examplesPerSecond,
          'memory/rss_bytes': event.rssBytes,
          ...(event.auxiliary && { 'train/auxiliary_loss': event.auxiliary.loss }),
        },
      };
    case 'validation': {
      const scalars: Record<string, number> = {};
      for (const [name, figures] of Object.entries({ P: event.precision, nDCG: event.ndcg, PSP: event.psp }))
        for (const [k, value] of Object.entries(figures)) scalars[`validation/${name}@${k}`] = value;
      for (const [bucket, byK] of Object.entries(event.buckets ?? {}))
        for (const [k, { recall }] of Object.entries(byK))
          scalars[`validation_${bucket}/found@${k}`] = recall;
      return { scalars };
    }
    case 'rewire':
      return {
        scalars: {
          'topology/replaced_share': event.replaced / Math.max(1, event.connections),
          'topology/explored': event.explored,
        },
      };
    case 'memory':
      return {
        scalars: Object.fromEntries(
          Object.entries(event.bytes).map(([tag, bytes]) => [`memory/${tag}`, bytes]),
        ),
      };
    case 'snapshot': {
      const histograms: Record<string, EventHistogram> = {};
      for (const { name, ...histogram } of event.weights) histograms[`weights/${name}`] = histogram;
      if (event.inDegree !== null) histograms['topology/in_degree'] = event.inDegree;
      return { histograms };
    }
    default:
      return null;
  }
}
