import type { SwapAxesArgs } from '../../face-networks.js';

export function swapAxes({ outer, a, b, inner, x, y }: SwapAxesArgs): void {
  for (let o = 0; o < outer; o++) {
    for (let i = 0; i < a; i++) {
      for (let j = 0; j < b; j++) {
        const from = ((o * a + i) * b + j) * inner;
        const to = ((o * b + j) * a + i) * inner;
        for (let k = 0; k < inner; k++) y[to + k] = x[from + k];
      }
    }
  }
}
