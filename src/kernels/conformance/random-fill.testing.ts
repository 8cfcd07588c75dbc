import { type Case, Data, lazy, RAGGED } from './case.testing.js';

const STREAMS = [
  { key0: 0, key1: 0, counter: 0 },
  { key0: 0xffffffff, key1: 0x80000000, counter: 12 },
  // The counter's low word runs over within the call; a counter close to the end of the whole numbers.
  { key0: 1, key1: 2, counter: 2 ** 32 - 3 },
  { key0: 3, key1: 0xdeadbeef, counter: 2 ** 53 - 100_000 },
] as const;
const LENGTHS = [0, 1, 2, 3, 4, 5, ...RAGGED, 1000, 100_003] as const;

/** The same bits on every backend: no bound. */
export const UNIFORM_CASES: readonly Case[] = STREAMS.flatMap((stream) =>
  LENGTHS.map((n) => ({
    name: `${n} elements from counter ${stream.counter}`,
    run: (kernels, lab) => {
      const unit = lab.output(n);
      const wide = lab.output(n);
      kernels.uniform({ ...stream, n, low: 0, high: 1, out: unit });
      kernels.uniform({ ...stream, n, low: -0.07, high: 1.3, out: wide });
      return { unit, wide };
    },
  })),
);

export const DROPOUT_CASES: readonly Case[] = STREAMS.flatMap((stream) =>
  [0, 0.1, 0.5, 0.999, 1].map((p): Case => {
    const data = lazy(() => new Data(`dropout ${stream.counter} ${p}`).between(100_003, 0.5, 2));
    const lengths = p === 0.5 ? LENGTHS : ([17, 1000, 100_003] as const);
    return {
      name: `p = ${p} from counter ${stream.counter}`,
      run: (kernels, lab) =>
        Object.fromEntries(
          lengths.map((n) => {
            const y = lab.output(n);
            kernels.dropout({ ...stream, n, p, x: lab.input(data().subarray(0, n)), y });
            return [`${n}`, y];
          }),
        ),
      // Zeros stand where the oracle has zeros; the others may round 1 - p, its reciprocal and the product.
      bounds: ({ unit }, oracle) =>
        Object.fromEntries(
          lengths.map((n) => {
            const y = new Float64Array(n);
            oracle.dropout({ ...stream, n, p, x: Float64Array.from(data().subarray(0, n)), y });
            return [`${n}`, y.map((size) => 3 * unit * size)];
          }),
        ),
    };
  }),
);
