export { type ClusterOptions, clusterLabels, type LabelClusters } from './cluster-labels.js';
export { type LabelFeatures, labelFeatures } from './label-features.js';
