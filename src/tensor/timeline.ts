/** Live bytes over one step, by tag: a point for every buffer taken or returned. */
import { type BytesByTag, type MemoryLedger, memoryTags } from './memory.js';

export interface TimelineMark {
  readonly name: string;
  /** Index of the first point after it. */
  readonly at: number;
}

export class MemoryTimeline {
  readonly points: BytesByTag[] = [];
  readonly marks: TimelineMark[] = [];
  readonly #ledger: MemoryLedger;

  /** Records everything that happens on `ledger` while `work` runs. */
  static async record<T>(
    ledger: MemoryLedger,
    work: (timeline: MemoryTimeline) => Promise<T> | T,
  ): Promise<{ timeline: MemoryTimeline; result: T }> {
    const timeline = new MemoryTimeline(ledger);
    ledger.watch(() => timeline.points.push(ledger.live()));
    try {
      return { timeline, result: await work(timeline) };
    } finally {
      ledger.watch(null);
    }
  }

  private constructor(ledger: MemoryLedger) {
    this.#ledger = ledger;
    this.points.push(ledger.live());
  }

  /** Names what comes next, e.g. `backward`. */
  mark(name: string): void {
    this.marks.push({ name, at: this.points.length });
    this.points.push(this.#ledger.live());
  }

  /** Index of the worst moment. */
  get peakAt(): number {
    let peak = 0;
    for (let i = 1; i < this.points.length; i++)
      if (total(this.points[i]) > total(this.points[peak])) peak = i;
    return peak;
  }

  get peakBytes(): number {
    return total(this.points[this.peakAt]);
  }
}

const total = (point: BytesByTag) => memoryTags.reduce((sum, tag) => sum + point[tag], 0);
