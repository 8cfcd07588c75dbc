/** What a thread does for the pool: count terms, then featurize. The same object serves where there are no threads. */
import { join } from 'node:path';
import { type Run, TermCounts } from './counts.js';
import { type FeatureBlock, Featurizer, type SharedFeaturizer } from './featurizer.js';
import type { FeaturizerOptions } from './options.js';
import type { RowBlock } from './row-block.js';

export type Task =
  | {
      readonly kind: 'begin';
      readonly options: FeaturizerOptions;
      readonly memory: number;
      readonly spill: string;
    }
  | { readonly kind: 'count'; readonly block: RowBlock }
  | { readonly kind: 'counts' }
  | { readonly kind: 'load'; readonly featurizer: SharedFeaturizer }
  | { readonly kind: 'featurize'; readonly block: RowBlock };

export interface ThreadCounts {
  readonly documents: number;
  readonly words: number;
  readonly runs: readonly Run[];
  readonly buckets: Uint32Array | null;
}

export class FeatureWork {
  readonly #name: string;
  #counts: TermCounts | undefined;
  #featurizer: Featurizer | undefined;

  /** @param name tells the spill files of threads apart */
  constructor(name: string) {
    this.#name = name;
  }

  do(task: Task): ThreadCounts | FeatureBlock | null {
    switch (task.kind) {
      case 'begin': {
        let runs = 0;
        const spillTo = () => join(task.spill, `${this.#name}-${runs++}.run`);
        this.#counts = new TermCounts(task.options, { memory: task.memory, spillTo });
        return null;
      }
      case 'count':
        this.#counts?.add(task.block);
        return null;
      case 'counts': {
        const counts = this.#counts as TermCounts;
        this.#counts = undefined;
        const { documents, words, buckets } = counts;
        return { documents, words, buckets, runs: counts.finish() };
      }
      case 'load':
        this.#featurizer = Featurizer.fromShared(task.featurizer);
        return null;
      case 'featurize':
        return (this.#featurizer as Featurizer).featurizeBlock(task.block);
    }
  }
}
