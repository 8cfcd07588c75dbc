import { ensure } from '../../../errors.js';
import type {
  AvgPoolArgs,
  AvgPoolBackwardArgs,
  MaxPoolArgs,
  MaxPoolBackwardArgs,
  PoolShape,
} from '../../face-networks.js';

/** body(index in y, index in x, place in the window) for every number inside of a window. */
function overWindows(shape: PoolShape, body: (y: number, x: number, place: number) => void): void {
  const { planes, height, width, kernel, stride, padding } = shape;
  const down = Math.floor((height + 2 * padding - kernel) / stride) + 1;
  const across = Math.floor((width + 2 * padding - kernel) / stride) + 1;
  for (let plane = 0; plane < planes; plane++) {
    for (let i = 0; i < down; i++) {
      for (let j = 0; j < across; j++) {
        for (let place = 0; place < kernel * kernel; place++) {
          const row = i * stride - padding + Math.floor(place / kernel);
          const column = j * stride - padding + (place % kernel);
          if (row < 0 || row >= height || column < 0 || column >= width) continue;
          body((plane * down + i) * across + j, (plane * height + row) * width + column, place);
        }
      }
    }
  }
}

export function maxPool(args: MaxPoolArgs): void {
  const { x, y, places } = args;
  let last = -1;
  overWindows(args, (to, from, place) => {
    const fresh = to !== last;
    last = to;
    if (fresh || (!Number.isNaN(y[to]) && !(x[from] <= y[to]))) {
      y[to] = x[from];
      places[to] = place;
    }
  });
}

export function maxPoolBackward(args: MaxPoolBackwardArgs): void {
  const { planes, height, width, dy, places, dx } = args;
  const sums = new Float64Array(planes * height * width);
  const wanting = new Set<number>();
  overWindows(args, (from) => {
    wanting.add(from);
  });
  overWindows(args, (from, to, place) => {
    if (place !== places[from]) return;
    sums[to] += dy[from];
    wanting.delete(from);
  });
  ensure(wanting.size === 0, () => ({
    code: 'KERNEL_INDEX_RANGE',
    kind: 'data',
    op: 'maxPoolBackward',
    problem: 'an index points outside of its array',
    hint: 'every place must lie in its window',
  }));
  dx.set(sums);
}

export function avgPool(args: AvgPoolArgs): void {
  const { kernel, x, y } = args;
  let last = -1;
  let total = 0;
  overWindows(args, (to, from) => {
    if (to !== last) total = 0;
    last = to;
    total += x[from];
    y[to] = total / (kernel * kernel);
  });
}

export function avgPoolBackward(args: AvgPoolBackwardArgs): void {
  const { planes, height, width, kernel, dy, dx } = args;
  const sums = new Float64Array(planes * height * width);
  overWindows(args, (from, to) => {
    sums[to] += dy[from] / (kernel * kernel);
  });
  dx.set(sums);
}
