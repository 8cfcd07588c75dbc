export { Dropout, EmbeddingBag, GELU, LayerNorm, Linear, ReLU, Sequential } from './layers.js';
export { type ForwardContext, Module, type ModuleInput } from './module.js';
