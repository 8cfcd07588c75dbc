/** The thread of `parquet-thread.ts`. */
import { parentPort } from 'node:worker_threads';
import { type DecodeTask, decodeRows } from './parquet-decode.js';

parentPort?.on('message', async (task: DecodeTask) => {
  try {
    parentPort?.postMessage({ rows: await decodeRows(task) });
  } catch (error) {
    parentPort?.postMessage({ fault: error instanceof Error ? error.message : String(error) });
  }
});
parentPort?.postMessage({ ready: true });
