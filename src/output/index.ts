export { LabelMatrixOutput } from './base.js';
export type { OutputBaseOptions } from './base-options.js';
export { DenseOutput, type DenseOutputOptions } from './dense.js';
export { type HeadTailOptions, HeadTailOutput } from './head-tail.js';
export type * from './layer.js';
