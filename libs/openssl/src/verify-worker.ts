// The body of a verifying thread: see verify-threads.ts.
import { workerData } from 'node:worker_threads';
import { parsePublicKey } from '#libs/crypto';
import { JobReader } from './job-ring.js';
import { answers, parseJob } from './verify-job.js';
import { verifyDigestSync, verifySync } from './verify.js';

// What verify-threads.ts starts the thread with.
const jobs = new JobReader(workerData as SharedArrayBuffer);
for (;;) {
  const job = jobs.next();
  if (job === undefined) jobs.sleep();
  else jobs.answer(answerTo(job));
}

function answerTo(bytes: Uint8Array): number {
  try {
    const { kind, spki, scheme, data, signature } = parseJob(bytes);
    const verify = kind === 'message' ? verifySync : verifyDigestSync;
    return verify(parsePublicKey(spki), scheme, data, signature) ? answers.right : answers.wrong;
  } catch {
    // The asking side has checked key, scheme and lengths: what is left is a fault of ours, and is reported there as one.
    return answers.failed;
  }
}
