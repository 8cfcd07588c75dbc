/** Samples of the training rows for early rungs, each within the next, and what they hide. */
import type { CsrDataset } from '../../data/dataset.js';
import { selectRows } from '../../data/rows.js';
import { labelFrequencies } from '../../data/statistics.js';
import { RandomStream } from '../../kernels/random.js';
import { rungSizes } from './halving.js';

export interface Rung {
  readonly rows: number;
  /** Of the labels with a training row, the share that has one in the sample. */
  readonly labelsSeen: number;
  /** Of the validation rows, the share with a label that the sample shows: no P@1 of this rung can be above, but by luck. */
  readonly ceiling: number;
}

/**
 * Rows are drawn evenly, whatever their labels: frequencies keep their shape, and the rarest labels vanish first, as they
 * must in fewer rows. To keep a row of every label instead would show rare labels far more often than they are.
 */
export class Samples {
  readonly rungs: readonly Rung[];
  readonly #rows: CsrDataset;
  readonly #order: Uint32Array;
  #last: { readonly rung: number; readonly rows: CsrDataset } | null = null;

  constructor(
    rows: CsrDataset,
    validation: CsrDataset,
    options: { readonly seed: number; readonly leastRows: number },
  ) {
    this.#rows = rows;
    this.#order = Uint32Array.from({ length: rows.rows }, (_, row) => row);
    RandomStream.named(options.seed, 'tune/rows').shuffle(this.#order);
    const sizes = rungSizes(rows.rows, options.leastRows);
    const all = labelFrequencies(rows);
    this.rungs = sizes.map((size, rung) => {
      const seen = rung === sizes.length - 1 ? all : labelFrequencies(this.rowsOf(rung, size));
      return {
        rows: size,
        labelsSeen: count(seen) / Math.max(1, count(all)),
        ceiling: ceilingOf(validation, seen),
      };
    });
    this.#last = null;
  }

  /** The training rows of a rung; the sample of the last call is kept. */
  rowsOf(rung: number, size: number = this.rungs[rung].rows): CsrDataset {
    if (size === this.#rows.rows) return this.#rows;
    if (this.#last?.rung !== rung)
      this.#last = { rung, rows: selectRows(this.#rows, this.#order.slice(0, size).sort()) };
    return this.#last.rows;
  }
}

const count = (frequencies: Uint32Array) => frequencies.reduce((n, f) => n + (f > 0 ? 1 : 0), 0);

function ceilingOf({ rows, labelIndptr, labelIds }: CsrDataset, seen: Uint32Array): number {
  let possible = 0;
  for (let row = 0; row < rows; row++) {
    for (let e = labelIndptr[row]; e < labelIndptr[row + 1]; e++) {
      if (seen[labelIds[e]] === 0) continue;
      possible++;
      break;
    }
  }
  return possible / Math.max(1, rows);
}
