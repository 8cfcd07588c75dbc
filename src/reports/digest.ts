/** A run log, taken in line by line: everything that is shown of it, in bounded memory, whatever stands in the file. */
import { z } from 'zod';
import { memoryTags as tags } from '../tensor/memory.js';
import { GrowingTable, Thinned } from './table.js';
import type { Figure, GateRecord, LivePoint, RunReport, RunSummary, Snapshot, Validation } from './types.js';

const progressColumns = [
  'loss',
  'rate',
  'encoderNorm',
  'auxiliaryLoss',
  'examplesPerSecond',
  'rssBytes',
  'accuracy',
];
const mostEntries = 600;
const mostKinds = 64;
/** Of longer logs, only every so-manieth progress record is looked at. */
const skimBytes = 64 << 20;

const figure = z.number().nullable().catch(null);
const whole = z.number().int().min(0);
const byK = z.record(z.string().regex(/^\d{1,6}$/), figure).catch({});
const bucketScores = z.object({ precision: figure, recall: figure, contribution: figure });
const bucketRecord = z.record(z.string().regex(/^\d{1,6}$/), bucketScores);
const validation = z.object({
  rows: figure,
  epoch: figure,
  precision: byK,
  ndcg: byK,
  psp: byK,
  buckets: z.object({ head: bucketRecord, torso: bucketRecord, tail: bucketRecord }).nullable().catch(null),
});
const bins = { from: z.number(), to: z.number(), shares: z.array(z.number()).max(512) };
const name = z.string().max(256);
const snapshot = z.object({
  weights: z.array(z.object({ ...bins, name, zeros: figure, rms: figure })).max(32),
  inDegree: z
    .object({
      ...bins,
      units: whole,
      unconnected: whole,
      mean: z.number(),
      median: z.number(),
      topTenth: z.number(),
    })
    .nullable()
    .catch(null),
});
const memory = z.object({ bytes: z.record(z.string(), z.unknown()) });
const gates = z.object({
  what: z.object({
    epoch: figure,
    layers: z
      .array(
        z.object({
          name,
          kept: z.number(),
          of: z.number(),
          shares: z.array(z.number()).max(512).nullable().catch(null),
        }),
      )
      .max(64),
  }),
});
const start = z.object({
  kernels: z.string().max(100).nullable().catch(null),
  ...{
    threads: figure,
    rows: figure,
    features: figure,
    labels: figure,
    weights: figure,
    steps: figure,
    plannedBytes: figure,
  },
});
const end = z.object({
  ...{ seconds: figure, examplesPerSecond: figure, accountedPeak: figure, peakRss: figure },
  bytes: z.record(z.string(), z.unknown()).catch({}),
});

/** What the log says; the rest of a report comes from other files. */
export type LogReport = Omit<
  RunReport,
  'id' | 'name' | 'directory' | 'status' | 'readShare' | 'config' | 'evaluations' | 'modelBytes' | 'output'
> & { readonly ended: boolean };

export type LogSummary = Pick<LogReport, Extract<keyof LogReport, keyof RunSummary>> & {
  readonly ended: boolean;
};

const finite = (value: unknown): Figure =>
  typeof value === 'number' && Number.isFinite(value) ? value : null;

export class LogDigest {
  #lines = 0;
  #broken = 0;
  #firstBroken = 0;
  #skim = 1;
  #skimmed = 0;
  readonly #kinds = new Map<string, number>();
  #updated: Figure = null;
  #step: Figure = null;
  /** Seconds at work before this process, and when this process began. */
  #before = 0;
  #began: Figure = null;
  #start: z.infer<typeof start> | null = null;
  #end: z.infer<typeof end> | null = null;
  #latest: Record<string, unknown> = {};
  readonly #progress = new GrowingTable(progressColumns, mostEntries);
  readonly #rewires = new GrowingTable(['replacedShare', 'explored'], mostEntries);
  readonly #memory = new GrowingTable(tags, mostEntries);
  readonly #validations = new Thinned<Validation>(400);
  readonly #snapshots = new Thinned<Snapshot>(64);
  readonly #gates = new Thinned<GateRecord>(64);
  #peakByTag: Record<string, number> | null = null;

