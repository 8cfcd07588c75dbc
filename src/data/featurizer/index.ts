export { type FeatureBlock, Featurizer, featurizerFile, type SharedFeaturizer } from './featurizer.js';
export { type FeaturizerOptions, type FeaturizerOptionsInput, featurizerOptions } from './options.js';
export { type FeaturizerRow, packBlock, type RowBlock } from './row-block.js';
