import { Worker } from 'node:worker_threads';
import { checkDigest, checkScheme, type CryptoPort } from '#libs/crypto';
import { opensslCrypto } from './port.js';
import { createRing, JobWriter } from './job-ring.js';
import { answers, encodeJob, type VerifyJob } from './verify-job.js';

/** The port with its verifications on threads of their own. */
export interface ThreadedCrypto extends CryptoPort {
  /** Ends the threads; verifications that still wait fail. */
  close(): Promise<void>;
}

interface Waiting {
  /** See `encodeJob`. */
  readonly job: Uint8Array;
  readonly resolve: (valid: boolean) => void;
  readonly reject: (error: Error) => void;
}

/** Above this a message costs more to hand over than to verify here. */
const MAX_MESSAGE = 1 << 16;
/** Longest key or signature that is looked at, bytes. */
const MAX_PART = 1 << 14;

/**
 * Verifies on `threads` threads, so that a server's event loop is left for everything else: checking a signature by a key never seen before takes as
 * long as all the rest of a request.
 */
export function threadedCrypto(threads: number): ThreadedCrypto {
  const pool = Array.from({ length: threads }, () => new VerifyThread());
  const ask = (job: VerifyJob): Promise<boolean> => {
    let idlest = pool[0];
    for (const thread of pool) if (idlest === undefined || thread.load < idlest.load) idlest = thread;
    if (idlest === undefined) throw new Error('There is no verifying thread');
    return idlest.ask(job);
  };
  return {
    ...opensslCrypto,
    async verify(key, scheme, message, signature) {
      checkScheme(key, scheme);
      if (message.length > MAX_MESSAGE) return opensslCrypto.verify(key, scheme, message, signature);
      return ask({ kind: 'message', spki: key.spki, scheme, data: message, signature });
    },
    async verifyDigest(key, scheme, digest, signature) {
      checkScheme(key, scheme);
      checkDigest(scheme, digest);
      return ask({ kind: 'digest', spki: key.spki, scheme, data: digest, signature });
    },
    async close() {
      await Promise.all(pool.map((thread) => thread.close()));
    },
  };
}

class VerifyThread {
  #running: { readonly worker: Worker; readonly ring: JobWriter } | undefined;
  /** What the thread has, in the order of its answers, and then what waits for room. */
  readonly #waiting: Waiting[] = [];
  #asked = 0;
  #closed = false;

  get load(): number {
    return this.#waiting.length;
  }

  ask(job: VerifyJob): Promise<boolean> {
    // A signature or key this long is by no key that exists, and has no place in the ring.
    if (job.signature.length > MAX_PART || job.spki.length > MAX_PART) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error('Cannot verify: the verifying threads are closed'));
      this.#waiting.push({ job: encodeJob(job), resolve, reject });
      this.#send();
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#running?.worker.terminate();
    this.#fail(new Error('Cannot verify: the verifying threads are closed'));
  }

  #send(): void {
    const { ring } = (this.#running ??= this.#start());
    const listening = this.#asked > 0;
    this.#fill(ring);
    if (!listening) void this.#listen(ring);
  }

  /** Hands over what has room. */
  #fill(ring: JobWriter): void {
    for (; this.#asked < this.#waiting.length; this.#asked++) {
      const next = this.#waiting[this.#asked];
      if (next === undefined || !ring.write(next.job)) return;
    }
  }

  #start(): { worker: Worker; ring: JobWriter } {
    const shared = createRing();
    const worker = new Worker(new URL('./verify-worker.js', import.meta.url), { workerData: shared });
    // It must not keep the process alive.
    worker.unref();
    worker.on('error', (cause) => this.#lost(worker, new Error('A verifying thread failed', { cause })));
    worker.on('exit', () => this.#lost(worker, new Error('A verifying thread ended')));
    return { worker, ring: new JobWriter(shared) };
  }

  /** Takes answers for as long as there are questions. That of a thread which was lost waits for ever, and is forgotten. */
  async #listen(ring: JobWriter): Promise<void> {
    while (this.#asked > 0) {
      await ring.answered();
      if (this.#running?.ring !== ring) return;
      const results: number[] = [];
      ring.take((answer) => results.push(answer));
      const answered = this.#waiting.splice(0, results.length);
      this.#asked -= answered.length;
      answered.forEach(({ resolve, reject }, at) => {
        if (results[at] === answers.right) resolve(true);
        else if (results[at] === answers.wrong) resolve(false);
        else reject(new Error('A verifying thread could not verify'));
      });
      this.#fill(ring);
    }
  }

  /** The next question starts a new thread. */
  #lost(worker: Worker, error: Error): void {
    if (this.#running?.worker !== worker) return;
    this.#running = undefined;
    this.#fail(error);
  }

  #fail(error: Error): void {
    this.#asked = 0;
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }
}