  /** Told the size of the file before it is read. */
  expect(bytes: number): void {
    if (this.#lines === 0) this.#skim = Math.max(1, Math.ceil(bytes / skimBytes));
  }

  /** Takes in one line; returns the point that it adds to the curves, or `changed` where it says something else. */
  line(bytes: Buffer): LivePoint | 'changed' | null {
    this.#lines++;
    if (
      this.#skim > 1 &&
      bytes.subarray(0, 64).includes('"event":"progress"') &&
      this.#skimmed++ % this.#skim !== 0
    ) {
      this.#count('progress');
      return null;
    }
    let record: unknown;
    try {
      record = JSON.parse(bytes.toString('utf8'));
    } catch {
      return this.tooLong();
    }
    if (typeof record !== 'object' || record === null || Array.isArray(record)) return this.tooLong();
    const { t, event, step } = record as Record<string, unknown>;
    if (typeof event !== 'string' || !Number.isFinite(t) || !Number.isSafeInteger(step))
      return this.tooLong();
    return this.#take(record as Record<string, unknown>, event, t as number, step as number);
  }

  /** A line that is no record. */
  tooLong(): 'changed' {
    if (this.#broken++ === 0) this.#firstBroken = this.#lines;
    return 'changed';
  }

  #count(event: string): void {
    const kind = event.slice(0, 64);
    if (this.#kinds.has(kind) || this.#kinds.size < mostKinds)
      this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1);
  }

  #take(
    record: Record<string, unknown>,
    event: string,
    t: number,
    step: number,
  ): LivePoint | 'changed' | null {
    this.#count(event);
    if (event === 'start' || this.#began === null) {
      if (this.#began !== null && this.#updated !== null)
        this.#before += Math.max(0, this.#updated - this.#began) / 1000;
      this.#began = t;
    }
    this.#updated = t;
    this.#step = step;
    const at = {
      step,
      epoch: finite(record.epoch),
      seconds: this.#before + Math.max(0, t - this.#began) / 1000,
    };
    switch (event) {
      case 'progress': {
        const { auxiliary } = record;
        const values: Record<string, Figure> = {};
        for (const column of progressColumns) values[column] = finite(record[column]);
        if (typeof auxiliary === 'object' && auxiliary !== null) {
          values.auxiliaryLoss = finite((auxiliary as Record<string, unknown>).loss);
        }
        values.examplesPerSecond ??= finite(record.predictionsPerSecond);
        this.#latest = { ...record, ...values };
        this.#progress.add(at, values);
        return { ...at, values };
      }
      case 'start':
        this.#start = start.safeParse(record).data ?? this.#start;
        this.#end = null;
        break;
      case 'validation': {
        const scores = validation.safeParse(record).data;
        if (scores === undefined) return this.tooLong();
        this.#validations.add({ ...at, ...scores });
        break;
      }
      case 'evaluation':
        // Of networks of other tasks: a share of right answers.
        this.#validations.add({
          ...{ ...at, rows: finite(record.predictions), ndcg: {}, psp: {}, buckets: null },
          precision: { 1: typeof record.accuracy === 'number' ? 100 * record.accuracy : null },
        });
        break;
      case 'rewire': {
        const [replaced, connections] = [finite(record.replaced), finite(record.connections)];
        const replacedShare = replaced === null || !connections ? null : replaced / connections;
        this.#rewires.add(at, { replacedShare, explored: finite(record.explored) });
        break;
      }
      case 'memory': {
        const held = memory.safeParse(record).data;
        if (held === undefined) return this.tooLong();
        const values = Object.fromEntries(tags.map((tag) => [tag, finite(held.bytes[tag])]));
        const total = (of: Readonly<Record<string, Figure>>) =>
          Object.values(of).reduce((sum: number, n) => sum + (n ?? 0), 0);
        if (total(values) > total(this.#peakByTag ?? {})) {
          this.#peakByTag = Object.fromEntries(tags.map((tag) => [tag, values[tag] ?? 0]));
        }
        this.#memory.add(at, values);
        break;
      }
      case 'snapshot': {
        const seen = snapshot.safeParse(record).data;
        if (seen === undefined) return this.tooLong();
        this.#snapshots.add({ step, ...seen });
        break;
      }
      case 'method': {
        const seen = gates.safeParse(record).data;
        if (seen !== undefined) this.#gates.add({ step, ...seen.what });
        break;
      }
      case 'end':
        this.#end = end.safeParse(record).data ?? null;
        break;
      default:
        return null;
    }
    return 'changed';
  }

  summary(): LogSummary {
    const latest = this.#latest;
    const at = (key: string) => finite(latest[key]);
    const seconds =
      this.#began === null || this.#updated === null
        ? null
        : this.#before + (this.#updated - this.#began) / 1000;
    const last = this.#validations.last;
    const byTag = this.#end === null ? {} : this.#end.bytes;
    const peakByTag = Object.fromEntries(
      tags.flatMap((tag) => (finite(byTag[tag]) === null ? [] : [[tag, byTag[tag] as number]])),
    );
    return {
      ended: this.#end !== null,
      updated: this.#updated,
      problems: this.#problems(),
      ...(this.#start ?? {
        ...{ kernels: null, threads: null, rows: null, features: null, labels: null, weights: null },
        ...{ steps: at('steps'), plannedBytes: null },
      }),
      step: this.#step,
      epoch: at('epoch'),
      epochs: at('epochs'),
      loss: at('loss'),
      seconds,
      examplesPerSecond: this.#end?.examplesPerSecond ?? at('examplesPerSecond'),
      etaSeconds: this.#end === null ? at('etaSeconds') : 0,
      precision: last?.precision ?? null,
      psp: last?.psp ?? null,
      rssBytes: at('rssBytes'),
      peakBytes: this.#end?.accountedPeak ?? sumOf(this.#peakByTag),
      peakByTag: Object.keys(peakByTag).length > 0 ? peakByTag : this.#peakByTag,
      peakRssBytes: this.#end?.peakRss ?? null,
    };
  }

  report(): LogReport {
    return {
      ...this.summary(),
      events: Object.fromEntries(this.#kinds),
      progress: this.#progress.table(),
      validations: this.#validations.items(),
      rewires: this.#rewires.table(),
      memory: this.#memory.table(),
      snapshots: this.#snapshots.items(),
      gates: this.#gates.items(),
    };
  }

  #problems(): string[] {
    const problems: string[] = [];
    if (this.#broken > 0) {
      const lines =
        this.#broken === 1
          ? 'one line of the log is no record'
          : `${this.#broken} lines of the log are no records`;
      problems.push(`${lines}; the first is line ${Math.max(1, this.#firstBroken)}`);
    }
    if (this.#skim > 1) problems.push(`the log is large: of progress, every ${this.#skim}th record is shown`);
    return problems;
  }
}

const sumOf = (byTag: Readonly<Record<string, number>> | null): Figure =>
  byTag === null ? null : Object.values(byTag).reduce((sum, n) => sum + n, 0);
