/** A thread of the pool. */
import { parentPort, threadId } from 'node:worker_threads';
import { FeatureWork, type Task } from './work.js';

const work = new FeatureWork(`thread-${threadId}`);

parentPort?.on('message', (task: Task) => {
  const result = work.do(task);
  const moved =
    result !== null && 'indices' in result
      ? [result.indptr.buffer, result.indices.buffer, result.values.buffer]
      : [];
  parentPort?.postMessage(result, moved as ArrayBuffer[]);
});
