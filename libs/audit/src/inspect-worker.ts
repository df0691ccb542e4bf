// The body of a thread that reads places of a log in a folder: see inspect-log.ts.
import { parentPort, workerData } from 'node:worker_threads';
import { AuditError } from './error.js';
import { Inspector } from './inspect.js';
import { inspectFolder } from './inspect-objects.js';
import type { ThreadAnswer, ThreadOrder, ThreadSetting } from './inspect-log.js';

const { folder, layout, size, filter } = workerData as ThreadSetting;
const inspector = new Inspector(layout, filter);

parentPort?.on('message', ({ first, count }: ThreadOrder) => {
  let answer: ThreadAnswer;
  try {
    answer = { findings: inspectFolder(inspector, folder, { first, count, size }) };
  } catch (error) {
    // Only text crosses between threads; a code brings the error back to life on the other side.
    const { code, message } = error instanceof AuditError ? error : { code: undefined, message: String(error) };
    answer = { failure: { code, message } };
  }
  parentPort?.postMessage(answer);
});
