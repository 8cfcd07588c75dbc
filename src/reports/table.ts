/** Records without end in bounded memory: when a table is full, neighbours become one entry with mean and range. */
import type { Figure, Table } from './types.js';

interface Entry {
  step: number;
  epoch: Figure;
  seconds: number;
  count: number;
  /** [columns] */
  readonly n: Float64Array;
  readonly sum: Float64Array;
  readonly low: Float64Array;
  readonly high: Float64Array;
}

export class GrowingTable {
  readonly #names: string[];
  readonly #most: number;
  #stride = 1;
  #entries: Entry[] = [];

  /** At most `most` entries (even, at least 2) of these columns. */
  constructor(names: readonly string[], most: number) {
    this.#names = [...names];
    this.#most = most;
  }

  add(
    at: { readonly step: number; readonly epoch: Figure; readonly seconds: number },
    values: Readonly<Record<string, Figure>>,
  ): void {
    let last = this.#entries[this.#entries.length - 1];
    if (last === undefined || last.count >= this.#stride) {
      if (this.#entries.length >= this.#most) this.#halve();
      last = this.#entry();
      this.#entries.push(last);
    }
    Object.assign(last, { step: at.step, epoch: at.epoch, seconds: at.seconds });
    last.count++;
    for (let c = 0; c < this.#names.length; c++) {
      const value = values[this.#names[c]];
      if (typeof value !== 'number' || !Number.isFinite(value)) continue;
      last.n[c]++;
      last.sum[c] += value;
      if (value < last.low[c]) last.low[c] = value;
      if (value > last.high[c]) last.high[c] = value;
    }
  }

  table(): Table {
    const entries = this.#entries;
    const figure = (x: number): Figure => (Number.isFinite(x) ? Number(x.toPrecision(7)) : null);
    const columns = this.#names.map((name, c) => {
      const mean = entries.map(({ n, sum }) => figure(sum[c] / n[c]));
      const range = this.#stride > 1;
      const low = range ? entries.map((entry) => figure(entry.low[c])) : [];
      const high = range ? entries.map((entry) => figure(entry.high[c])) : [];
      return [name, { mean, low, high }] as const;
    });
    return {
      stride: this.#stride,
      step: entries.map(({ step }) => step),
      epoch: entries.map(({ epoch }) => epoch),
      seconds: entries.map(({ seconds }) => Number(seconds.toFixed(3))),
      columns: Object.fromEntries(columns.filter(([, { mean }]) => mean.some((x) => x !== null))),
    };
  }

  #entry(): Entry {
    const columns = this.#names.length;
    return {
      ...{ step: 0, epoch: null, seconds: 0, count: 0 },
      n: new Float64Array(columns),
      sum: new Float64Array(columns),
      low: new Float64Array(columns).fill(Number.POSITIVE_INFINITY),
      high: new Float64Array(columns).fill(Number.NEGATIVE_INFINITY),
    };
  }

  #halve(): void {
    const halved: Entry[] = [];
    for (let i = 0; i < this.#entries.length; i += 2) {
      const [a, b] = [this.#entries[i], this.#entries[i + 1]];
      halved.push(a);
      if (b === undefined) continue;
      Object.assign(a, { step: b.step, epoch: b.epoch, seconds: b.seconds, count: a.count + b.count });
      for (let c = 0; c < this.#names.length; c++) {
        a.n[c] += b.n[c];
        a.sum[c] += b.sum[c];
        a.low[c] = Math.min(a.low[c], b.low[c]);
        a.high[c] = Math.max(a.high[c], b.high[c]);
      }
    }
    this.#entries = halved;
    this.#stride *= 2;
  }
}

/** At most `most` of many items, evenly chosen, the newest always among them. */
export class Thinned<T> {
  readonly #most: number;
  #stride = 1;
  #seen = 0;
  #kept: T[] = [];
  #last: T | undefined;

  constructor(most: number) {
    this.#most = most;
  }

  add(item: T): void {
    this.#last = item;
    if (this.#seen++ % this.#stride !== 0) return;
    this.#kept.push(item);
    if (this.#kept.length < this.#most) return;
    this.#kept = this.#kept.filter((_, i) => i % 2 === 0);
    this.#stride *= 2;
  }

  get last(): T | undefined {
    return this.#last;
  }

  items(): T[] {
    const { length } = this.#kept;
    if (this.#last === undefined || this.#kept[length - 1] === this.#last) return [...this.#kept];
    return [...this.#kept, this.#last];
  }
}
