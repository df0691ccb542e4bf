// The body of a verifying thread: see verify-threads.ts.
import { parentPort } from 'node:worker_threads';
import { parsePublicKey } from '#libs/crypto';
import { answers, parseJobs, type VerifyJob } from './verify-job.js';
import { verifyDigestSync, verifySync } from './verify.js';

parentPort?.on('message', (block: Uint8Array) => {
  const results = Uint8Array.from(parseJobs(block), answer);
  parentPort?.postMessage(results, [results.buffer]);
});

function answer({ kind, spki, scheme, data, signature }: VerifyJob): number {
  try {
    const verify = kind === 'message' ? verifySync : verifyDigestSync;
    return verify(parsePublicKey(spki), scheme, data, signature) ? answers.right : answers.wrong;
  } catch {
    // The asking side has checked key, scheme and lengths: what is left is a fault of ours, and is reported there as one.
    return answers.failed;
  }
}
