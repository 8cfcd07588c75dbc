export { affine } from './affine.js';
export { add, dropout, gelu, multiply, relu, scale } from './elementwise.js';
export { embeddingBag } from './embedding-bag.js';
export { layerNorm } from './layer-norm.js';
export { linear } from './linear.js';
export { bceWithLogits, squaredError, squaredHinge } from './losses.js';
export { meanLast, swapAxes } from './shapes.js';
export { softmaxCrossEntropy } from './softmax-cross-entropy.js';
export type { SparseBatch } from './sparse-batch.js';
