export { LabelMatrixOutput, type OutputBaseOptions } from './base.js';
export { DenseOutput, type DenseOutputOptions } from './dense.js';
export { type HeadTailOptions, HeadTailOutput } from './head-tail.js';
export type * from './layer.js';
