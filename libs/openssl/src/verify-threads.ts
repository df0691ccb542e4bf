import { Worker } from 'node:worker_threads';
import { checkDigest, checkScheme, type CryptoPort } from '#libs/crypto';
import { opensslCrypto } from './port.js';
import { answers, encodeJobs, type VerifyJob } from './verify-job.js';

/** The port with its verifications on threads of their own. */
export interface ThreadedCrypto extends CryptoPort {
  /** Ends the threads; verifications that still wait fail. */
  close(): Promise<void>;
}

interface Waiting {
  readonly job: VerifyJob;
  readonly resolve: (valid: boolean) => void;
  readonly reject: (error: Error) => void;
}

/** Above this a message costs more to hand over than to verify here. */
const MAX_MESSAGE = 1 << 16;
/** Jobs in one block: enough to make the hand-over cheap, few enough that the first need not wait long for the last. */
const MAX_BLOCK = 6;
/** Blocks at a thread: one that it works on, and one that it finds when it is done. */
const MAX_BLOCKS = 2;

/**
 * Verifies on `threads` threads, so that a server's event loop is left for everything else: checking a signature by a key never seen before takes as
 * long as all the rest of a request. As in a log, what arrives while a thread is busy makes its next block.
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
  #worker: Worker | undefined;
  #waiting: Waiting[] = [];
  /** Blocks the thread has, in the order in which it will answer them. */
  #asked: Waiting[][] = [];
  #closed = false;

  get load(): number {
    return this.#waiting.length + this.#asked.length * MAX_BLOCK;
  }

  ask(job: VerifyJob): Promise<boolean> {
    // A signature or key this long is by no key that exists, and has no place in a block.
    if (job.signature.length > 0xffff || job.spki.length > 0xffff) return Promise.resolve(false);
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error('Cannot verify: the verifying threads are closed'));
      this.#waiting.push({ job, resolve, reject });
      // What arrives in the same turn of the event loop goes together.
      if (this.#waiting.length === 1) setImmediate(() => this.#send());
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
    this.#fail(new Error('Cannot verify: the verifying threads are closed'));
  }

  #send(): void {
    while (this.#asked.length < MAX_BLOCKS && this.#waiting.length > 0 && !this.#closed) {
      const jobs = this.#waiting.splice(0, MAX_BLOCK);
      this.#asked.push(jobs);
      const block = encodeJobs(jobs.map(({ job }) => job));
      this.#worker ??= this.#start();
      this.#worker.postMessage(block, [block.buffer]);
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL('./verify-worker.js', import.meta.url));
    // It must not keep the process alive.
    worker.unref();
    worker.on('message', (results: Uint8Array) => this.#settle(results));
    worker.on('error', (cause) => this.#lost(new Error('A verifying thread failed', { cause })));
    worker.on('exit', () => this.#lost(new Error('A verifying thread ended')));
    return worker;
  }

  #settle(results: Uint8Array): void {
    const asked = this.#asked.shift();
    this.#send();
    asked?.forEach(({ resolve, reject }, at) => {
      if (results[at] === answers.right) resolve(true);
      else if (results[at] === answers.wrong) resolve(false);
      else reject(new Error('A verifying thread could not verify'));
    });
  }

  /** The next question starts a new thread. */
  #lost(error: Error): void {
    this.#worker = undefined;
    this.#fail(error);
  }

  #fail(error: Error): void {
    for (const { reject } of [...this.#asked.flat(), ...this.#waiting]) reject(error);
    this.#asked = [];
    this.#waiting = [];
  }
}
