export { type FeatureBlock, Featurizer, featurizerFile } from './featurizer.js';
export { type FeaturizerOptions, type FeaturizerOptionsInput, featurizerOptions } from './options.js';
export { type FeaturizerRow, packBlock, type RowBlock } from './row-block.js';
