export { Dropout, EmbeddingBag, GELU, LayerNorm, Linear, ReLU, Sequential } from './layers.js';
export { LeNet300100 } from './lenet.js';
export { type ForwardContext, Module, type ModuleInput } from './module.js';
export { Affine, Flatten, GlobalAvgPool, Reshape, Residual, Transposed } from './network-layers.js';
export { Patches, ResMLP, type ResMlpOptions } from './res-mlp.js';
