export { AvgPool2d, BatchNorm2d, Conv2d, type Conv2dOptions, MaxPool2d } from './image-layers.js';
export { type ImageModelOptions, LeNet5, ResidualBlock, SmallResNet, SmallVGG } from './image-models.js';
export { Dropout, EmbeddingBag, GELU, LayerNorm, Linear, ReLU, Sequential } from './layers.js';
export { LeNet300100 } from './lenet.js';
export { type ForwardContext, Module, type ModuleInput } from './module.js';
export { Affine, Flatten, GlobalAvgPool, Reshape, Residual, Transposed } from './network-layers.js';
export {
  CharacterModel,
  type CharacterModelOptions,
  Embedding,
  GRU,
  LSTM,
  type RecurrentOptions,
  RNN,
} from './recurrent-layers.js';
export { Patches, ResMLP, type ResMlpOptions } from './res-mlp.js';
export { SparseConv2d, type SparseConvShape } from './sparse-conv.js';
export { SparseLinear, type SparseRows, sparseBytes, sparseRows } from './sparse-linear.js';
