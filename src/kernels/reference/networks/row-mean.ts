import type { Floats } from '../../face.js';

export function rowMean(rows: number, cols: number, x: Floats, y: Floats): void {
  for (let i = 0; i < rows; i++) {
    let total = 0;
    for (let j = 0; j < cols; j++) total += x[i * cols + j];
    y[i] = cols === 0 ? 0 : total / cols;
  }
}

export function rowMeanBackward(rows: number, cols: number, dy: Floats, dx: Floats): void {
  for (let i = 0; i < rows * cols; i++) dx[i] = dy[Math.floor(i / cols)] / cols;
}
