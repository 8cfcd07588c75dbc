/** Shape checks shared by the operations' `infer`. */
import { EspalierError } from '../errors.js';
import { type Shape, shapeText, type Tensor } from '../tensor/tensor.js';

export function expectShape(op: string, what: string, tensor: Tensor, expected: Shape): void {
  if (shapeText(tensor.shape) === shapeText(expected)) return;
  throw new EspalierError({
    code: 'SHAPE_MISMATCH',
    kind: 'usage',
    op,
    problem: `${what} has the wrong shape`,
    expected: shapeText(expected),
    received: shapeText(tensor.shape),
  });
}

export function expectRank(op: string, what: string, tensor: Tensor, rank: number): void {
  if (tensor.shape.length === rank) return;
  throw new EspalierError({
    code: 'SHAPE_MISMATCH',
    kind: 'usage',
    op,
    problem: `${what} has the wrong number of dimensions`,
    expected: `${rank}`,
    received: shapeText(tensor.shape),
  });
}
