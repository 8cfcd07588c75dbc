/** What Espalier keeps on disk beside datasets: models, checkpoints, run logs. */
export {
  type BrokenCheckpoint,
  type Checkpoint,
  type CheckpointParts,
  CheckpointStore,
  type FoundCheckpoint,
  hasCheckpoints,
  openCheckpoint,
  type SavedCheckpoint,
} from './checkpoint.js';
export { sha256OfFile, type WrittenFile } from './checksum.js';
export type { StoredData, StoredDtype } from './dtypes.js';
export { type ModelParts, pruneModels, resolveModel, type SavedModel, saveModel } from './model-directory.js';
export type { ModelManifest } from './model-manifest.js';
export { openModel, type StoredModel } from './model-reader.js';
export { type LogEntry, type LogRecord, RunLog, readRunLog } from './run-log.js';
export type { TensorInfo } from './safetensors-header.js';
export { openSafetensors, restoreArrays, type TensorSource } from './safetensors-reader.js';
export { openIndex, openShards, writeShards } from './safetensors-shards.js';
export { type StoredArray, type WriteOptions, writeSafetensors } from './safetensors-writer.js';
export { EventFile, type EventHistogram, type EventValues } from './tensorboard/event-file.js';
